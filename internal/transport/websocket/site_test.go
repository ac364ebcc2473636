package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	dto "github.com/prometheus/client_model/go"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/transporttest"
	"crier/internal/transport/websocket"
)

// site is a server with one domain, and what the public API does around the
// transport, as little of it as will do.
type site struct {
	t       testing.TB
	hub     *hub.Hub
	domain  *hub.Domain
	table   *transport.Table
	metrics *transport.Metrics
	server  *websocket.Server
	wired   bool
	serving sync.WaitGroup

	// publish, if set, comes before every publication.
	publish func(ctx context.Context, p websocket.Publication) error
}

// in gives a site whose failures are those of another test: of a fuzz target.
func (s *site) in(t testing.TB) *site {
	return &site{t: t, hub: s.hub, domain: s.domain, table: s.table, metrics: s.metrics, server: s.server, wired: s.wired}
}

// newSite starts one. It is stopped with the test.
func newSite(t testing.TB, cfg websocket.Config) *site {
	t.Helper()
	eng := memory.New(memory.Config{})
	h, err := hub.New(context.Background(), hub.Config{Engine: eng, Defaults: hub.Settings{Durability: engine.Memory}})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, hub: h, metrics: transport.NewMetrics(nil), wired: cfg.Wire != nil}
	s.table = transport.NewTable(0, nil, s.metrics)
	cfg.Hub, cfg.Metrics, cfg.Logger = h, s.metrics, slog.New(slog.DiscardHandler)
	s.server = websocket.New(cfg)
	if s.domain, err = h.Domain(hub.Main); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.table.Drain(ctx, 0); err != nil {
			t.Error(err)
		}
		s.serving.Wait()
		if n := s.domain.Subscriptions(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
		if cfg.Wire != nil {
			_ = cfg.Wire.Close()
		}
		_ = h.Close()
		_ = eng.Close()
	})
	return s
}

// ServeHTTP serves /PATTERN?topic=…&since=…&envelope=json, and with
// &as=listener or &as=publisher one that only listens or publishes.
// "secret/**" is allowed to nobody.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serving.Add(1)
	defer s.serving.Done()
	if err := s.serve(w, r); err != nil {
		if fault, ok := errors.AsType[*websocket.HandshakeError](err); ok {
			for k, v := range fault.Header {
				w.Header()[k] = v
			}
			http.Error(w, fault.Detail, fault.Status)
			return
		}
		p, ok := errors.AsType[*problem.Problem](err)
		if !ok {
			p = problem.Unavailable(err.Error(), time.Second)
		}
		problem.Write(w, r, p)
	}
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) error {
	h, err := websocket.Check(r)
	if err != nil {
		return err
	}
	var patterns []string
	if name := strings.TrimPrefix(r.URL.Path, "/"); name != "" {
		patterns = []string{name}
	}
	query := r.URL.Query()
	patterns = append(patterns, query["topic"]...)
	session := &visitor{site: s}
	conn, err := s.table.Open(r.Context(), transport.Info{Transport: "websocket", Domain: hub.Main})
	if err != nil {
		return err
	}
	defer conn.Close()
	var first *transport.Listen
	if len(patterns) > 0 {
		l, err := session.Listen(r.Context(), patterns, query.Get("since"))
		if err != nil {
			return err
		}
		if last := r.Header.Get("Last-Event-ID"); last != "" {
			l.Unreadable = last
		}
		l.Conn, l.Envelope = conn, query.Get("envelope") == "json"
		first = &l
	}
	switch query.Get("as") {
	case "listener":
		return s.server.ServeListener(w, r, h, *first)
	case "publisher":
		return s.server.ServePublisher(w, r, h, conn, &fixed{session, patterns[0]})
	}
	if h.Protocol == websocket.Protocol {
		return s.server.ServeSession(w, r, h, conn, first, session)
	}
	return s.server.ServeRaw(w, r, h, *first, session)
}

// fixed publishes to one topic.
type fixed struct {
	*visitor
	topic string
}

