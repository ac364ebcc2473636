package access

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Origins is an exact list of the web origins whose pages may use the server.
// The zero Origins is the empty list.
type Origins struct {
	list []string
}

// NewOrigins reads origins as browsers write them: scheme://host, or
// scheme://host:port if the port is not the scheme's own.
func NewOrigins(list []string) (Origins, error) {
	var o Origins
	for _, s := range list {
		origin, err := parseOrigin(s)
		if err != nil {
			return Origins{}, fmt.Errorf("origin %.100q: %w", s, err)
		}
		o.list = append(o.list, origin)
	}
	return o, nil
}

// Empty reports whether no origin is listed.
func (o Origins) Empty() bool { return len(o.list) == 0 }

func (o Origins) has(origin string) bool { return slices.Contains(o.list, origin) }

func parseOrigin(s string) (string, error) {
	if strings.Contains(s, "*") || s == "null" {
		return "", errors.New("the list is exact, it has no * and no null; write each origin, like https://example.org")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Hostname() == "" {
		return "", errors.New("not an origin; write it like https://example.org")
	}
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", errors.New("an origin is only scheme, host and port, without a path or a slash at the end")
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch port := u.Port(); {
	case scheme == "http" && port == "80", scheme == "https" && port == "443":
		host = strings.TrimSuffix(host, ":"+port) // browsers leave it out
	case strings.HasSuffix(host, ":"):
		return "", errors.New("the port is empty")
	}
	return scheme + "://" + host, nil
}

// originAllowed reports whether pages of an origin may use the server.
func (a *Authority) originAllowed(origin string, open bool) bool {
	if a.cfg.Origins.has(origin) {
		return true
	}
	if !open {
		return false
	}
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && isLoopbackHost(u.Hostname())
}

// AllowOrigin reports whether pages of an origin may use the server: those of
// the list, and while the server is open those of this machine.
func (a *Authority) AllowOrigin(origin string) bool { return a.originAllowed(origin, a.Open()) }

// OriginsListed reports whether the operator set the list of origins; if not,
// dialects whose sockets carry no ambient credentials take any.
func (a *Authority) OriginsListed() bool { return !a.cfg.Origins.Empty() }

// CORS adds to a response's headers what lets a page of an allowed origin
// read it: the origin is echoed, with credentials. Vary: Origin is always
// added, so that no cache mixes the answers. It reports whether the request
// has an origin that is allowed; a preflight is answered only then.
func (a *Authority) CORS(h http.Header, r *http.Request) (allowed bool) {
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !a.AllowOrigin(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	return true
}

// CheckOrigin refuses a WebSocket that a page of an origin opens that is not
// allowed. Browsers always send an Origin, other clients need none.
func (a *Authority) CheckOrigin(r *http.Request) error {
	open := a.Open()
	for _, origin := range r.Header.Values("Origin") {
		if !a.originAllowed(origin, open) {
			return originRefusal(origin)
		}
	}
	return nil
}

func originRefusal(origin string) *Refusal {
	return forbidden(BadOrigin, fmt.Sprintf("origin %.200q is not allowed; the operator lists it with --origins", origin))
}
