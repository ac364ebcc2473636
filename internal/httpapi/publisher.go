package httpapi

import (
	"slices"
	"sync/atomic"
	"time"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/httpapi/strict"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
	"crier/internal/wire"
)

// patience is how long a loop waits for the rest of a request. Then net/http
// does, which knows how long that may take.
const patience = time.Second

// publisher is the connection of a publisher on the wire. One publish is under
// way at a time; what the peer sends meanwhile waits, up to a bound, so that
// answers come in the order of the requests.
type publisher struct {
	wire.Socket
	loop          *loop
	who           *access.Identity // of the first request, and of all that show the same
	host          string
	authorization string
	returns       int
	letGo         func() // of who, which is watched while it is held

	begun  []byte // was read and is of no request yet
	rest   []byte // of an answer that the socket did not take
	at     where
	given  string // Content-Type of the last request
	kind   string // and what that means
	seat   *seat  // of the publish under way; nil: there is none
	begins bool   // a request was begun, and has patience to come
	gone   bool   // the peer will send no more

	receipt engine.Receipt
	err     error
	ready   atomic.Bool // receipt and err are those of the publish under way
}

// where is what the path of the last request names.
type where struct {
	path   string
	target target
	domain *hub.Domain
}

// begin writes the answer to the request that net/http served.
func (s *publisher) begin(answer []byte) {
	s.At(s.loop.api.Idle)
	s.write(answer)
}

// Data implements [wire.Handler].
func (s *publisher) Data(w *wire.Worker, p []byte) {
	if len(s.begun) == 0 && s.idle() {
		s.take(w, p, false)
		return
	}
	s.begun = append(s.begun, p...)
	if s.idle() {
		begun := s.begun
		s.begun = nil
		s.take(w, begun, true)
	} else if len(s.begun) >= strict.MaxRequest {
		s.Hold() // it is far ahead of its answers
	}
}

// idle reports whether the next request can be begun.
func (s *publisher) idle() bool { return s.seat == nil && len(s.rest) == 0 }

// take begins the first request of p, and keeps the rest; own says that p may
// be kept as it is.
func (s *publisher) take(w *wire.Worker, p []byte, own bool) {
	if s.loop.draining.Load() {
		s.end()
		return
	}
	var r strict.Request
	n, result := strict.Parse(p, &r)
	if result == strict.Part && !s.gone {
		s.keep(p, own)
		s.wait()
		return
	}
	reason := result.String()
	if result == strict.Whole {
		reason = s.publish(w, &r)
	}
	if reason != "" {
		s.loop.giveBack(s, p, reason)
		return
	}
	if n < len(p) {
		s.keep(p[n:], own)
	}
}

func (s *publisher) keep(p []byte, own bool) {
	if !own {
		p = slices.Clone(p)
	}
	s.begun = p
}

// wait has the rest of a request come, or not.
func (s *publisher) wait() {
	if !s.begins {
		s.begins = true
		s.At(patience)
	}
	s.Resume()
}

// Gone implements [wire.Handler].
func (s *publisher) Gone(*wire.Worker) {
	s.gone = true
	switch {
	case !s.idle(): // it waits for an answer
	case len(s.begun) > 0:
		s.loop.giveBack(s, s.begun, strict.Part.String())
	default:
		s.end()
	}
}

// publish begins a publish, if it is one that net/http would not refuse; else it
// did nothing, and says why.
func (s *publisher) publish(w *wire.Worker, r *strict.Request) (refusal string) {
	a := s.loop.api
	if string(r.Authorization) != s.authorization || string(r.Host) != s.host || s.who.Ended() != nil ||
		s.who.Kind == access.KindAnonymous && !a.Access.Open() {
		return "credential"
	}
	if !s.find(r.Path) {
		return "refused"
	}
	draft, ok := s.draft(r)
	if !ok || int64(len(r.Body)) > a.Limits.Message || checkKey(string(r.Key)) != nil {
		return "refused"
	}
	seat := a.sit()
	if seat == nil {
		return "busy"
	}
	if ok, _ := a.Rate.Take(s.who.Credential(), 1); !ok {
		seat.leave()
		return "refused"
	}
	s.who.Used()
	s.seat, s.begins = seat, false
	p := w.Local(s.loop.kind).(*press)
	if len(r.Key) == 0 {
		p.add(s.at.domain, draft, s)
		return ""
	}
	// A key is of a block, so this one is alone in its.
	p.Over()
	p.add(s.at.domain, draft, s)
	p.block.key = keyOf(s.who, p.block.drafts, string(r.Key), draft.Data)
	p.Over()
	return ""
}

