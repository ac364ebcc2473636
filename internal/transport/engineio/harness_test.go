package engineio_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/transport"
	"crier/internal/transport/engineio"
	"crier/internal/transport/transporttest"
)

// The times of the tests, which are fake.
const (
	pingInterval = 25 * time.Second
	pingTimeout  = 20 * time.Second
)

// bubble runs a test with fake time and a server in memory whose sessions send
// back what they get.
func bubble(t *testing.T, run func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t}
		h.env = transporttest.NewEnv(t, h, 0)
		h.client = h.env.Client(transporttest.Options{})
		run(t, h)
	})
}

// house is a server, and driver of its own environment.
type house struct {
	transporttest.Driver
	t      *testing.T
	env    *transporttest.Env
	server *engineio.Server
	client *http.Client

	refuse error

	mu    sync.Mutex
	users []*user
}

func (h *house) Traits() transporttest.Traits { return transporttest.Traits{Name: "request"} }

func (h *house) Handler(e *transporttest.Env) transporttest.Handler {
	h.server = engineio.New(engineio.Config{
		Table: e.Table, MaxPayload: 1000,
		Accept: func(*http.Request) (engineio.Admission, error) {
			return engineio.Admission{Info: transport.Info{Remote: netip.MustParseAddr("192.0.2.1")}, User: h.newUser}, h.refuse
		},
		CORS: func(header http.Header, _ *http.Request) bool {
			header.Set("Access-Control-Allow-Origin", "*")
			return true
		},
	})
	h.t.Cleanup(h.server.Close)
	return func(w http.ResponseWriter, r *http.Request, _ transport.Listen) error {
		h.server.ServeHTTP(w, r)
		return nil
	}
}

// user echoes, and sends what it is told to.
type user struct {
	session *engineio.Session

	mu     sync.Mutex
	out    []engineio.Message
	in     []string
	hold   chan struct{} // not nil: Receive waits for it
	closed int
	cause  error
}

func (h *house) newUser(s *engineio.Session) engineio.User {
	u := &user{session: s}
	h.mu.Lock()
	h.users = append(h.users, u)
	h.mu.Unlock()
	return u
}

// last is the user of the newest session.
func (h *house) last() *user {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.users[len(h.users)-1]
}

func (u *user) Receive(ctx context.Context, m engineio.Message) {
	u.mu.Lock()
	hold := u.hold
	u.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return
		}
	}
	u.mu.Lock()
	u.in = append(u.in, string(m.Data))
	u.out = append(u.out, m)
	u.mu.Unlock()
	u.session.Wake()
}

func (u *user) send(texts ...string) {
	u.mu.Lock()
	for _, s := range texts {
		u.out = append(u.out, engineio.Message{Data: []byte(s)})
	}
	u.mu.Unlock()
	u.session.Wake()
}

func (u *user) Send(_ context.Context, b *engineio.Batch) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.out) > 0 && !b.Full() {
		b.Add(u.out[0].Binary, u.out[0].Data)
		u.out = u.out[1:]
	}
	return nil
}

func (u *user) Closed(cause error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed++
	u.cause = cause
}

// waiting is how many messages were not asked for yet.
func (u *user) waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.out)
}

// ended checks how the session ended.
func (u *user) ended(t *testing.T) error {
	t.Helper()
	synctest.Wait()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed != 1 {
		t.Fatalf("Closed was called %d times", u.closed)
	}
	return u.cause
}

func (u *user) alive(t *testing.T) {
	t.Helper()
	synctest.Wait()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed != 0 {
		t.Fatalf("the session has ended: %v", u.cause)
	}
}

// answer is a response read whole.
type answer struct {
	status int
	kind   string
	header http.Header
	body   string
}

func (h *house) do(ctx context.Context, method, query, contentType string, body io.Reader) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://server/engine.io/?"+query, body)
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header, string(b)}, err
}

