package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// maxDiscard is how much of a body that is too big is read and thrown
	// away, so that a client that is still sending sees the answer.
	maxDiscard = 8 << 20
	// A body may take bodyTime, and a second more for each bodyPace bytes of
	// it; one that is thrown away bodyTime.
	bodyTime = 30 * time.Second
	bodyPace = 16 << 10
)

var errTooBig = errors.New("body too big")

// hurry has reading from a client fail after a time. It stays so for a client
// that was too slow: net/http reads what is left of a body before it lets go
// of the connection.
func hurry(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d)) // what cannot be waited for needs none
}

// relax ends that: the connection is read from for the next request, too.
func relax(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// readBody reads a body of at most limit bytes into a slice of its own, which
// the log may keep. A client that takes too long to send it is
// [os.ErrDeadlineExceeded].
func (a *API) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooBig
	}
	size := r.ContentLength
	if size < 0 {
		size = limit
	}
	hurry(w, a.Limits.BodyTime+time.Duration(size/bodyPace)*time.Second)
	if r.ContentLength >= 0 {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, err
		}
		relax(w)
		return body, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, errTooBig
	}
	relax(w)
	return body, nil
}

// discard reads the rest of a body that nobody wants.
func (a *API) discard(w http.ResponseWriter, r *http.Request) {
	hurry(w, a.Limits.BodyTime)
	if _, err := io.CopyN(io.Discard, r.Body, maxDiscard); err == io.EOF {
		relax(w)
	}
}
