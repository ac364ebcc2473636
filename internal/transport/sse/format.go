package sse

import (
	"time"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// Place is where a listener stands.
type Place struct {
	ID   message.ID // the place; if it is not Good, the last one that the peer knows of, perhaps none
	Good bool       // the peer may resume from it; false: a gap waits to be told first
	New  bool       // it is further on than the peer was told; in the preamble always, if it is Good
}

// Format is what the bytes of a stream are; when they are written, and what
// they tell of, is the stream's. Each method but the first two appends to dst
// and does not block. All may be called concurrently.
type Format interface {
	// Messages is the encoding of a message, made once for all streams.
	Messages() *hub.Encoding
	// Every is how often a stream gets a beat. The first comes after half of
	// that time up to all of it, so that many streams beat spread.
	Every() time.Duration
	// AppendBegin appends what a stream begins with.
	AppendBegin(dst []byte, at Place) []byte
	// AppendBeat appends a sign of life. State that it tells of is asked for
	// now.
	AppendBeat(dst []byte, at Place) []byte
	// AppendGap appends a gap.
	AppendGap(dst []byte, g *message.Gap) []byte
	// AppendBye appends what a stream ends with; see the causes of
	// [transport.Conn].
	AppendBye(dst []byte, at Place, cause error) []byte
}

// native is the format of the public API.
type native struct {
	cfg      *Config
	messages *hub.Encoding
}

func (f *native) Messages() *hub.Encoding { return f.messages }

func (f *native) Every() time.Duration { return f.cfg.Heartbeat }

// AppendBegin: when to come back, something for proxies to pass on at once,
// and the place.
func (f *native) AppendBegin(dst []byte, at Place) []byte {
	dst = AppendRetry(dst, f.cfg.retry())
	dst = append(dst, ": listening\n\n"...)
	return append(appendPlace(dst, at), '\n')
}

// AppendBeat: the block without data dispatches nothing, but its id counts.
func (f *native) AppendBeat(dst []byte, at Place) []byte {
	dst = append(dst, ":\n"...)
	return append(appendPlace(dst, at), '\n')
}

func (f *native) AppendGap(dst []byte, g *message.Gap) []byte { return AppendGap(dst, g) }

func (f *native) AppendBye(dst []byte, at Place, cause error) []byte {
	label := transport.EndLabel(cause)
	if label == "credential" {
		return appendBye(appendPlace(dst, at), eventExpired, label, cause.Error())
	}
	dst = AppendRetry(dst, f.cfg.retryAfter())
	return appendBye(appendPlace(dst, at), eventRestart, label, "")
}

// appendPlace appends an id field if it says something new.
func appendPlace(dst []byte, at Place) []byte {
	if !at.Good || !at.New {
		return dst
	}
	return AppendID(dst, at.ID)
}

func (c *Config) retry() time.Duration { return transport.Jitter(c.Retry, 3*c.Retry) }

func (c *Config) retryAfter() time.Duration {
	return transport.Jitter(c.RetryAfter, 3*c.RetryAfter)
}
