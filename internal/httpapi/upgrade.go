package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/transport"
	"crier/internal/transport/websocket"
)

// upgrade is GET /t/{domain}/{pattern} as a WebSocket.
func (a *API) upgrade(w http.ResponseWriter, r *http.Request, t target, who *access.Identity, s *seat) {
	if err := a.checkSocketOrigin(r); err != nil {
		a.refuse(w, r, a.denied(err))
		return
	}
	hs, err := websocket.Check(r)
	if err != nil {
		a.refuse(w, r, handshakeProblem(w, err))
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		a.refuse(w, r, badQuery(err))
		return
	}
	names := query["topic"]
	session := hs.Protocol == websocket.Protocol
	var first *transport.Listen
	var p *problem.Problem
	if session && t.name == "" && len(names) == 0 {
		p = a.mayEnter(t, who)
	} else {
		var l transport.Listen
		if l, p = a.listenOn(t, names, who); p == nil {
			p = a.startAt(&l, r.Header, query, message.Latest())
			first = &l
		}
	}
	if p != nil {
		a.refuse(w, r, p)
		return
	}
	conn, err := a.Table.Open(r.Context(), a.info(r, "websocket", t.domain, who))
	if err != nil {
		a.refuse(w, r, a.failed(err))
		return
	}
	defer conn.Close()
	s.leave()
	if first != nil {
		first.Conn, first.Envelope = conn, query.Get("envelope") == "json"
	}
	if session {
		err = a.WebSocket.ServeSession(w, r, hs, conn, first, &socket{a, t.domain, who})
	} else {
		var pub websocket.Publisher
		if only, ok := first.Filter.Topics(); ok && len(only) == 1 {
			pub = &socket{a, t.domain, who}
		}
		err = a.WebSocket.ServeRaw(w, r, hs, *first, pub)
	}
	if err != nil {
		a.refuse(w, r, a.failed(err))
	}
}

// checkSocketOrigin applies the list of origins to a WebSocket, which browsers
// open across origins without asking. A page that this host serves itself is
// no other origin.
func (a *API) checkSocketOrigin(r *http.Request) error {
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err == nil && u.Host != "" && u.Host == r.Host && len(r.Header.Values("Origin")) == 1 {
			return nil
		}
	}
	return a.Access.CheckOrigin(r)
}

func handshakeProblem(w http.ResponseWriter, err error) *problem.Problem {
	h, ok := errors.AsType[*websocket.HandshakeError](err)
	if !ok {
		return problem.BadRequest(err.Error())
	}
	for k, v := range h.Header {
		w.Header()[k] = v
	}
	if h.Status == http.StatusUpgradeRequired {
		return problem.UpgradeRequired(h.Detail)
	}
	return problem.BadRequest(h.Detail) // its other statuses are for methods that don't come here
}

// mayEnter lets in whoever may do anything in a domain.
func (a *API) mayEnter(t target, who *access.Identity) *problem.Problem {
	if !who.MayKnow(t.domain) {
		return problem.Forbidden(fmt.Sprintf("no grant in domain %q", t.domain))
	}
	if _, err := a.Hub.Domain(t.domain); err != nil {
		return a.failed(err)
	}
	return nil
}

// socket is what one WebSocket may do: it is the websocket package's Publisher
// and Session.
type socket struct {
	api    *API
	domain string
	who    *access.Identity
}

// Publish implements [websocket.Publisher].
func (s *socket) Publish(ctx context.Context, p websocket.Publication) (engine.Receipt, error) {
	d, prob := s.api.publishable(target{domain: s.domain, name: p.Topic}, s.who)
	if prob != nil {
		if prob.Status == http.StatusBadRequest {
			prob.Field = "topic"
		}
		return engine.Receipt{}, prob
	}
	drafts, body, prob := s.drafts(p)
	if prob != nil {
		return engine.Receipt{}, prob
	}
	if err := checkKey(p.IdempotencyKey); err != nil {
		return engine.Receipt{}, inMember("", err)
	}
	receipt, prob := s.api.publish(ctx, d, s.who, drafts, p.IdempotencyKey, body)
	if prob != nil {
		return receipt, prob
	}
	return receipt, nil
}

// members are the names that frames have for what a publish by HTTP says in
// headers.
var members = map[string]string{"Content-Type": "contentType", "Crier-Type": "type", "Idempotency-Key": "idempotencyKey"}

// inMember is a refusal of a header as one of a frame's member, below where.
func inMember(where string, err error) *problem.Problem {
	p := badRequest(err)
	if name, ok := members[p.Field]; ok {
		p.Detail = strings.Replace(p.Detail, p.Field, name, 1)
		p.Field = name
	}
	if where != "" {
		p.Detail = where + ": " + p.Detail
		p.Field = where + "." + p.Field
	}
	return p
}

// drafts checks what a client wrote, and gives all bytes for the fingerprint
// of an idempotency key.
func (s *socket) drafts(p websocket.Publication) (drafts []message.Draft, body []byte, refused *problem.Problem) {
	drafts = make([]message.Draft, len(p.Messages))
	for i, m := range p.Messages {
		where := "message"
		if p.Batch {
			where = fmt.Sprintf("messages[%d]", i)
		}
		if int64(len(m.Data)) > s.api.Limits.Message {
			return nil, nil, problem.TooLarge(fmt.Sprintf("message %d has %d bytes of data, the limit is %d", i+1, len(m.Data), s.api.Limits.Message))
		}
		d := message.Draft{Topic: p.Topic, Data: m.Data, Type: m.Type}
		if d.ContentType = m.ContentType; d.ContentType == "" && m.Kind == websocket.Binary {
			d.ContentType = "application/octet-stream"
		}
		var err error
		if d.ContentType, err = checkContentType(d.ContentType); err != nil {
			return nil, nil, inMember(where, err)
		}
		if err := checkType(d.Type); err != nil {
			return nil, nil, inMember(where, err)
		}
		if m.TTL < 0 || time.Duration(m.TTL) > maxTTL/time.Second {
			return nil, nil, inMember(where, wrong("ttl", "ttl is a number of seconds from 1 to %d, got %d", int(maxTTL/time.Second), m.TTL))
		}
		d.TTL = time.Duration(m.TTL) * time.Second
		switch m.Kind {
		case websocket.Text:
		case websocket.Binary:
			d.Binary = true
		default:
			d.Binary = isBinary(d.ContentType, m.Data)
		}
		drafts[i] = d
		if p.IdempotencyKey != "" {
			body = fmt.Appendf(body, "%d %q %q %d %t:", len(m.Data), d.ContentType, d.Type, m.TTL, d.Binary)
			body = append(body, m.Data...)
		}
	}
	return drafts, body, nil
}

// Listen implements [websocket.Session].
func (s *socket) Listen(_ context.Context, patterns []string, since string) (transport.Listen, error) {
	l, p := s.api.listenOn(target{domain: s.domain}, patterns, s.who)
	if p != nil {
		if p.Field == "topic" {
			p.Field = "topics" // there is no path here
		}
		return l, p
	}
	l.Start = message.Latest()
	if since != "" {
		start, err := message.ParseStart(since)
		if err != nil {
			return l, problem.BadRequest("since: " + err.Error()).On("since")
		}
		l.Start = start
	}
	return l, nil
}

var _ websocket.Session = (*socket)(nil)
