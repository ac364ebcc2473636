package websocket

import (
	"encoding/json"
	"errors"
	"net/http"
	"unicode/utf8"

	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/websocket/frame"
)

// Close codes of our own. Like the names of a protocol they stay as they are.
const (
	codeGap        frame.Code = 4001 // raw: history that was due is gone; the reason is the gap
	codeCredential frame.Code = 4002 // the credential ended
	codeKicked     frame.Code = 4003 // closed by the operator
	codeDomain     frame.Code = 4004 // the domain was deleted
	codeUnheard    frame.Code = 4005 // no answer to a ping
)

// ending is how a socket ends.
type ending struct {
	code   frame.Code // of the close frame; 0: none is sent, the peer is not there
	reason string
	label  string // of the metric
	broken bool   // the peer broke the rules: its own close frame is not waited for
}

// The ways in which sockets end that are known beforehand.
var (
	lost    = ending{label: "lost"}
	stalled = ending{label: "stalled"}
	unheard = ending{code: codeUnheard, reason: "no answer to a ping", label: "unanswered", broken: true}
	flooded = ending{code: frame.Policy, reason: "too many control frames", label: "protocol", broken: true}
)

// refusal ends a socket for what its peer did against a rule of ours.
func refusal(code frame.Code, reason string) ending {
	return ending{code: code, reason: reason, label: "refused"}
}

// answered is the end that the peer asked for with a close frame.
func answered(code frame.Code) ending { return ending{code: code, label: transport.EndLabel(nil)} }

// failed is the end of a peer that broke the rules of frames.
func failed(err error) ending {
	e := ending{code: frame.Protocol, label: "protocol", broken: true}
	if fault, ok := errors.AsType[*frame.Error](err); ok {
		e.code, e.reason = fault.Code, fault.Reason
	}
	return e
}

// Close is a cause with which a socket is closed with a code and a reason of
// the caller's: see [transport.Conn.End].
type Close struct {
	Code   uint16 // as in the close frame (RFC 6455, section 7.4)
	Reason string // at most 123 bytes of UTF-8
	Label  string // of the metric
}

// Error implements error.
func (c *Close) Error() string { return c.Reason }

// endOf says what the cause of a connection's context means.
func endOf(cause error) ending {
	if c, ok := errors.AsType[*Close](cause); ok {
		return ending{code: frame.Code(c.Code), reason: c.Reason, label: c.Label}
	}
	e := ending{label: transport.EndLabel(cause)}
	switch {
	case errors.Is(cause, transport.ErrDraining):
		e.code, e.reason = frame.Restart, "the server restarts; come back"
	case errors.Is(cause, transport.ErrKicked):
		e.code, e.reason = codeKicked, "closed by the operator"
	case errors.Is(cause, transport.ErrCredential):
		e.code, e.reason = codeCredential, "the credential ended"
	case errors.Is(cause, transport.ErrDomainEnded):
		e.code, e.reason = codeDomain, "the domain was deleted"
	case errors.Is(cause, transport.ErrTooMany):
		e.code, e.reason = frame.TryLater, "too many connections"
	}
	return e
}

// endOfPoll says what it means that a subscription cannot go on.
func (c *socket) endOfPoll(st *stream, err error) ending {
	cause := transport.PollEnded(c.life, c.srv.cfg.Hub, st.sub, err)
	if cause != err {
		return endOf(cause)
	}
	c.srv.cfg.Logger.Error("subscription failed", "connection", c.conn.ID(), "error", err)
	return ending{code: frame.Internal, reason: "internal error", label: "internal"}
}

// endOfPublish says how a raw socket ends whose peer sent what could not be
// published.
func (s *Server) endOfPublish(err error) ending {
	p := s.problemOf(err)
	code := frame.Policy
	switch {
	case p.Status == http.StatusRequestEntityTooLarge:
		code = frame.TooBig
	case p.Status == http.StatusTooManyRequests, p.Status == http.StatusServiceUnavailable, p.Status == http.StatusInsufficientStorage:
		code = frame.TryLater
	case p.Status >= 500:
		code = frame.Internal
	}
	return refusal(code, p.Error())
}

// endOfGap closes a socket that has no frame for a gap.
func endOfGap(g *message.Gap) ending {
	return ending{code: codeGap, reason: gapReason(*g), label: "gap"}
}

// gapReason is a gap as JSON, with as much of the cursor, which may be
// whatever a client sent, as there is room for.
func gapReason(g message.Gap) string {
	g.After = frame.Clip(g.After, frame.MaxReason)
	for {
		b, err := json.Marshal(g)
		if err == nil && len(b) <= frame.MaxReason || g.After == "" {
			return string(b)
		}
		_, last := utf8.DecodeLastRuneInString(g.After)
		g.After = g.After[:len(g.After)-last]
	}
}
