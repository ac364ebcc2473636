// Package engine has the two contracts that every engine keeps: [Log], the
// ordered truth of one domain, and [Registry], the small facts that several
// nodes must agree on. It has no storage of its own; package enginetest judges
// the implementations, and the packages below this one are they.
//
// The log is the truth, the bus is a doorbell: [Log.Listen] only says that
// there is news up to a sequence number. A ring that is lost, doubled or out
// of order costs latency, never a message, because listeners read what they
// miss from the log.
package engine

import (
	"context"
	"errors"
	"time"

	"crier/internal/message"
	"crier/internal/topic"
)

// Errors that callers decide on. Engines wrap them around their causes.
var (
	// ErrUnavailable: the engine cannot serve now (disk full, failed sync,
	// connection lost). Nothing of the call was committed unless said so;
	// trying again later is right.
	ErrUnavailable = errors.New("engine unavailable")
	// ErrUnknown comes with ErrUnavailable, if nobody knows whether the block
	// of an Append was committed: the connection was lost before the answer.
	// Trying again is right with an idempotency key; without one it may double.
	ErrUnknown = errors.New("it is not known whether that was committed")
	// ErrClosed: the engine or log was closed.
	ErrClosed = errors.New("engine closed")
	// ErrKeyReused: the idempotency key was used for another body.
	ErrKeyReused = errors.New("idempotency key was used with another body")
	// ErrTooManyKeys: more idempotency keys are remembered than the limit.
	ErrTooManyKeys = errors.New("too many idempotency keys within ten minutes")
	// ErrDurability: the engine cannot hold what the setting asks for.
	ErrDurability = errors.New("durability not supported")
	// ErrCorrupt: stored bytes do not mean what they should.
	ErrCorrupt = errors.New("log corrupt")
	// ErrNotFound: no such registry entry or domain.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the registry entry is at another version than expected.
	ErrConflict = errors.New("changed meanwhile")
	// ErrLeaseHeld: somebody else holds the lease.
	ErrLeaseHeld = errors.New("lease held by another")
	// ErrLeaseLost: the lease expired or was taken over; its writes are refused.
	ErrLeaseLost = errors.New("lease lost")
)

// Durability says what an acknowledged publish survives.
type Durability string

// The durabilities, strongest first.
const (
	Fsync  Durability = "fsync"  // kill -9 and power loss
	Async  Durability = "async"  // a crash of the process; may lose the last 100 ms with the machine
	Memory Durability = "memory" // nothing: history lives as long as the process
)

// ParseDurability reads a setting.
func ParseDurability(s string) (Durability, error) {
	switch d := Durability(s); d {
	case Fsync, Async, Memory:
		return d, nil
	}
	return "", errors.New("durability is fsync, async or memory, got " + quote(s))
}

func quote(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return `"` + s + `"`
}

// KeyLife is how long an idempotency key is remembered.
const KeyLife = 10 * time.Minute