// find finds what a path names, if the identity may publish there.
func (s *publisher) find(path []byte) bool {
	if string(path) == s.at.path && s.at.domain != nil {
		select {
		case <-s.at.domain.Done(): // it was deleted, and may have been made again
		default:
			return true
		}
	}
	at := where{path: string(path)}
	var err error
	if at.target, err = parseTarget(at.path); err != nil || topic.Check(at.target.name) != nil {
		return false
	}
	if s.who.May(access.Publish, at.target.domain, topic.Exactly(at.target.name)) != nil {
		return false
	}
	if at.domain, err = s.loop.api.Hub.Domain(at.target.domain); err != nil {
		return false
	}
	s.at = at
	return true
}

// draft makes what is to be published; it owns its bytes.
func (s *publisher) draft(r *strict.Request) (d message.Draft, ok bool) {
	if given := string(r.ContentType); given != s.given || s.kind == "" {
		kind, err := checkContentType(given)
		if err != nil {
			return d, false
		}
		s.given, s.kind = given, kind
	}
	d = message.Draft{Topic: s.at.target.name, ContentType: s.kind}
	if len(r.Type) > 0 {
		if d.Type = string(r.Type); checkType(d.Type) != nil {
			return d, false
		}
	}
	if len(r.TTL) > 0 {
		var err error
		if d.TTL, err = parseTTL(string(r.TTL)); err != nil {
			return d, false
		}
	}
	d.Data = make([]byte, len(r.Body))
	copy(d.Data, r.Body)
	d.Binary = isBinary(d.ContentType, d.Data)
	return d, true
}

// outcome is told by whoever appended the publish under way.
func (s *publisher) outcome(r engine.Receipt, err error) {
	s.receipt, s.err = r, err
	s.ready.Store(true)
	s.Schedule()
}

// Turn implements [wire.Handler].
func (s *publisher) Turn(w *wire.Worker) {
	due := s.TimeCame()
	if len(s.rest) > 0 {
		rest := s.rest
		s.rest = nil
		if s.write(rest); len(s.rest) == len(rest) && due {
			s.end() // it has taken nothing for as long as it may be idle
			return
		}
	}
	if s.seat != nil && s.ready.Load() {
		s.ready.Store(false)
		s.answer(w)
	}
	switch {
	case !s.idle():
		if due {
			s.At(s.loop.api.Idle)
		}
	case s.loop.draining.Load(), s.gone && len(s.begun) == 0:
		s.end()
	case len(s.begun) > 0 && due:
		s.loop.giveBack(s, s.begun, "slow")
	case len(s.begun) > 0 && s.whole():
		begun := s.begun
		s.begun = nil
		s.take(w, begun, true)
	case len(s.begun) > 0:
		s.wait()
	case due:
		s.end()
	default:
		s.Resume()
	}
}

// whole reports whether what was begun is worth another look: more than the part
// that was looked at came, or it was never looked at.
func (s *publisher) whole() bool {
	var r strict.Request
	_, result := strict.Parse(s.begun, &r)
	return result != strict.Part || s.gone
}

// answer answers the publish under way.
func (s *publisher) answer(w *wire.Worker) {
	s.seat.leave()
	s.seat = nil
	s.At(s.loop.api.Idle)
	draining := s.loop.draining.Load()
	if s.err != nil {
		s.write(s.failure(s.err, draining))
		s.err = nil
		return
	}
	s.loop.way.Inc()
	p := w.Local(s.loop.kind).(*press)
	p.answer = appendCreated(p.answer[:0], s.at.target, s.receipt, s.loop.date.text(), draining)
	s.write(p.answer)
}

// write writes an answer; what the socket does not take is written later.
func (s *publisher) write(p []byte) {
	n, err := s.Write(p)
	if err != nil {
		s.end()
		return
	}
	if n < len(p) {
		s.rest = slices.Clone(p[n:])
	}
}

// end closes the connection.
func (s *publisher) end() {
	s.Close()
	s.begun, s.rest = nil, nil
	s.loop.leave(s)
}
