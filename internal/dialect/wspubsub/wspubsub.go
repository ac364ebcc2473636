// Package wspubsub lets the clients of wspubsub work unmodified: publishers at
// /ws/pub/<ApiKey>/<Domain>/<Topic>, subscribers at /ws/sub/<Domain>/<Topic>.
// docs/migrate-from-wspubsub.md has it as they see it.
//
// It is a map. A domain and a topic of the outside become a domain of the hub
// and a topic of one segment in it; frames are those of package websocket in
// raw mode; keys are package keys' or pgkeys'. What is its own is in [Topics]:
// that a topic is started by a publisher, has one owner, and ends some time
// after that one is gone.
package wspubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"crier/internal/access"
	"crier/internal/dialect"
	"crier/internal/dialect/name"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/websocket"
)

// dialectName is what flags and metrics call us.
const dialectName = "wspubsub"

// Config is what the handler needs; all of it but Metrics and Logger is
// required.
type Config struct {
	Hub        *hub.Hub
	Access     *access.Authority
	Table      *transport.Table
	Sockets    *websocket.Server
	Keys       keys.Source
	Topics     *Topics
	MaxMessage int              // bytes
	Metrics    *dialect.Metrics // nil: counted nowhere
	Logger     *slog.Logger     // nil: none
}

// Handler serves both paths, concurrently.
type Handler struct {
	cfg  Config
	door dialect.Door
}

// New makes the handler.
func New(cfg Config) *Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{cfg: cfg, door: dialect.Door{Dialect: dialectName, Access: cfg.Access, Metrics: cfg.Metrics, Logger: cfg.Logger}}
}

// The paths begin with these.
const (
	prefixPub = "/ws/pub/"
	prefixSub = "/ws/sub/"
)

// Serves reports whether a path, escaped as it came, is ours.
func (*Handler) Serves(path string) bool {
	return strings.HasPrefix(path, prefixPub) || strings.HasPrefix(path, prefixSub)
}

// ServeHTTP serves the paths that [Handler.Serves] says.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := access.PathOf(r)
	var err error
	if rest, ok := strings.CutPrefix(path, prefixPub); ok {
		err = h.publish(w, r, rest)
	} else {
		err = h.subscribe(w, r, strings.TrimPrefix(path, prefixSub))
	}
	if err != nil {
		h.door.Refuse(w, r, h.told(err))
	}
}

// told maps the errors of this dialect.
func (h *Handler) told(err error) error {
	switch {
	case errors.Is(err, ErrOwned):
		return problem.Conflict("the topic has an owner; there is one at a time")
	case errors.Is(err, ErrNotStarted):
		return problem.NotFound("the topic was not started, or has ended; it starts when a publisher connects")
	case errors.Is(err, keys.ErrBad):
		return problem.Forbidden("the key is wrong, not active, or of another domain")
	case errors.Is(err, keys.ErrUnavailable):
		h.cfg.Logger.Warn("wspubsub: a key could not be checked", "error", err)
		return problem.Unavailable("keys cannot be checked now; try again", 2*time.Second)
	}
	return err
}

// segments splits a path, which is decoded only then, into exactly as many
// segments as there are names.
func segments(path string, names ...string) ([]string, error) {
	parts := strings.Split(path, "/")
	if len(parts) != len(names) {
		return nil, problem.NotFound(fmt.Sprintf("after /ws/pub/ or /ws/sub/ the path has %d segments (%s), this one %d; a slash in one of them is written %%2F",
			len(names), strings.Join(names, ", "), len(parts)))
	}
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return nil, problem.BadRequest(fmt.Sprintf("the %s in the path is not well escaped", names[i]))
		}
		if decoded == "" {
			return nil, problem.NotFound(fmt.Sprintf("the %s in the path is empty", names[i]))
		}
		parts[i] = decoded
	}
	return parts, nil
}

// handshake checks what all sockets have to be.
func (h *Handler) handshake(w http.ResponseWriter, r *http.Request) (websocket.Handshake, error) {
	hs, err := websocket.CheckPlain(r)
	if fault, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		for k, v := range fault.Header {
			w.Header()[k] = v
		}
		p := problem.BadRequest(fault.Detail)
		p.Status = fault.Status
		return hs, p
	}
	if err != nil {
		return hs, err
	}
	return hs, h.door.CheckOrigin(r)
}

// place is where a topic of the outside is.
type place struct{ domain, topic string }

func placeOf(domain, topicName string) place {
	return place{name.Domain(domain), name.Segment(topicName)}
}

