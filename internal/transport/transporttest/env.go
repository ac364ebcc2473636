package transporttest

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/wire"
)

// Env is a whole server in memory, in a bubble: an engine, a hub, the table
// of connections, and HTTP over connections that take 64 KiB before their
// peer reads.
type Env struct {
	T       *testing.T
	Hub     *hub.Hub
	Domain  *hub.Domain // main
	Table   *transport.Table
	Metrics *transport.Metrics
	Wire    *wire.Engine // nil unless the driver's traits ask for it

	driver   Driver
	network  *network
	engine   *moody
	registry *prometheus.Registry

	identity identity
}

// identity is the credential of everybody.
type identity struct {
	context.Context
	revoke context.CancelCauseFunc
}

// OnEnd implements [transport.Ender].
func (i *identity) OnEnd(fn func(cause error)) (stop func()) {
	unhook := context.AfterFunc(i.Context, func() { fn(context.Cause(i.Context)) })
	return func() { unhook() }
}

// NewEnv starts everything within a bubble, and has it stopped with the test.
// tailBytes is the hub's; 0: as it comes.
func NewEnv(t *testing.T, d Driver, tailBytes int64) *Env {
	t.Helper()
	inner := memory.New(memory.Config{})
	t.Cleanup(func() { _ = inner.Close() })
	e := &Env{T: t, driver: d, network: newNetwork(), engine: &moody{Engine: inner}, registry: prometheus.NewRegistry()}
	e.Metrics = transport.NewMetrics(e.registry)
	h, err := hub.New(t.Context(), hub.Config{Engine: e.engine, Defaults: hub.Settings{Durability: engine.Memory}, TailBytes: tailBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	e.Hub = h
	if e.Domain, err = h.Domain(hub.Main); err != nil {
		t.Fatal(err)
	}
	e.Table = transport.NewTable(0, nil, e.Metrics)
	if d.Traits().Wire {
		if e.Wire, err = wire.New(wire.Config{Kernel: NewKernel, Loops: 2}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Wire.Close() })
	}
	e.identity.Context, e.identity.revoke = context.WithCancelCause(context.Background())
	handler := d.Handler(e)
	var handlers, serving sync.WaitGroup
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		e.serve(w, r, handler)
	})}
	serving.Go(func() { _ = server.Serve(e.network) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
		handlers.Wait()
	})
	return e
}

// serve does what the public API does before a transport serves.
func (e *Env) serve(w http.ResponseWriter, r *http.Request, handler Handler) {
	if e.identity.Err() != nil {
		http.Error(w, "credential ended", http.StatusUnauthorized)
		return
	}
	query := r.URL.Query()
	l, err := e.grant(r.Context(), Options{
		Domain: query.Get("domain"), Patterns: query["topic"], Since: query.Get("since"), Envelope: query.Get("envelope") == "json",
	})
	if err == nil {
		defer l.Conn.Close()
		err = handler(w, r, l)
	}
	switch {
	case errors.Is(err, hub.ErrNoDomain):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, topic.ErrName):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// grant makes what a transport is called with.
func (e *Env) grant(ctx context.Context, o Options) (l transport.Listen, err error) {
	l.Envelope = o.Envelope
	if l.Domain, err = e.Hub.Domain(cmp.Or(o.Domain, hub.Main)); err != nil {
		return l, err
	}
	patterns := make([]topic.Pattern, len(o.Patterns))
	for i, s := range o.Patterns {
		if patterns[i], err = topic.ParsePattern(s); err != nil {
			return l, err
		}
	}
	l.Filter = topic.NewFilter(patterns...)
	if o.Since != "" {
		if l.Start, err = message.ParseStart(o.Since); err != nil {
			l.Unreadable = o.Since
		}
	}
	l.Conn, err = e.Table.Open(ctx, transport.Info{
		Transport: e.driver.Traits().Name, Remote: netip.MustParseAddr("192.0.2.1"), Domain: l.Domain.Name(), Identity: &e.identity,
	})
	return l, err
}

// Granted is a request to listen as a transport gets it, for tests that call
// one without a connection. Its Conn is closed with the test.
func (e *Env) Granted(o Options) transport.Listen {
	e.T.Helper()
	l, err := e.grant(e.T.Context(), o)
	if err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(l.Conn.Close)
	return l
}

// URL is where to listen.
func (e *Env) URL(o Options) string {
	query := url.Values{"topic": o.Patterns, "domain": {o.Domain}}
	if o.Since != "" {
		query.Set("since", o.Since)
	}
	if o.Envelope {
		query.Set("envelope", "json")
	}
	return "http://" + address{}.String() + "/?" + query.Encode()
}

// Dial connects to the server.
func (e *Env) Dial(o Options) (net.Conn, error) { return e.network.dial(e.T.Context(), o.Rate) }

// Client makes a client of its own, with connections of its own.
func (e *Env) Client(o Options) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!e.driver.Traits().HTTP2)
	protocols.SetUnencryptedHTTP2(e.driver.Traits().HTTP2)
	t := &http.Transport{
		Protocols:          &protocols,
		HTTP2:              &http.HTTP2Config{MaxReceiveBufferPerStream: socketBuffer, MaxReceiveBufferPerConnection: socketBuffer},
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := e.network.dial(ctx, o.Rate)
			if err == nil {
				// Time stands still once a bubble's test is over: a slow
				// read would wait for ever.
				e.T.Cleanup(func() { _ = c.Close() })
			}
			return c, err
		},
	}
	return &http.Client{Transport: t}
}

