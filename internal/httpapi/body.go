package httpapi

import (
	"errors"
	"io"
	"net/http"
)

// maxDiscard is how much of a body that is too big is read and thrown away,
// so that a client that is still sending sees the answer.
const maxDiscard = 8 << 20

var errTooBig = errors.New("body too big")

// readBody reads a body of at most limit bytes into a slice of its own, which
// the log may keep.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooBig
	}
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, err
		}
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, errTooBig
	}
	return body, nil
}

// discard reads the rest of a body that nobody wants.
func discard(r *http.Request) {
	_, _ = io.CopyN(io.Discard, r.Body, maxDiscard)
}
