package websocket

import (
	"context"

	"crier/internal/engine"
	"crier/internal/transport"
)

// Kind says how a published message is to be kept.
type Kind uint8

// The kinds. ByType leaves it to the publisher: as the content type and the
// bytes say, like a body that comes by POST.
const (
	ByType Kind = iota
	Text
	Binary
)

// Message is one message of a [Publication]. Its strings are as the client
// wrote them: the publisher checks them.
type Message struct {
	Data        []byte // the publisher's to keep; not nil
	Kind        Kind
	ContentType string // empty: the default of the kind
	Type        string // empty: none
	TTL         int64  // seconds; 0: none
}

// Publication is what one request publishes: all of it or nothing.
type Publication struct {
	Topic          string    // as the client wrote it; in raw mode the path's
	Messages       []Message // at least one, at most [engine.MaxBlock]
	IdempotencyKey string    // empty: none
	Batch          bool      // the client wrote a list, even if of one
}

// Publisher checks names, rights and limits, and publishes. Errors that are a
// [*problem.Problem] are told as they are, others as [Config.Problem] says. It
// is called by one goroutine at a time.
type Publisher interface {
	Publish(ctx context.Context, p Publication) (engine.Receipt, error)
}

// Session is what one crier.v1.json socket may do in its domain. Errors are
// as with [Publisher], and it is called by one goroutine at a time.
type Session interface {
	Publisher
	// Listen checks patterns, rights and the cursor of a subscribe request.
	// Of its answer Domain, Filter, Start and Unreadable are used. since is
	// empty if the client gave none.
	Listen(ctx context.Context, patterns []string, since string) (transport.Listen, error)
}
