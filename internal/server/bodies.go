package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"crier/internal/access"
	"crier/internal/httpapi"
	"crier/internal/problem"
)

const (
	// bodyTime is how long the body of a request may take to come, unless
	// the handler says otherwise.
	bodyTime = time.Minute
	// maxIdleBody bounds a body where none belongs.
	maxIdleBody = 64 << 10
)

// inTime bounds the time in which the body of a request has to come, also of
// one that is refused before it was read: net/http reads on before it answers,
// and would wait for ever. Publishes at /t/ have times of their own.
//
// A request that is answered with a stream has no deadline for reading. So the
// body of one that may be, which means nothing as a rule, is read before.
func inTime(next http.Handler, d time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 || r.Method == http.MethodPost && strings.HasPrefix(access.PathOf(r), httpapi.Prefix) {
			next.ServeHTTP(w, r)
			return
		}
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(d)) // what cannot be waited for needs none
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			body, err := io.ReadAll(io.LimitReader(r.Body, maxIdleBody+1))
			if err != nil || len(body) > maxIdleBody {
				w.Header().Set("Connection", "close")
				problem.Write(w, r, idleBodyProblem(err, r.Method, d))
				return
			}
			_ = rc.SetReadDeadline(time.Time{})
			r = r.WithContext(r.Context()) // a copy
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(w, r)
	})
}

func idleBodyProblem(err error, method string, d time.Duration) *problem.Problem {
	switch {
	case err == nil:
		return problem.TooLarge(fmt.Sprintf("the body of this %s is over the limit of %d bytes; it needs none", method, maxIdleBody))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem.Timeout(fmt.Sprintf("the body did not come within %v; a %s needs none", d, method))
	}
	return problem.BadRequest("the body could not be read: " + err.Error())
}
