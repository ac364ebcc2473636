package problem

import (
	"net/http"
	"slices"
	"time"
)

// prefix of every type. They are names, not addresses: nothing is to be
// fetched there (RFC 9457, section 3.1.1).
const prefix = "urn:crier:problem:"

// The types. One that was released keeps its name, its status and its
// meaning; docs/problems.md has them for those who write clients.
const (
	TypeBadRequest       = prefix + "bad-request"
	TypeUnauthenticated  = prefix + "unauthenticated"
	TypeForbidden        = prefix + "forbidden"
	TypeNotFound         = prefix + "not-found"
	TypeMethodNotAllowed = prefix + "method-not-allowed"
	TypeNotAcceptable    = prefix + "not-acceptable"
	TypeTimeout          = prefix + "request-timeout"
	TypeConflict         = prefix + "conflict"
	TypeKeyInFlight      = prefix + "idempotency-key-in-flight"
	TypeTooLarge         = prefix + "too-large"
	TypeUnsupportedMedia = prefix + "unsupported-media-type"
	TypeKeyReused        = prefix + "idempotency-key-reused"
	TypeNotSupported     = prefix + "not-supported"
	TypeUpgradeRequired  = prefix + "upgrade-required"
	TypeTooManyRequests  = prefix + "too-many-requests"
	TypeInternal         = prefix + "internal"
	TypeUnavailable      = prefix + "unavailable"
	TypeUnknownOutcome   = prefix + "unknown-outcome"
)

// Kind describes a type.
type Kind struct {
	Type    string
	Title   string
	Status  int
	Meaning string
}

// kinds is never changed.
var kinds = [...]Kind{
	{TypeBadRequest, "Bad request", http.StatusBadRequest, "Something in the path, the query, a header or the body is not as it must be; the same request never succeeds."},
	{TypeUnauthenticated, "Not authenticated", http.StatusUnauthorized, "There is no credential, or it is not good, or not any more."},
	{TypeForbidden, "Forbidden", http.StatusForbidden, "The credential lacks the grant that the detail names, or the request may not come this way."},
	{TypeNotFound, "Not found", http.StatusNotFound, "There is nothing of this name, or not for this credential."},
	{TypeMethodNotAllowed, "Method not allowed", http.StatusMethodNotAllowed, "The path is there, for the methods in the Allow header."},
	{TypeNotAcceptable, "Not acceptable", http.StatusNotAcceptable, "There is no representation that the Accept header allows."},
	{TypeTimeout, "Request timeout", http.StatusRequestTimeout, "The client took too long to send the body; nothing was done."},
	{TypeConflict, "Conflict", http.StatusConflict, "It is there already, is needed by the server itself, or was changed meanwhile."},
	{TypeKeyInFlight, "Idempotency key in flight", http.StatusConflict, "A publish with the same Idempotency-Key is under way; ask again for its answer."},
	{TypeTooLarge, "Too large", http.StatusRequestEntityTooLarge, "The body, or a message in it, is over the limit that the detail names."},
	{TypeUnsupportedMedia, "Unsupported media type", http.StatusUnsupportedMediaType, "The body is of a Content-Type that is not taken here."},
	{TypeKeyReused, "Idempotency key reused", http.StatusUnprocessableEntity, "The Idempotency-Key was used with another body within ten minutes."},
	{TypeNotSupported, "Not supported", http.StatusUnprocessableEntity, "The setting is a good one, but the engine of this server or domain cannot hold it."},
	{TypeUpgradeRequired, "Upgrade required", http.StatusUpgradeRequired, "The WebSocket version asked for is not served; Sec-WebSocket-Version says which is."},
	{TypeTooManyRequests, "Too many requests", http.StatusTooManyRequests, "A rate or number is over its limit; Retry-After says when to come back."},
	{TypeInternal, "Internal error", http.StatusInternalServerError, "The server failed in a way that it should not; its log has more."},
	{TypeUnavailable, "Unavailable", http.StatusServiceUnavailable, "The engine is away or the server stops; nothing was done unless the detail says so. Retry-After says when to come back."},
	{TypeUnknownOutcome, "Unknown outcome", http.StatusGatewayTimeout, "The engine went away while it was at work: what was published may be stored or not. The same request with the same Idempotency-Key is stored once; without a key it may be stored twice."},
}

// Types lists every type that there is.
func Types() []Kind { return slices.Clone(kinds[:]) }

func of(typ, detail string) *Problem {
	for i := range kinds {
		if k := &kinds[i]; k.Type == typ {
			return &Problem{Type: typ, Title: k.Title, Status: k.Status, Detail: detail}
		}
	}
	return &Problem{Type: "about:blank", Title: http.StatusText(500), Status: 500, Detail: detail}
}

// BadRequest is a 400.
func BadRequest(detail string) *Problem { return of(TypeBadRequest, detail) }

// Unauthenticated is a 401. challenge is its WWW-Authenticate; "": a plain one
// of Bearer.
func Unauthenticated(detail, challenge string) *Problem {
	p := of(TypeUnauthenticated, detail)
	p.Challenge = challenge
	return p
}

// Forbidden is a 403.
func Forbidden(detail string) *Problem { return of(TypeForbidden, detail) }

// NotFound is a 404.
func NotFound(detail string) *Problem { return of(TypeNotFound, detail) }

// MethodNotAllowed is a 405; the caller sets the Allow header.
func MethodNotAllowed(detail string) *Problem { return of(TypeMethodNotAllowed, detail) }

// NotAcceptable is a 406.
func NotAcceptable(detail string) *Problem { return of(TypeNotAcceptable, detail) }

// Timeout is a 408.
func Timeout(detail string) *Problem { return of(TypeTimeout, detail) }

// Conflict is a 409.
func Conflict(detail string) *Problem { return of(TypeConflict, detail) }

// KeyInFlight is a 409 with a Retry-After of a second.
func KeyInFlight(detail string) *Problem {
	p := of(TypeKeyInFlight, detail)
	p.RetryAfter = time.Second
	return p
}

// TooLarge is a 413.
func TooLarge(detail string) *Problem { return of(TypeTooLarge, detail) }

// UnsupportedMedia is a 415.
func UnsupportedMedia(detail string) *Problem { return of(TypeUnsupportedMedia, detail) }

// KeyReused is a 422.
func KeyReused(detail string) *Problem { return of(TypeKeyReused, detail) }

// UpgradeRequired is a 426. The caller sets Sec-WebSocket-Version and Upgrade.
func UpgradeRequired(detail string) *Problem { return of(TypeUpgradeRequired, detail) }

// NotSupported is a 422.
func NotSupported(detail string) *Problem { return of(TypeNotSupported, detail) }

// TooMany is a 429; wait is when to come back.
func TooMany(detail string, wait time.Duration) *Problem {
	p := of(TypeTooManyRequests, detail)
	p.RetryAfter = wait
	return p
}

// Internal is a 500. The detail says nothing of the cause, which is for the log.
func Internal() *Problem {
	return of(TypeInternal, "the server failed in a way that it should not; its log has more")
}

// UnknownOutcome is a 504.
func UnknownOutcome(detail string) *Problem { return of(TypeUnknownOutcome, detail) }

// Unavailable is a 503; wait is when to come back.
func Unavailable(detail string, wait time.Duration) *Problem {
	p := of(TypeUnavailable, detail)
	p.RetryAfter = wait
	return p
}
