package strict

import (
	"net/http"
	"strings"
)

// Like reports whether a request that net/http has read is of the shape, as far
// as can be told, so that the next ones of its connection may be too.
func Like(r *http.Request) bool {
	if r.Method != http.MethodPost || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.TLS != nil || r.Close {
		return false
	}
	if r.TransferEncoding != nil || r.ContentLength < 0 || r.ContentLength > MaxBody {
		return false
	}
	if !plainPath([]byte(r.RequestURI)) || len(r.Header) > maxHeaders {
		return false
	}
	for name, values := range r.Header {
		switch known([]byte(name)) {
		case unknownHeader:
			return false
		case connectionHeader:
			if len(values) > 1 || !strings.EqualFold(values[0], "keep-alive") {
				return false
			}
		case idleHeader:
		default:
			if len(values) > 1 || values[0] == "" {
				return false
			}
		}
	}
	return true
}