func (f *fixed) Publish(ctx context.Context, p websocket.Publication) (engine.Receipt, error) {
	if p.Topic != "" {
		return engine.Receipt{}, problem.BadRequest("a publisher was given a topic")
	}
	p.Topic = f.topic
	return f.visitor.Publish(ctx, p)
}

// visitor is what one connection may do.
type visitor struct{ site *site }

func (v *visitor) Listen(_ context.Context, patterns []string, since string) (transport.Listen, error) {
	l := transport.Listen{Domain: v.site.domain}
	var parsed []topic.Pattern
	for _, s := range patterns {
		p, err := topic.ParsePattern(s)
		if err != nil {
			return l, problem.BadRequest(err.Error())
		}
		if strings.HasPrefix(s, "secret") {
			return l, problem.Forbidden("no grant to subscribe to " + s)
		}
		parsed = append(parsed, p)
	}
	l.Filter = topic.NewFilter(parsed...)
	if since != "" {
		var err error
		if l.Start, err = message.ParseStart(since); err != nil {
			return l, problem.BadRequest("since: " + err.Error())
		}
	}
	return l, nil
}

func (v *visitor) Publish(ctx context.Context, p websocket.Publication) (engine.Receipt, error) {
	if err := topic.Check(p.Topic); err != nil {
		return engine.Receipt{}, problem.BadRequest(err.Error())
	}
	if strings.HasPrefix(p.Topic, "secret") {
		return engine.Receipt{}, problem.Forbidden("no grant to publish to " + p.Topic)
	}
	if hook := v.site.publish; hook != nil {
		if err := hook(ctx, p); err != nil {
			return engine.Receipt{}, err
		}
	}
	var b engine.Block
	for _, m := range p.Messages {
		d := message.Draft{Topic: p.Topic, Data: m.Data, ContentType: m.ContentType, Type: m.Type, TTL: time.Duration(m.TTL) * time.Second}
		if d.ContentType == "" {
			d.ContentType = message.DefaultContentType
		}
		d.Binary = m.Kind == websocket.Binary || m.Kind == websocket.ByType && d.ContentType == "application/octet-stream"
		b.Drafts = append(b.Drafts, d)
	}
	if p.IdempotencyKey != "" {
		copy(b.Key.Hash[:], p.IdempotencyKey)
		copy(b.Key.Body[:], p.Messages[0].Data)
		b.Key.Body[15] = 1
	}
	r, err := v.site.domain.Publish(ctx, b)
	if errors.Is(err, engine.ErrKeyReused) {
		return r, problem.KeyReused("used with another body")
	}
	return r, err
}

// say publishes texts as one block.
func (s *site) say(topicName string, texts ...string) engine.Receipt {
	s.t.Helper()
	drafts := make([]message.Draft, len(texts))
	for i, text := range texts {
		drafts[i] = message.Draft{Topic: topicName, Data: []byte(text), ContentType: message.DefaultContentType}
	}
	return s.put(drafts...)
}

