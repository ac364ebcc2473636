package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// errProtocol is wrapped by errors about answers that are not Crier's.
var errProtocol = errors.New("the answer is not what a Crier server sends")

// Problem is what a server says of a request that it refused: a problem
// document of RFC 9457, or what could be made of another answer.
type Problem struct {
	Status int    `json:"status"`
	Type   string `json:"type,omitempty"` // stable, to decide on
	Title  string `json:"title,omitempty"`
	Detail string `json:"detail,omitempty"` // for people: names the field, the limit and the mend
	// RetryAfter is the time that the server asks to wait; 0: it asks nothing.
	RetryAfter time.Duration `json:"-"`
}

// Error gives the status and the detail, or what there is instead.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = strings.ToLower(http.StatusText(p.Status))
	}
	return fmt.Sprintf("%d: %s", p.Status, text)
}

// Temporary reports whether the same request may succeed later.
func (p *Problem) Temporary() bool {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// ReadProblem makes a Problem of a response whose status is no success. It
// reads at most 64 KiB of the body and does not close it.
func ReadProblem(resp *http.Response) *Problem {
	p := &Problem{}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what came is better than nothing
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case kind == "application/problem+json" && json.Unmarshal(body, p) == nil:
	case strings.HasPrefix(kind, "text/plain"), kind == "": // an HTTPS server says so what it makes of HTTP
		*p = Problem{Detail: clip(strings.TrimSpace(string(body)), 200)}
	default:
		*p = Problem{}
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	p.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return p
}

// retryAfter reads the header (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(s string, now time.Time) time.Duration {
	if s == "" {
		return 0
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
