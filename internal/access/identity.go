package access

import (
	"context"
	"fmt"
	"time"

	"crier/internal/topic"
)

// Kind says what an identity was authenticated by.
type Kind string

// The kinds of identity.
const (
	KindKey       Kind = "key"
	KindJWT       Kind = "jwt"
	KindAnonymous Kind = "anonymous" // only while the server is open
	KindOperator  Kind = "operator"
)

// Grant allows an action on what a pattern of one domain selects.
type Grant struct {
	Action  Action        `json:"action"`
	Domain  string        `json:"domain"`
	Pattern topic.Pattern `json:"pattern"`
}

// Identity is who a request or connection is. It does not change and may be
// shared. Outside of tests it comes from an [Authority].
type Identity struct {
	Kind Kind
	// ID and Name are for logs and listings: of a key its public id and its
	// name, of a JWT its subject.
	ID, Name string
	Grants   []Grant
	Expires  time.Time // zero: never

	credential string

	fromURL bool     // the token came in a URL: manage is not granted
	life    *life    // shared by all that end together; nil: ends only by expiring
	live    *liveKey // of a key: keeps it watched while somebody waits for its end
	now     func() time.Time
}

// May reports whether the identity has a grant for the action on each of the
// patterns of the domain; each must be contained in one grant. No pattern at
// all means the whole domain. The error is a [*Refusal] that names the grant
// that is missing; it says nothing of what exists.
func (id *Identity) May(a Action, domain string, patterns ...topic.Pattern) error {
	if a == Manage && id.fromURL {
		return forbidden(TokenInURL, "a token in a URL never grants manage; send it as the header Authorization: Bearer")
	}
	if len(patterns) == 0 {
		return id.may(a, domain, topic.All())
	}
	for _, p := range patterns {
		if err := id.may(a, domain, p); err != nil {
			return err
		}
	}
	return nil
}

func (id *Identity) may(a Action, domain string, p topic.Pattern) error {
	switch id.Kind {
	case KindOperator:
		return nil
	case KindAnonymous:
		if a != Manage && !p.IsZero() {
			return nil
		}
	}
	for i := range id.Grants {
		g := &id.Grants[i]
		if g.Action == a && g.Domain == domain && g.Pattern.Contains(p) {
			return nil
		}
	}
	return forbidden(NoGrant, fmt.Sprintf("%s has no grant to %s %q in domain %q; it needs one whose pattern contains that",
		id.describe(), a, p.String(), domain))
}

func (id *Identity) describe() string {
	switch id.Kind {
	case KindKey:
		return "key " + id.ID
	case KindJWT:
		return "this JWT"
	}
	return "this request"
}

// MayKnow reports whether the identity may learn whether the domain exists:
// it has some grant in it.
func (id *Identity) MayKnow(domain string) bool {
	if id.Kind == KindOperator || id.Kind == KindAnonymous {
		return true
	}
	for i := range id.Grants {
		if id.Grants[i].Domain == domain {
			return true
		}
	}
	return false
}

// Credential is a stable text, the same for each use of the same credential
// and no secret: what idempotency keys and rate limits are counted by.
func (id *Identity) Credential() string { return id.credential }

// String names the identity for logs and listings.
func (id *Identity) String() string {
	switch {
	case id.Kind == KindAnonymous || id.Kind == KindOperator:
		return string(id.Kind)
	case id.Name == "" || id.Name == id.ID:
		return string(id.Kind) + ":" + id.ID
	}
	return string(id.Kind) + ":" + id.ID + " (" + id.Name + ")"
}

// FromURL reports whether the token came in a URL.
func (id *Identity) FromURL() bool { return id.fromURL }

// Ended returns the cause if the identity has ended: [ErrRevoked],
// [ErrExpired] or [ErrClosed]; else nil.
func (id *Identity) Ended() error {
	if id.life != nil {
		if cause := id.life.ended(); cause != nil {
			return cause
		}
	}
	if !id.Expires.IsZero() && !id.clock().Before(id.Expires) {
		return ErrExpired
	}
	return nil
}

// Used notes that the identity is being used again, by a connection that was
// authenticated before. It does not wait.
func (id *Identity) Used() {
	if id.live != nil {
		id.live.owner.note(id.live)
	}
}

// OnEnd has fn called once when the identity ends, with the cause: from a
// goroutine of the authority or a timer, or before OnEnd returns if it has
// ended already. fn must not block. The caller calls stop when it does not
// care any more, and may do so twice; a call of fn that has begun goes on.
func (id *Identity) OnEnd(fn func(cause error)) (stop func()) {
	l, release := id.life, func() {}
	switch {
	case id.live != nil:
		l, release = id.live.hold()
	case l == nil:
		l = &life{}
	}
	var in time.Duration
	if !id.Expires.IsZero() {
		in = max(id.Expires.Sub(id.clock()), 1)
	}
	return l.onEnd(fn, in, release)
}

// Context returns a context that ends with the parent, with cancel, or with
// the identity; then [context.Cause] tells why. The caller must call cancel.
func (id *Identity) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	stop := id.OnEnd(end)
	return ctx, func() {
		stop()
		end(nil)
	}
}

func (id *Identity) clock() time.Time {
	if id.now == nil {
		return time.Now()
	}
	return id.now()
}
