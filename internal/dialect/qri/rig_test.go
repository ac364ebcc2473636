package qri_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/access"
	"crier/internal/dialect"
	"crier/internal/dialect/qri"
	"crier/internal/dialect/qri/notice"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/sse"
)

const operator = "the-operators-own-token"

// away is an engine that can be away.
type away struct {
	*memory.Engine
	is atomic.Bool
}

func (a *away) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	l, err := a.Engine.Log(ctx, domain, d)
	return &awayLog{l, a}, err
}

type awayLog struct {
	engine.Log
	engine *away
}

func (l *awayLog) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	if l.engine.is.Load() {
		return engine.Receipt{}, fmt.Errorf("%w: test", engine.ErrUnavailable)
	}
	return l.Log.Append(ctx, b)
}

func (l *awayLog) State(ctx context.Context) (engine.State, error) {
	if l.engine.is.Load() {
		return engine.State{}, fmt.Errorf("%w: test", engine.ErrUnavailable)
	}
	return l.Log.State(ctx)
}

// network is a listener in memory.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error   { n.once.Do(func() { close(n.closed) }); return nil }
func (n *network) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (n *network) dial() (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
		return mine, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// rig is all of QRI but its real sockets.
type rig struct {
	t       *testing.T
	engine  *away
	hub     *hub.Hub
	domain  *hub.Domain
	access  *access.Authority
	table   *transport.Table
	notices *notice.Board
	ingest  *qri.Ingest
	web     *network
	tcp     *network
	client  *http.Client
	metrics *prometheus.Registry
	stop    func()
}

type options struct {
	access access.Config
	open   bool
	ingest qri.IngestConfig
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{t: t, engine: &away{Engine: memory.New(memory.Config{})}, web: newNetwork(), tcp: newNetwork(), metrics: prometheus.NewRegistry()}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.hub, err = hub.New(context.Background(), hub.Config{Engine: r.engine, Defaults: hub.Settings{Durability: engine.Memory}})
	must(err)
	r.domain, err = r.hub.Domain(hub.Main)
	must(err)
	o.access.Registry = r.engine.Registry()
	o.access.Operator, err = access.NewOperatorToken(operator)
	must(err)
	r.access, err = access.New(context.Background(), o.access)
	must(err)
	r.table = transport.NewTable(0, nil, transport.NewMetrics(r.metrics))
	r.notices, err = notice.Open(context.Background(), notice.Config{Registry: r.engine.Registry(), Domain: r.domain})
	must(err)
	handler := qri.New(qri.Config{
		Hub: r.hub, Access: r.access, Table: r.table, Notices: r.notices, Open: o.open,
		SSE:     sse.New(sse.Config{Hub: r.hub, Metrics: r.table.Metrics()}),
		Metrics: dialect.NewMetrics(r.metrics), Logger: slog.New(slog.DiscardHandler),
	})
	o.ingest.Domain, o.ingest.Table, o.ingest.Metrics = r.domain, r.table, qri.NewIngestMetrics(r.metrics)
	r.ingest = qri.NewIngest(o.ingest)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !handler.Serves(req.URL.EscapedPath()) {
			http.NotFound(w, req)
			return
		}
		handler.ServeHTTP(w, req)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(r.web) })
	serving.Go(func() {
		if err := r.ingest.Serve(r.tcp); err != nil {
			t.Error(err)
		}
	})
	r.client = &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return r.web.dial() },
		DisableKeepAlives: true,
	}}
	r.stop = sync.OnceFunc(func() {
		_ = r.tcp.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.table.Drain(ctx, 0); err != nil && !r.engine.is.Load() {
			t.Error(err)
		}
		r.ingest.Close(ctx)
		_ = server.Close()
		serving.Wait()
		r.client.CloseIdleConnections()
		if n := r.domain.Subscriptions(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
		r.notices.Close()
		r.access.Close()
		_ = r.hub.Close()
		_ = r.engine.Close()
	})
	t.Cleanup(r.stop)
	return r
}

// publish says something to a topic.
func (r *rig) publish(topicName string, texts ...string) engine.Receipt {
	r.t.Helper()
	var b engine.Block
	for _, s := range texts {
		b.Drafts = append(b.Drafts, message.Draft{Topic: topicName, Data: []byte(s), ContentType: message.DefaultContentType})
	}
	receipt, err := r.domain.Publish(context.Background(), b)
	if err != nil {
		r.t.Fatal(err)
	}
	return receipt
}

// history gives what is in the log, "topic data".
func (r *rig) history() []string {
	r.t.Helper()
	page, err := r.domain.Log().Read(context.Background(), engine.Query{Filter: topic.NewFilter(topic.All()), Limit: 100_000, MaxBytes: 64 << 20})
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, m := range page.Messages {
		all = append(all, fmt.Sprintf("%s %s", m.Topic, m.Data))
	}
	return all
}

// call makes a request. Headers come in pairs.
func (r *rig) call(method, target, body string, headers ...string) (status int, answer string, header http.Header) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://localhost"+target, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// listener reads a stream block by block.
type listener struct {
	t      *testing.T
	header http.Header
	body   io.ReadCloser
	lines  *bufio.Reader
	cancel context.CancelFunc
}

// listen opens a stream, which must be answered with 200.
func (r *rig) listen(query string, headers ...string) *listener {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/stream?"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		r.t.Fatalf("%s: %d %s", query, resp.StatusCode, b)
	}
	l := &listener{r.t, resp.Header, resp.Body, bufio.NewReader(resp.Body), cancel}
	r.t.Cleanup(l.close)
	return l
}

func (l *listener) close() {
	l.cancel()
	_ = l.body.Close()
}

// block reads up to a blank line, byte by byte as it came; "" at the end.
func (l *listener) block() string {
	l.t.Helper()
	var b strings.Builder
	for {
		line, err := l.lines.ReadString('\n')
		b.WriteString(line)
		switch {
		case err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && b.Len() == 0:
			return ""
		case err != nil:
			l.t.Fatalf("after %q: %v", b.String(), err)
		case line == "\n":
			return b.String()
		}
	}
}

// expect reads blocks and compares.
func (l *listener) expect(want ...string) {
	l.t.Helper()
	for _, w := range want {
		if got := l.block(); got != w {
			l.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// event is the block of an event of one line.
func event(id message.ID, text string) string {
	return "id: " + id.String() + "\ndata: " + text + "\n\n"
}

// counter gives a counter's value.
func (r *rig) counter(name string, labels ...string) float64 {
	r.t.Helper()
	all, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != name {
			continue
		}
	metrics:
		for _, m := range family.GetMetric() {
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				if !found {
					continue metrics
				}
			}
			return m.GetCounter().GetValue()
		}
	}
	return 0
}
