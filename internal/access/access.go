// Package access decides who may do what. An [Authority] turns the credential
// of a request into an [Identity], which holds grants, tells when it ends, and
// answers [Identity.May]. Nothing here knows of connections or messages.
//
// The invariant: nothing is granted unless a grant in force says so, with one
// exception. While no key and no JWT verifier has ever existed in the data
// directory, the server is open: whoever reaches its loopback listener
// directly may publish and subscribe. The first key or verifier leaves a mark
// in the registry that closes the server for good; only Config.Open opens it
// again, for as long as that process lives.
//
// # Keys
//
// A key's secret is crier_<id>_<26 random characters><checksum>. The id finds
// the key with one look; the checksum turns away what was never a key without
// one. The registry keeps the SHA-256 of the secret, compared in constant
// time. A slow hash (bcrypt, argon2) would add nothing: it makes guessing
// passwords expensive, and 130 random bits cannot be guessed, while every
// request would pay for it.
//
// # JSON Web Tokens
//
// A JWT is signed with HS256, RS256, ES256 or EdDSA, and which of them is
// fixed by the kind of the verification key, never by the token. What it may
// do is in one claim:
//
//	"crier": {"domain": "main", "publish": ["chat/*"], "subscribe": ["chat/**"]}
//
// Each member may be left out: domain is then "main", and a list is empty.
// Other members are an error, so that a slip of the pen does not pass for a
// grant. exp is required (unless the operator allows tokens without it) and
// is taken strictly: the identity ends then, and so do its connections. nbf is
// checked with a leeway for clocks that differ; iss and aud are checked if the
// operator set them. A JWT never grants manage.
package access

import (
	"errors"
	"net/http"
)

// Action is what a grant allows.
type Action string

// The actions.
const (
	Publish   Action = "publish"
	Subscribe Action = "subscribe"
	Manage    Action = "manage"
)

// DefaultDomain is the domain of a JWT that names none.
const DefaultDomain = "main"

// What an identity ends with; see [Identity.OnEnd].
var (
	ErrRevoked = errors.New("key was revoked")
	ErrExpired = errors.New("credential expired")
	ErrClosed  = errors.New("server was closed: everything needs a key or a JWT now")
)

// What every refusal of this package wraps one of.
var (
	// ErrUnauthenticated: there is no credential, or it is not good. 401.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrForbidden: a grant is missing, or the request may not come this
	// way. 403.
	ErrForbidden = errors.New("forbidden")
	// ErrUnavailable: whether the credential is good cannot be asked now. 503.
	ErrUnavailable = errors.New("credentials cannot be checked now")
)

// Reason is a short, stable name of why something was refused, for metrics.
type Reason string

// The reasons.
const (
	NoCredential  Reason = "no_credential"
	BadCredential Reason = "bad_credential"
	Revoked       Reason = "revoked"
	Expired       Reason = "expired"
	NoGrant       Reason = "no_grant"
	TokenInURL    Reason = "token_in_url"
	Proxied       Reason = "proxied"
	BadHost       Reason = "host"
	BadOrigin     Reason = "origin"
	NotLoopback   Reason = "not_loopback"
	Unavailable   Reason = "unavailable"
)

// Refusal is the error of everything that is refused. Detail is for the
// client: it names what was missing and the mend, and no secret.
type Refusal struct {
	Reason Reason
	Detail string
	kind   error // one of the three above
	cause  error // for logs, may be nil
}

// Error gives the detail.
func (r *Refusal) Error() string { return r.Detail }

// Unwrap gives the kind of refusal, and its cause if there is one.
func (r *Refusal) Unwrap() []error {
	if r.cause == nil {
		return []error{r.kind}
	}
	return []error{r.kind, r.cause}
}

// Status is the HTTP status of the refusal: 401, 403 or 503.
func (r *Refusal) Status() int {
	switch r.kind {
	case ErrUnauthenticated:
		return http.StatusUnauthorized
	case ErrUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden
}

// Challenge is the WWW-Authenticate header of a 401 (RFC 6750, section 3), or
// of a 403 for a missing grant; empty for other refusals.
func (r *Refusal) Challenge() string {
	switch {
	case r.Reason == NoCredential:
		return `Bearer realm="crier"`
	case r.kind == ErrUnauthenticated:
		return `Bearer realm="crier", error="invalid_token"`
	case r.Reason == NoGrant:
		return `Bearer realm="crier", error="insufficient_scope"`
	}
	return ""
}

func unauthenticated(reason Reason, detail string) *Refusal {
	return &Refusal{Reason: reason, Detail: detail, kind: ErrUnauthenticated}
}

func forbidden(reason Reason, detail string) *Refusal {
	return &Refusal{Reason: reason, Detail: detail, kind: ErrForbidden}
}

func unavailable(detail string, cause error) *Refusal {
	return &Refusal{Reason: Unavailable, Detail: detail, kind: ErrUnavailable, cause: cause}
}
