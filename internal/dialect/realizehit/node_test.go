package realizehit_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/redis/rueidis"

	"crier/internal/access"
	"crier/internal/dialect/realizehit"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
	"crier/internal/transport"
)

// patience is for what should take no time.
const patience = 20 * time.Second

// lease is short enough for a test that waits for another node, and long enough
// that a busy machine does not lose it.
const lease = 6 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// backend is another program at Redis.
type backend struct {
	t *testing.T
	rueidis.Client
}

func newBackend(t *testing.T, addr string) *backend {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &backend{t, c}
}

// publish publishes and gives how many Redis delivered it to.
func (b *backend) publish(channel, payload string) int64 {
	b.t.Helper()
	n, err := b.Do(b.t.Context(), b.B().Publish().Channel(channel).Message(payload).Build()).AsInt64()
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// listeners is how many connections are subscribed to a channel.
func (b *backend) listeners(channel string) int64 {
	b.t.Helper()
	m, err := b.Do(b.t.Context(), b.B().PubsubNumsub().Channel(channel).Build()).AsIntMap()
	if err != nil {
		b.t.Fatal(err)
	}
	return m[channel]
}

// node is a Crier with nothing but this dialect.
type node struct {
	t      *testing.T
	hub    *hub.Hub
	domain *hub.Domain
	access *access.Authority
	table  *transport.Table
	redis  *realizehit.Redis
	url    string
	close  func()
}

type nodeOptions struct {
	engine  engine.Engine // nil: one of its own
	redis   string        // HOST:PORT; empty: none
	origins []string
	anybody bool
	pings   time.Duration
	lease   time.Duration // 0: a short one
}

func startNode(t *testing.T, o nodeOptions) *node {
	t.Helper()
	n := &node{t: t}
	var closers []func()
	n.close = sync.OnceFunc(func() {
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	})
	t.Cleanup(n.close)
	eng := o.engine
	if eng == nil {
		eng = memory.New(memory.Config{})
		closers = append(closers, func() { _ = eng.Close() })
	}
	origins, err := access.NewOrigins(o.origins)
	if err != nil {
		t.Fatal(err)
	}
	if n.access, err = access.New(t.Context(), access.Config{Registry: eng.Registry(), Origins: origins}); err != nil {
		t.Fatal(err)
	}
	closers = append(closers, n.access.Close)
	if n.hub, err = hub.New(t.Context(), hub.Config{Engine: eng, Defaults: hub.Settings{Durability: engine.Memory}}); err != nil {
		t.Fatal(err)
	}
	closers = append(closers, func() { _ = n.hub.Close() })
	if n.domain, err = n.hub.Domain(hub.Main); err != nil {
		t.Fatal(err)
	}
	if o.redis != "" {
		n.redis, err = realizehit.OpenRedis(t.Context(), realizehit.RedisConfig{
			URL: "redis://" + o.redis, Domain: n.domain, Registry: eng.Registry(), Lease: cmp.Or(o.lease, lease),
		})
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, n.redis.Close)
	}
	n.table = transport.NewTable(0, nil, nil)
	d := realizehit.New(realizehit.Config{
		Hub: n.hub, Access: n.access, Table: n.table, Redis: n.redis, AnyMayUse: o.anybody, MaxMessage: 100_000, PingInterval: o.pings,
	})
	srv := httptest.NewServer(d.Handler(http.NotFoundHandler()))
	n.url = srv.URL
	closers = append(closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = n.table.Drain(ctx, 0)
		d.Close()
		srv.CloseClientConnections()
		srv.Close()
	})
	return n
}

// ready waits until the node hears Redis.
func (n *node) ready() *node {
	n.t.Helper()
	eventually(n.t, "Redis is heard", func() bool {
		ctx, cancel := context.WithTimeout(n.t.Context(), time.Second)
		defer cancel()
		return n.redis.Check(ctx) == nil
	})
	return n
}

// post publishes by POST / and gives status and text.
func (n *node) post(body string, headers ...string) (int, string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), "POST", n.url+"/", strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (n *node) posts(pattern, payload string) {
	n.t.Helper()
	if status, text := n.post(fmt.Sprintf(`{"pattern":%s,"payload":%s}`, pattern, payload)); status != 200 || text != "Your payload has been queued for delivery" {
		n.t.Fatalf("POST /: %d %q", status, text)
	}
}

// native subscribes as a native client does.
func (n *node) native(pattern string) *hub.Subscription {
	n.t.Helper()
	p, err := topic.ParsePattern(pattern)
	if err != nil {
		n.t.Fatal(err)
	}
	s, err := n.domain.Subscribe(n.t.Context(), hub.Options{Filter: topic.NewFilter(p), Start: message.Latest(), Waker: hub.NewSignal()})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(s.Close)
	return s
}

// socket is an Engine.IO client, as bare as it gets.
type socket struct {
	t *testing.T
	c *coder.Conn
}

func (n *node) socket(header ...string) *socket {
	n.t.Helper()
	s, err := n.trySocket(header...)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *node) trySocket(header ...string) (*socket, error) {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	c, _, err := coder.Dial(ctx, n.url+"/ws?EIO=4&transport=websocket", &coder.DialOptions{HTTPHeader: h})
	if err != nil {
		return nil, err
	}
	n.t.Cleanup(func() { _ = c.CloseNow() })
	s := &socket{n.t, c}
	if open := s.read(); !strings.HasPrefix(open, `0{"sid":`) {
		n.t.Fatalf("open packet %q", open)
	}
	return s, nil
}

func (s *socket) send(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.c.Write(ctx, coder.MessageText, []byte("4"+text)); err != nil {
		s.t.Fatal(err)
	}
}

// read gives the next packet that is no ping.
func (s *socket) read() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		_, b, err := s.c.Read(ctx)
		if err != nil {
			s.t.Fatalf("nothing came: %v", err)
		}
		if string(b) == "2" {
			_ = s.c.Write(ctx, coder.MessageText, []byte("3"))
			continue
		}
		return string(b)
	}
}

func (s *socket) wants(texts ...string) {
	s.t.Helper()
	for _, want := range texts {
		if got := s.read(); got != "4"+want {
			s.t.Fatalf("%s came, want %s", got, want)
		}
	}
}

// subscribe subscribes to a pattern, and returns when that is answered.
func (s *socket) subscribe(pattern string) {
	s.t.Helper()
	s.send(`{"id":"s","act":"sub","pat":` + pattern + `}`)
	s.wants(`{"id":"s"}`)
}

func (s *socket) unsubscribe(pattern string) {
	s.t.Helper()
	s.send(`{"id":"u","act":"unsub","pat":` + pattern + `}`)
	s.wants(`{"id":"u"}`)
}

// quiet checks that nothing came before the answer to a ping.
func (s *socket) quiet() {
	s.t.Helper()
	s.send(`{"id":"q","act":"ping"}`)
	s.wants(`{"id":"q","ret":"pong"}`)
}

// idOf is what payloads of a pattern begin with.
func idOf(t *testing.T, pattern string) string {
	t.Helper()
	p, err := realizehit.ParsePattern([]byte(pattern), true)
	if err != nil {
		t.Fatal(err)
	}
	return p.ID() + "?"
}

func hooks(heard func(channel, payload string)) rueidis.PubSubHooks {
	return rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { heard(m.Channel, m.Message) }}
}

// cursorMoved polls a subscription and says whether there was a message.
func cursorMoved(s *hub.Subscription) bool {
	var b hub.Batch
	return s.Poll(context.Background(), &b, 0, 0) == nil && len(b.Entries) > 0
}
