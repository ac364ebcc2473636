package transport

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"crier/internal/hub"
)

// Adoptable reports whether the connection of a request can leave net/http for
// the wire: HTTP/1, and nothing between us and the socket. A body that was not
// read would be taken for something else.
func Adoptable(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.TLS == nil && r.ContentLength == 0
}

// ResponseHead is the head of a response whose body ends with the connection,
// as net/http would write it, with room behind it for how the body begins.
func ResponseHead(status int, header http.Header, now time.Time) []byte {
	header.Set("Date", now.UTC().Format(http.TimeFormat))
	header.Set("Connection", "close")
	b := make([]byte, 0, headRoom)
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\n"...)
	b = appendHeader(b, header)
	return append(b, "\r\n"...)
}

// headRoom is more than the head of a stream and its first lines take.
const headRoom = 640

// appendHeader appends the fields in their order of names. What [http.Header]
// would have to mend it is left to.
func appendHeader(b []byte, header http.Header) []byte {
	var room [16]string
	names := room[:0]
	for name, values := range header {
		names = append(names, name)
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n") || strings.TrimSpace(v) != v {
				out := bytes.NewBuffer(b)
				_ = header.Write(out) // to memory
				return out.Bytes()
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range header[name] {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

// CutOff counts a connection that the wire could not take over, and that was
// closed for it. The log has one line for all within a while.
func (f *Flows) CutOff(log *slog.Logger, err error) {
	reason := "adopt"
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		reason = "descriptors"
	}
	f.metrics.Refused.WithLabelValues(reason).Inc()
	now := f.now().UnixNano()
	if last := f.cutOff.Load(); now-last >= int64(cutOffQuiet) && f.cutOff.CompareAndSwap(last, now) {
		log.Warn("connections are closed that cannot be taken over", "error", err)
	}
}

// cutOffQuiet is how often CutOff logs at most.
const cutOffQuiet = 10 * time.Second

// FlowEnded says what it means that a flow's subscription ended with err.
func FlowEnded(h *hub.Hub, s *hub.Subscription, err error) error {
	if errors.Is(err, context.Canceled) {
		return ErrDraining
	}
	return PollEnded(context.Background(), h, s, err)
}
