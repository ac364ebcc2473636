package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
)

// failure is the whole answer to a publish that the log did not take.
func (s *publisher) failure(err error, draining bool) []byte {
	r := &http.Request{Method: http.MethodPost, ContentLength: 0}
	a := &answer{header: http.Header{}}
	a.header.Set("X-Content-Type-Options", "nosniff")
	a.header.Set("Vary", "Origin")
	s.loop.api.refuse(a, r, s.loop.api.failed(err))
	return a.bytes(s.loop.date.text(), draining)
}

// answer is a response in memory.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}

// bytes is the response as net/http writes it: the handler's headers by name,
// then its own.
func (a *answer) bytes(date []byte, draining bool) []byte {
	b := []byte("HTTP/1.1 " + strconv.Itoa(a.status) + " " + http.StatusText(a.status) + "\r\n")
	var lines bytes.Buffer
	_ = a.header.Write(&lines) // to memory
	b = append(b, lines.Bytes()...)
	b = append(append(b, "Date: "...), date...)
	if draining {
		b = append(b, "\r\nConnection: close"...)
	}
	return append(append(b, "\r\n\r\n"...), a.body...)
}
