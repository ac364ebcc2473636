// Package problem has the problem documents (RFC 9457) that every refusal is
// told with: on the public API, on the operator's listener and in WebSocket
// frames. The types are listed here and nowhere else, each with its status: a
// client may decide on them, so they stay as they are; titles and details are
// for people. Nothing here knows what is being refused.
package problem

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Problem is one problem document. Its type, title and status belong
// together, so make it with the constructors. It is an error, so that it can
// be handed up to where it is told. The fields that are not JSON are for the
// response's headers.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"` // names the field, the limit and the mend; no secret
	Field  string `json:"field,omitempty"`  // the member, parameter or header that is wrong

	RetryAfter time.Duration `json:"-"` // 0: no Retry-After
	Challenge  string        `json:"-"` // WWW-Authenticate; a 401 without one gets that of Bearer
}

// Error gives the detail, or the title if there is none.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// On names the field that is wrong, and returns p.
func (p *Problem) On(field string) *Problem {
	p.Field = field
	return p
}

// RetrySeconds is the wait in whole seconds, rounded up; 0 if none was said.
func (p *Problem) RetrySeconds() int {
	return int((p.RetryAfter + time.Second - 1) / time.Second)
}

// ContentType of a problem document (RFC 9457, section 3).
const ContentType = "application/problem+json"

// defaultChallenge is for a 401 whose maker named none: RFC 9110, section
// 15.5.2, wants one.
const defaultChallenge = `Bearer realm="crier"`

// Write answers a request with the problem: the last thing that is done with
// w. Headers that were set stay, but for those that describe another body.
func Write(w http.ResponseWriter, r *http.Request, p *Problem) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)         // it ends the line as well
	e.SetEscapeHTML(false)              // it is no HTML, and people read it
	if err := e.Encode(p); err != nil { // strings and an int: cannot be
		body.Reset()
		body.WriteString(`{"type":"` + TypeInternal + `","title":"Internal error","status":500}` + "\n")
	}
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "ETag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetrySeconds()))
	}
	switch {
	case p.Challenge != "":
		h.Set("WWW-Authenticate", p.Challenge)
	case p.Status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", defaultChallenge)
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}