func (s *site) put(drafts ...message.Draft) engine.Receipt {
	s.t.Helper()
	r, err := s.domain.Publish(context.Background(), engine.Block{Drafts: drafts})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// history gives what is in the log, "topic data", with a "b " before what is
// binary.
func (s *site) history() []string {
	s.t.Helper()
	page, err := s.domain.Log().Read(context.Background(), engine.Query{Filter: topic.NewFilter(topic.All())})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, m := range page.Messages {
		kind := ""
		if m.Binary {
			kind = "b "
		}
		all = append(all, fmt.Sprintf("%s%s %s", kind, m.Topic, m.Data))
	}
	return all
}

// late is how late a timer may be.
func (s *site) late() time.Duration {
	if s.wired {
		return 200 * time.Millisecond
	}
	return 0
}

// ended counts the connections that ended for a reason; in a bubble only.
func (s *site) ended(reason string) int {
	synctest.Wait()
	var m dto.Metric
	if err := s.metrics.Ended.WithLabelValues("websocket", reason).Write(&m); err != nil {
		s.t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// peer is a client that speaks frames, over a connection in memory that holds
// nothing: a write of the server lasts until the peer reads.
type peer struct {
	t     testing.TB
	nc    net.Conn
	r     *bufio.Reader
	fault string // of the opening handshake
}

// hijacker hands a connection over, as the HTTP server does.
type hijacker struct {
	http.ResponseWriter
	nc       net.Conn
	buffered string
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r := bufio.NewReader(io.MultiReader(strings.NewReader(h.buffered), h.nc))
	if h.buffered != "" {
		_, _ = r.Peek(len(h.buffered))
	}
	return h.nc, bufio.NewReadWriter(r, bufio.NewWriter(h.nc)), nil
}

func request(target, protocol string) *http.Request {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	r := &http.Request{Method: "GET", URL: u, ProtoMajor: 1, ProtoMinor: 1, Host: "h", Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}}
	if protocol != "" {
		r.Header.Set("Sec-WebSocket-Protocol", protocol)
	}
	return r
}

// connect makes a peer. early is what it sends together with the handshake.
func (s *site) connect(target, protocol string, early ...string) *peer {
	s.t.Helper()
	return s.connectBy(request(target, protocol), early...)
}

func (s *site) connectBy(r *http.Request, early ...string) *peer {
	s.t.Helper()
	mine, theirs := net.Pipe()
	if s.wired {
		mine, theirs = transporttest.Pair(64)
	}
	p := &peer{t: s.t, nc: mine, r: bufio.NewReader(mine)}
	recorder := &answer{header: http.Header{}}
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		s.ServeHTTP(&hijacker{recorder, theirs, strings.Join(early, "")}, r.WithContext(context.Background()))
		_ = theirs.Close()
	}()
	s.t.Cleanup(func() { _ = mine.Close() })
	res, err := http.ReadResponse(p.r, r)
	if err != nil {
		s.serving.Wait()
		p.fault = fmt.Sprintf("%d %s", recorder.status, recorder.body.String())
		return p
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("answered %s", res.Status)
	}
	return p
}

// answer takes a response that is not 101.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// client makes a frame as a client sends it.
func client(op ws.OpCode, fin bool, payload string) string {
	f := ws.NewFrame(op, fin, []byte(payload))
	b, err := ws.CompileFrame(ws.MaskFrame(f))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func text(payload string) string { return client(ws.OpText, true, payload) }

func closing(code uint16, reason string) string {
	return client(ws.OpClose, true, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// send writes bytes; a server that does not read any more is no error.
func (p *peer) send(frames ...string) { _, _ = p.nc.Write([]byte(strings.Join(frames, ""))) }

// next reads one frame: "1 text", "2 bytes", "9 ping", "a pong", "8 CODE
// reason", or "gone".
func (p *peer) next() string {
	p.t.Helper()
	h, err := ws.ReadHeader(p.r)
	if err != nil {
		return "gone"
	}
	if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
		p.t.Fatalf("header %+v: %v", h, err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return "gone"
	}
	if h.OpCode != ws.OpClose {
		return fmt.Sprintf("%x %s", uint8(h.OpCode), payload)
	}
	if len(payload) == 0 {
		return "8"
	}
	if err := ws.CheckCloseFrameData(ws.StatusCode(binary.BigEndian.Uint16(payload)), string(payload[2:])); err != nil && payload[0] == 0x03 && payload[1] < 0xf4 {
		p.t.Fatalf("close % x: %v", payload, err)
	}
	return fmt.Sprintf("8 %d %s", binary.BigEndian.Uint16(payload), payload[2:])
}

// expect reads frames and compares.
func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.next(); got != w {
			p.t.Fatalf("got %.300q, want %.300q", got, w)
		}
	}
}

// closed reads up to the close frame with a code, which it answers.
func (p *peer) closed(code int) (reason string) {
	p.t.Helper()
	for {
		got := p.next()
		if got == "gone" {
			p.t.Fatalf("no close frame, want %d", code)
		}
		if got[0] != '8' {
			continue
		}
		prefix := fmt.Sprintf("8 %d ", code)
		if !strings.HasPrefix(got, prefix) {
			p.t.Fatalf("got %q, want code %d", got, code)
		}
		p.send(closing(uint16(code), ""))
		p.expect("gone")
		return got[len(prefix):]
	}
}
