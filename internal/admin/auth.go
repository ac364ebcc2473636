package admin

import (
	"errors"
	"fmt"
	"net/http"

	"crier/internal/access"
	"crier/internal/problem"
	"crier/internal/topic"
)

// authenticate says who a request is from. Whatever is wrong with a
// credential, the answer is the same 401: no word of whether a token was ever
// good. An address from which too many bad ones came is told to wait before
// anything is looked up; the operator's own token is let through even then,
// so that nobody can lock the operator out.
func (a *Admin) authenticate(r *http.Request) (*access.Identity, error) {
	client := a.Access.Proxies().ClientAddr(r)
	token, fromURL, err := access.TokenOf(r)
	shown := err == nil && token != "" && !fromURL
	if err != nil || token != "" {
		if wait := a.attempts.wait(client); wait > 0 && !(shown && a.Operator.Is(token)) {
			a.Metrics.refused("rate")
			return nil, problem.TooMany("too many bad tokens came from this address; wait, then send the right one", wait)
		}
	}
	if shown {
		var who *access.Identity
		if who, err = a.Access.AuthenticateToken(r.Context(), token, false); err == nil {
			return who, nil
		}
	}
	if errors.Is(err, access.ErrUnavailable) {
		a.Metrics.refused(string(access.Unavailable))
		return nil, err
	}
	reason := access.NoCredential
	switch refusal, ok := errors.AsType[*access.Refusal](err); {
	case ok:
		reason = refusal.Reason
	case fromURL:
		reason = access.TokenInURL
	}
	if reason != access.NoCredential {
		a.attempts.failed(client)
		a.Logger.Warn("operator's listener: credential refused", "client", client, "reason", string(reason))
	}
	a.Metrics.refused(string(reason))
	return nil, problem.Unauthenticated(
		"the operator's token is needed, or a key that grants manage: send the header Authorization: Bearer <token>",
		`Bearer realm="crier operator"`)
}

// scope is what an identity may manage.
type scope struct{ *access.Identity }

// operator reports whether it is the operator, who may do everything.
func (s scope) operator() bool { return s.Identity != nil && s.Kind == access.KindOperator }

// operatorOnly refuses all but the operator.
func (s scope) operatorOnly(what string) error {
	if s.operator() {
		return nil
	}
	return problem.Forbidden("only the operator's token may " + what)
}

// patterns gives the patterns of a domain that may be managed; none: nothing.
func (s scope) patterns(domain string) []topic.Pattern {
	if s.operator() {
		return []topic.Pattern{topic.All()}
	}
	var ps []topic.Pattern
	for _, g := range s.Grants {
		if g.Action == access.Manage && g.Domain == domain {
			ps = append(ps, g.Pattern)
		}
	}
	return ps
}

// domain refuses who may manage nothing in a domain. It does not tell whether
// the domain exists.
func (s scope) domain(name string) error {
	if len(s.patterns(name)) > 0 {
		return nil
	}
	return problem.Forbidden(fmt.Sprintf("%s has no grant to manage anything in domain %.64q", s, name))
}

// may refuses who may not manage all of the patterns; none means the whole
// domain.
func (s scope) may(domain string, patterns ...topic.Pattern) error {
	return s.May(access.Manage, domain, patterns...)
}
