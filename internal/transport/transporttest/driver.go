// Package transporttest judges transports: one list of scenarios, run over
// every transport through a small [Driver], so that what is true of one is
// true of all. Each scenario runs in a bubble of fake time (testing/synctest)
// with a whole server in memory, see [Env]; minutes of heartbeats take
// milliseconds.
//
// It also has an [EventSource], which reads text/event-stream as the WHATWG
// standard says and shares no code with the transport that writes it.
package transporttest

import (
	"net/http"
	"time"

	"crier/internal/message"
	"crier/internal/transport"
)

// Driver is how the scenarios use one transport. It is used for several
// scenarios, one after the other.
type Driver interface {
	// Traits says what the transport can do.
	Traits() Traits
	// Handler makes the server's side for one environment. It is called
	// with requests that are granted, and has their connections closed
	// after it; its error is answered with 503.
	Handler(e *Env) Handler
	// Listen listens as a client does, by a request to e.URL(o) through
	// e.Client(o), or a handshake on e.Dial(o). It returns once the server
	// listens.
	Listen(e *Env, o Options) (Listener, error)
}

// Handler serves a request to listen.
type Handler func(w http.ResponseWriter, r *http.Request, l transport.Listen) error

// Options of a client.
type Options struct {
	Patterns []string
	Domain   string // empty: main
	Since    string // earliest, latest, last:N or a cursor; empty: latest
	Envelope bool   // wants envelopes, where that can be chosen
	// Rate is how many bytes the client's network takes in a second;
	// 0: as many as the client reads.
	Rate int
}

// Listener is a client that listens. Next and Close may be called at the same
// time.
type Listener interface {
	// Next waits for what comes. The last is an event of kind [End], or an
	// error if something came that should not have.
	Next() (Event, error)
	// Close goes away; it makes Next return.
	Close()
}

// Kind says what an Event is.
type Kind uint8

// The kinds of events.
const (
	Message Kind = iota + 1
	Gap
	Heartbeat
	End
)

// String gives the kind's name.
func (k Kind) String() string {
	switch k {
	case Message:
		return "message"
	case Gap:
		return "gap"
	case Heartbeat:
		return "heartbeat"
	case End:
		return "end"
	}
	return "nothing"
}

// Event is what a client is told.
type Event struct {
	Kind    Kind
	Message message.Message // as much of it as the transport tells; always ID and Data, if Traits.IDs
	Gap     message.Gap
	// Cursor is the place to resume from after this event; zero if the
	// event does not say.
	Cursor message.ID
	// Reason of an End, as transport.EndLabel has it, or "gap"; empty if
	// the transport does not say.
	Reason string
}

// Traits are what transports differ in.
type Traits struct {
	Name  string // as in transport.Info
	Wire  bool   // connections are served on the wire
	HTTP2 bool   // Env.Client speaks HTTP/2

	IDs      bool // messages carry their ids
	Whole    bool // messages carry topic, content type and time too
	Types    bool // messages carry their type
	Gaps     bool // gaps are told in the stream; else it ends with the reason "gap"
	Goodbyes bool // the end says why
	Polls    bool // the client asks again and again; there may be no connection in between

	Heartbeat time.Duration // between signs of life that the client sees; 0: none
	Places    bool          // heartbeats carry the cursor if it moved; the first event, if it is no gap, is one with the place where it begins
	Stall     time.Duration // how long a peer may take nothing; 0: not tested

	// Text is what text comes out as; nil: as it was.
	Text func(string) string
}