// key is what the registry calls it.
func (p place) key() string { return p.domain + "/" + p.topic }

func (h *Handler) info(r *http.Request, p place) transport.Info {
	return transport.Info{Transport: "websocket", Domain: p.domain, Name: dialectName, Remote: h.cfg.Access.Proxies().ClientAddr(r)}
}

// publish is /ws/pub/<ApiKey>/<Domain>/<Topic>.
func (h *Handler) publish(w http.ResponseWriter, r *http.Request, path string) error {
	parts, err := segments(path, "API key", "domain", "topic")
	if err != nil {
		return err
	}
	hs, err := h.handshake(w, r)
	if err != nil {
		return err
	}
	grant, err := h.cfg.Keys.Check(r.Context(), parts[1], parts[0])
	if err != nil {
		return err
	}
	at := placeOf(parts[1], parts[2])
	domain, err := h.domain(r.Context(), at.domain)
	if err != nil {
		return err
	}
	info := h.info(r, at)
	info.Name, info.Identity = dialectName+":"+grant.ID, grant
	conn, err := h.cfg.Table.Open(r.Context(), info)
	if err != nil {
		return err
	}
	defer conn.Close()
	owned, err := h.cfg.Topics.Own(conn.Context(), at.key(), conn)
	if err != nil {
		return err
	}
	defer owned.Leave()
	return h.cfg.Sockets.ServePublisher(w, r, hs, conn, &publisher{h: h, domain: domain, topic: at.topic, owned: owned})
}

// domain finds a domain, or makes it: a valid key for it was shown.
func (h *Handler) domain(ctx context.Context, name string) (*hub.Domain, error) {
	d, err := h.cfg.Hub.Domain(name)
	if !errors.Is(err, hub.ErrNoDomain) {
		return d, err
	}
	d, err = h.cfg.Hub.CreateDomain(ctx, name, hub.Settings{})
	switch {
	case err == nil:
		h.cfg.Logger.InfoContext(ctx, "domain created", "domain", name, "by", dialectName)
	case errors.Is(err, engine.ErrConflict): // somebody else was faster
		return h.cfg.Hub.Domain(name)
	}
	return d, err
}

// subscribe is /ws/sub/<Domain>/<Topic>.
func (h *Handler) subscribe(w http.ResponseWriter, r *http.Request, path string) error {
	parts, err := segments(path, "domain", "topic")
	if err != nil {
		return err
	}
	hs, err := h.handshake(w, r)
	if err != nil {
		return err
	}
	at := placeOf(parts[0], parts[1])
	conn, err := h.cfg.Table.Open(r.Context(), h.info(r, at))
	if err != nil {
		return err
	}
	defer conn.Close()
	leave, err := h.cfg.Topics.Join(r.Context(), at.key(), conn)
	if err != nil {
		return err
	}
	conn.OnRelease(leave) // the socket may outlive this call
	domain, err := h.cfg.Hub.Domain(at.domain)
	if err != nil {
		return err
	}
	return h.cfg.Sockets.ServeListener(w, r, hs, transport.Listen{
		Domain: domain, Filter: topic.NewFilter(topic.Exactly(at.topic)), Start: message.Latest(), Conn: conn,
	})
}

// publisher is what one owner says.
type publisher struct {
	h      *Handler
	domain *hub.Domain
	topic  string
	owned  *Ownership
}

// Publish implements [websocket.Publisher].
func (p *publisher) Publish(ctx context.Context, pub websocket.Publication) (engine.Receipt, error) {
	switch err := p.owned.Hold(ctx); {
	case errors.Is(err, ErrLost):
		return engine.Receipt{}, problem.Unavailable("the topic was taken over", time.Second)
	case err != nil:
		return engine.Receipt{}, p.h.door.Problem(err)
	}
	b := engine.Block{Drafts: make([]message.Draft, len(pub.Messages))}
	for i, m := range pub.Messages {
		if len(m.Data) > p.h.cfg.MaxMessage {
			return engine.Receipt{}, problem.TooLarge(fmt.Sprintf("the message has %d bytes, the limit is %d", len(m.Data), p.h.cfg.MaxMessage))
		}
		d := message.Draft{Topic: p.topic, Data: m.Data, ContentType: message.DefaultContentType}
		if m.Kind == websocket.Binary {
			d.ContentType, d.Binary = "application/octet-stream", true
		}
		b.Drafts[i] = d
	}
	return p.domain.Publish(ctx, b)
}
