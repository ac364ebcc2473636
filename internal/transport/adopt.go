package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"crier/internal/hub"
)

// Adoptable reports whether the connection of a request can leave net/http for
// the wire: HTTP/1, and nothing between us and the socket. A body that was not
// read would be taken for something else.
func Adoptable(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.TLS == nil && r.ContentLength == 0
}

// ResponseHead is the head of a response whose body ends with the connection.
func ResponseHead(status int, header http.Header, now time.Time) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	header.Set("Date", now.UTC().Format(http.TimeFormat))
	header.Set("Connection", "close")
	_ = header.Write(&b) // to memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// FlowEnded says what it means that a flow's subscription ended with err.
func FlowEnded(h *hub.Hub, s *hub.Subscription, err error) error {
	if errors.Is(err, context.Canceled) {
		return ErrDraining
	}
	return PollEnded(context.Background(), h, s, err)
}
