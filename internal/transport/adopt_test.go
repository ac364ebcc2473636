package transport_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"crier/internal/transport"
)

// A head is what net/http writes of the same fields, to the byte.
func TestResponseHead(t *testing.T) {
	now := time.Date(2026, 1, 2, 4, 4, 5, 600, time.FixedZone("", 3600))
	for name, header := range map[string]http.Header{
		"nothing":                       {},
		"a stream":                      {"Content-Type": {"text/event-stream"}, "Vary": {"Origin", "Accept"}, "X-Accel-Buffering": {"no"}},
		"a name that nobody would make": {"Zz": {"1"}, "aa": {"2"}, "Empty": {}},
		"what would end a field":        {"X-A": {"one\r\nX-B: two"}, "X-C": {"three"}},
		"space around":                  {"X-A": {" one "}},
		"old date":                      {"Date": {"never"}, "Connection": {"keep-alive"}},
	} {
		t.Run(name, func(t *testing.T) {
			same := header.Clone()
			same.Set("Date", "Fri, 02 Jan 2026 03:04:05 GMT")
			same.Set("Connection", "close")
			var want bytes.Buffer
			fmt.Fprint(&want, "HTTP/1.1 200 OK\r\n")
			if err := same.Write(&want); err != nil {
				t.Fatal(err)
			}
			want.WriteString("\r\n")
			if got := transport.ResponseHead(http.StatusOK, header, now); !bytes.Equal(got, want.Bytes()) {
				t.Errorf("got %q, want %q", got, want.Bytes())
			}
		})
	}
}