func (h *house) get(query string) answer {
	h.t.Helper()
	a, err := h.do(h.t.Context(), "GET", query, "", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *house) post(query, body string) answer {
	h.t.Helper()
	a, err := h.do(h.t.Context(), "POST", query, "text/plain;charset=UTF-8", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (a answer) is(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Fatalf("%d %q, want %d %q", a.status, a.body, status, body)
	}
}

// later makes a poll in the background.
func (h *house) later(query string) <-chan answer {
	ch := make(chan answer, 1)
	go func() {
		a, err := h.do(h.t.Context(), "GET", query, "", nil)
		if err != nil {
			a.body = err.Error()
		}
		ch <- a
	}()
	synctest.Wait()
	return ch
}

// open is what a handshake says.
type open struct {
	SID          string
	Upgrades     []string
	PingInterval int
	PingTimeout  int
	MaxPayload   int
}

// session opens one by polling; query has EIO and what belongs to it.
func (h *house) session(eio string) (query string) {
	h.t.Helper()
	query = "transport=polling&" + eio
	a := h.get(query)
	_, text, _ := strings.Cut(a.body, "{")
	var o open
	if err := json.Unmarshal([]byte("{"+text), &o); err != nil || a.status != 200 || o.SID == "" {
		h.t.Fatalf("handshake: %d %q: %v", a.status, a.body, err)
	}
	return query + "&sid=" + o.SID
}

// wire is a WebSocket that shows its frames.
type wire struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func (h *house) dial(query string) *wire {
	h.t.Helper()
	w, err := h.tryDial(query)
	if err != nil {
		h.t.Fatal(err)
	}
	return w
}

func (h *house) tryDial(query string) (*wire, error) {
	dialer := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) {
		return h.env.Dial(transporttest.Options{})
	}}
	nc, r, _, err := dialer.Dial(h.t.Context(), "ws://server/engine.io/?"+strings.Replace(query, "transport=polling", "transport=websocket", 1))
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = bufio.NewReader(nc)
	}
	h.t.Cleanup(func() { _ = nc.Close() })
	return &wire{h.t, nc, r}, nil
}

func (w *wire) send(texts ...string) {
	w.t.Helper()
	for _, s := range texts {
		w.frame(ws.NewTextFrame([]byte(s)))
	}
}

// frame writes a frame at once: the server may be through with it, and gone,
// as soon as it has the last byte.
func (w *wire) frame(f ws.Frame) {
	w.t.Helper()
	if _, err := w.nc.Write(ws.MustCompileFrame(ws.MaskFrame(f))); err != nil {
		w.t.Fatal(err)
	}
}

// read gives the next frame.
func (w *wire) read() (ws.OpCode, string) {
	w.t.Helper()
	f, err := readFrame(w.r)
	if err != nil {
		w.t.Fatalf("read a frame: %v", err)
	}
	return f.Header.OpCode, string(f.Payload)
}

func (w *wire) wants(op ws.OpCode, payload string) {
	w.t.Helper()
	if gotOp, got := w.read(); gotOp != op || got != payload {
		w.t.Fatalf("a frame %x %q, want %x %q", gotOp, got, op, payload)
	}
}

func (w *wire) text(payloads ...string) {
	w.t.Helper()
	for _, p := range payloads {
		w.wants(ws.OpText, p)
	}
}

// closes reads a close frame with a code (0: none), and answers it.
func (w *wire) closes(code ws.StatusCode) {
	w.t.Helper()
	op, payload := w.read()
	got := ws.StatusCode(0)
	if len(payload) >= 2 {
		got = ws.StatusCode(uint16(payload[0])<<8 | uint16(payload[1]))
	}
	if op != ws.OpClose || got != code {
		w.t.Fatalf("a frame %x %q, want a close frame with code %d", op, payload, code)
	}
	_ = ws.WriteFrame(w.nc, ws.MaskFrame(ws.NewCloseFrame(nil)))
	_ = w.nc.Close()
}

// readFrame reads a WebSocket frame of at most a MiB.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > 1<<20 {
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