// Publish publishes texts to a topic of main, as one block.
func (e *Env) Publish(topicName string, texts ...string) engine.Receipt {
	e.T.Helper()
	drafts := make([]message.Draft, len(texts))
	for i, s := range texts {
		drafts[i] = message.Draft{Topic: topicName, Data: []byte(s), ContentType: message.DefaultContentType}
	}
	return e.PublishDrafts(drafts...)
}

// PublishDrafts publishes to main, as one block.
func (e *Env) PublishDrafts(drafts ...message.Draft) engine.Receipt {
	e.T.Helper()
	r, err := e.Domain.Publish(context.Background(), engine.Block{Drafts: drafts})
	if err != nil {
		e.T.Fatal(err)
	}
	return r
}

// EngineAway takes the engine away, and brings it back.
func (e *Env) EngineAway(away bool) { e.engine.away.Store(away) }

// Revoke ends the credential of everybody.
func (e *Env) Revoke(cause error) { e.identity.revoke(cause) }

// Ended counts the connections that ended for a reason, as
// transport.EndLabel has it.
func (e *Env) Ended(reason string) int {
	e.T.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		e.T.Fatal(err)
	}
	n := 0
	for _, f := range families {
		if f.GetName() != "crier_connections_ended_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "reason" && label.GetValue() == reason {
					n += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return n
}

// moody is an engine that can be away.
type moody struct {
	engine.Engine
	away atomic.Bool
	goes atomic.Bool // away once it has told where a log stands
}

func (m *moody) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	l, err := m.Engine.Log(ctx, domain, d)
	return &moodyLog{l, m}, err
}

type moodyLog struct {
	engine.Log
	moods *moody
}

func (l *moodyLog) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	if l.moods.away.Load() {
		return engine.Receipt{}, engine.ErrUnavailable
	}
	return l.Log.Append(ctx, b)
}

func (l *moodyLog) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	if l.moods.away.Load() {
		return engine.Page{}, engine.ErrUnavailable
	}
	return l.Log.Read(ctx, q)
}

func (l *moodyLog) Last(ctx context.Context, f topic.Filter, n int) (after, head uint64, err error) {
	if l.moods.away.Load() {
		return 0, 0, engine.ErrUnavailable
	}
	return l.Log.Last(ctx, f, n)
}

func (l *moodyLog) Complete(ctx context.Context, f topic.Filter) (uint64, error) {
	if l.moods.away.Load() {
		return 0, engine.ErrUnavailable
	}
	return l.Log.Complete(ctx, f)
}

func (l *moodyLog) State(ctx context.Context) (engine.State, error) {
	if l.moods.away.Load() {
		return engine.State{}, engine.ErrUnavailable
	}
	if l.moods.goes.Swap(false) {
		defer l.moods.away.Store(true)
	}
	return l.Log.State(ctx)
}

// ear is a listener with the test's patience: an hour.
type ear struct {
	Listener
	e     *Env
	place message.ID // the last cursor that was told
}

const patience = time.Hour

// listen begins to listen.
func (e *Env) listen(o Options) *ear {
	e.T.Helper()
	l, err := e.driver.Listen(e, o)
	if err != nil {
		e.T.Fatalf("listen to %q since %q: %v", o.Patterns, o.Since, err)
	}
	e.T.Cleanup(l.Close)
	return &ear{Listener: l, e: e}
}

// next waits for anything.
func (a *ear) next() Event {
	a.e.T.Helper()
	timer := time.AfterFunc(patience, a.Close)
	ev, err := a.Next()
	if !timer.Stop() {
		a.e.T.Fatalf("nothing came within %v", patience)
	}
	if err != nil {
		a.e.T.Fatal(err)
	}
	if !ev.Cursor.IsZero() {
		a.place = ev.Cursor
	}
	return ev
}

// beyond waits for anything but heartbeats.
func (a *ear) beyond() Event {
	a.e.T.Helper()
	for {
		if ev := a.next(); ev.Kind != Heartbeat {
			return ev
		}
	}
}

// messages waits for n messages and nothing else.
func (a *ear) messages(n int) []message.Message {
	a.e.T.Helper()
	got := make([]message.Message, n)
	for i := range got {
		ev := a.beyond()
		if ev.Kind != Message {
			a.e.T.Fatalf("after %d messages of %d: %v %+v %s", i, n, ev.Kind, ev.Gap, ev.Reason)
		}
		got[i] = ev.Message
	}
	return got
}

// hears checks that messages with these data come next, and nothing else
// between them.
func (a *ear) hears(want ...string) {
	a.e.T.Helper()
	for i, m := range a.messages(len(want)) {
		if string(m.Data) != want[i] {
			a.e.T.Fatalf("message %d is %.60q, want %.60q", i, m.Data, want[i])
		}
	}
}

// ends checks that the end comes next, after messages perhaps, and why.
func (a *ear) ends(reason string) {
	a.e.T.Helper()
	for {
		ev := a.next()
		if ev.Kind != End {
			continue
		}
		if a.e.driver.Traits().Goodbyes && ev.Reason != reason {
			a.e.T.Fatalf("ends with %q, want %q", ev.Reason, reason)
		}
		return
	}
}