// Key is an idempotency key: what the caller made of credential, domain,
// topic and the client's key, and a fingerprint of the body. The zero Key is
// no key.
type Key struct {
	Hash [16]byte
	Body [16]byte
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// Block is what one call appends: all of it or nothing, with consecutive
// sequence numbers and one time.
type Block struct {
	Drafts []message.Draft
	Key    Key
}

// MaxBlock bounds the drafts of one block.
const MaxBlock = 1000

// Receipt says what an Append did. The ids of the block are First, and the
// N-1 that follow it in the same epoch.
type Receipt struct {
	First      message.ID
	N          int
	Time       time.Time
	Durability Durability // what is true of the block when Append returns, never more
	Repeated   bool       // the key was known: this is the first one's receipt, nothing was appended
}

// ID gives the id of the i-th message of the block.
func (r Receipt) ID(i int) message.ID {
	id := r.First
	id.Seq += uint64(i)
	return id
}

// EpochRange is one line of a log's table of epochs: the sequence numbers
// that were given in it. An epoch in which nothing was appended yet has
// Last == First-1.
type EpochRange struct {
	Epoch       message.Epoch
	First, Last uint64
}

// State is what the source says of a log at one moment.
type State struct {
	Head    uint64       // the newest sequence number that is as durable as the domain says; 0: nothing yet
	Trimmed uint64       // everything up to here was trimmed by retention; the oldest left is above
	Changes uint64       // grows whenever history is taken away or an epoch begins, other than by retention at the old end
	Epochs  []EpochRange // oldest first, at least one; the last is current and ends at Head. At most MaxEpochs: then the oldest are forgotten
	Bytes   int64        // data plus topic of what is left
	Count   int64        // messages between Trimmed and Head
}

// MaxEpochs bounds the table of epochs.
const MaxEpochs = 1024

// Query asks for messages in order.
type Query struct {
	After    uint64       // only sequence numbers above
	UpTo     uint64       // and not above this; 0: the head
	Filter   topic.Filter // only matching topics
	Limit    int          // at most so many messages; 0: 1,000
	MaxBytes int          // stop once so many bytes of data are in the page (it holds at least one message); 0: 1 MiB
}

// Page is the answer to a Query.
type Page struct {
	Messages []message.Message // in order, expired ones left out; the page owns their bytes
	Next     uint64            // everything that matches up to here is in the page or gone; at least After unless the log is shorter
	Lost     uint64            // the newest sequence number up to which something that matches is gone: if above After, a gap
	Reason   message.Reason    // why, if Lost is not 0
}

// Retention bounds a log. Zero fields bound nothing.
type Retention struct {
	Before time.Time // messages older than this go
	Bytes  int64     // the oldest go while data plus topic of the rest are more
}

// News is a ring of the doorbell.
type News struct {
	Head uint64
	// Messages, if any, are the log's newest ones, consecutive and ending
	// with Head: an optimisation, which the listener may use or read itself.
	Messages []message.Message
	// Changed says that State.Trimmed, State.Changes or the epochs moved.
	Changed bool
}

// Log is one domain's ordered log. All methods may be called concurrently;
// those with a context may block until it ends. After Close they return
// [ErrClosed].
type Log interface {
	// Append stores the block, all or none, and returns once it is as
	// durable as the domain says. Sequence numbers are given in commit
	// order without holes. The idempotency key is committed with the
	// messages: a repeat within [KeyLife] returns the first receipt with
	// Repeated set, or [ErrKeyReused]. The log owns the drafts' bytes from
	// the call on; callers don't change them. If the context ends while the
	// block is under way, the block may yet be committed.
	Append(ctx context.Context, b Block) (Receipt, error)

	// Read returns the messages that a query asks for, never one above the
	// head. What was taken away while reading is told by Page.Lost.
	Read(ctx context.Context, q Query) (Page, error)

	// Last returns the sequence number after which the newest n that match
	// lie (fewer if there are fewer), and the head that it saw.
	Last(ctx context.Context, f topic.Filter, n int) (after, head uint64, err error)

	// Complete returns the sequence number after which nothing that matches
	// is gone.
	Complete(ctx context.Context, f topic.Filter) (uint64, error)

	// State asks the source, not this node's view of it.
	State(ctx context.Context) (State, error)

	// Topics lists topics that have messages, in byte order, after the given
	// one, at most limit.
	Topics(ctx context.Context, f topic.Filter, after string, limit int) ([]TopicInfo, error)

	// Trim enforces retention. Every node calls it about once a second.
	Trim(ctx context.Context, r Retention) error

	// Forget deletes the history of one topic up to the present head.
	Forget(ctx context.Context, topicName string) error

	// BeginEpoch begins a new epoch, above the last.
	BeginEpoch(ctx context.Context) (message.Epoch, error)

	// Listen has fn called when there is news, from whatever goroutine of
	// the engine; fn does not block. stop ends that and returns once fn is
	// not running any more.
	Listen(fn func(News)) (stop func())

	// Durability is what Append promises; SetDurability changes it, or
	// returns [ErrDurability].
	Durability() Durability
	SetDurability(ctx context.Context, d Durability) error
}

// Starter is what a Log may be besides, for callers that must not wait.
type Starter interface {
	// Start begins an Append, unless beginning it would have to wait, for the
	// disk or for room in a queue: then it returns false and nothing was
	// done. done is called once, from any goroutine and perhaps before Start
	// returns; it must not block. The block's slice is the caller's again
	// when done is called; its drafts' bytes stay the log's.
	Start(b Block, done func(Receipt, error)) bool
}

// TopicInfo is a line of Log.Topics.
type TopicInfo struct {
	Topic string     `json:"topic"`
	Count int64      `json:"messages"`
	Last  message.ID `json:"last"`
}

// Engine opens logs and the registry.
type Engine interface {
	// Log opens the log of a domain, or makes it; a log that is open already
	// is returned as it is. Logs are closed with the engine. Returns
	// [ErrDurability] if the engine cannot hold what is asked.
	Log(ctx context.Context, domain string, d Durability) (Log, error)
	// Drop deletes a domain's log for good; open handles return [ErrClosed].
	Drop(ctx context.Context, domain string) error
	Registry() Registry
	// Ping asks whether the engine would take a publish now.
	Ping(ctx context.Context) error
	Close() error
}
