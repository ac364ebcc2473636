// Package early serves event streams and WebSockets whose request was wholly
// there when their connection was accepted, without making net/http a connection
// of it. That is
// how it is when very many come back at once: the listener is behind, and what
// net/http makes for each of them (two goroutines whose stacks grow, buffers, a
// pending read) only to be left again at once is the larger part of their cost.
//
// It is no HTTP server. A connection is looked at with a peek, which takes
// nothing out of it. Only requests of a narrow shape are taken: a GET below a
// prefix with Accept: text/event-stream or an opening handshake (RFC 6455),
// without a body or anything behind it (see [shape] and [plain]). net/http's own
// parser reads it, and the handler is the same.
// All others are net/http's, untouched.
package early

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// waiting is how many connections wait for a worker. One more is net/http's.
const waiting = 8192

// stale is how long a connection waits for one. While the handler cannot answer
// at once, say because the engine is away, those who wait are net/http's: else
// each of them waited for all before it.
const stale = 2 * time.Second

func workers() int { return 2 * runtime.GOMAXPROCS(0) }

// lastWrite is how long an answer that is not a stream may take.
const lastWrite = 5 * time.Second

// Config is what a Server needs; Handler and Return are required.
type Config struct {
	// Handler serves the requests. It takes the connection over (Hijack) or
	// answers at once; it must not stream.
	Handler http.Handler
	Prefix  string         // of the paths that are served; empty: all
	Return  func(net.Conn) // has net/http serve a connection, without waiting
	Now     func() time.Time
	Logger  *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: counted nowhere
}

// Server serves first requests with a few goroutines.
type Server struct {
	cfg    Config
	served prometheus.Counter
	jobs   chan job
	life   context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.RWMutex // held while something is put into jobs
	closed bool
}

// job is a connection, how long its first request is, and since when it waits.
type job struct {
	conn *net.TCPConn
	head int
	came time.Time
}

// New starts the goroutines.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, jobs: make(chan job, waiting), served: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "crier_handshakes_early_total",
		Help: "Event streams and WebSockets whose request was there when they were let in: it was answered without net/http.",
	})}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(s.served)
	}
	s.life, s.stop = context.WithCancel(context.Background())
	for range workers() {
		s.wg.Go(s.work)
	}
	return s
}

// Close serves what waits and ends the goroutines; twice is no harm. When ctx
// ends, so do the contexts of the requests under way.
func (s *Server) Close(ctx context.Context) {
	defer context.AfterFunc(ctx, s.stop)()
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.jobs)
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.stop()
}

// Take takes a connection that was just accepted, if its first request is one
// for here and has come wholly. It does not wait. If it reports false, nothing
// was done and the connection is the caller's.
func (s *Server) Take(c net.Conn) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	var room [maxHead]byte
	n := peek(tcp, room[:])
	if !shape(room[:n], s.cfg.Prefix) {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false
	}
	select {
	case s.jobs <- job{tcp, n, s.cfg.Now()}:
		return true
	default:
		return false
	}
}

// work serves one after the other, on a stack that has grown already.
func (s *Server) work() {
	in := bufio.NewReaderSize(nil, maxHead)
	head := make([]byte, maxHead)
	for j := range s.jobs {
		if s.cfg.Now().Sub(j.came) > stale {
			s.cfg.Return(j.conn)
			continue
		}
		s.serve(j, head, in)
	}
}

func (s *Server) serve(j job, head []byte, in *bufio.Reader) {
	head = head[:peek(j.conn, head[:j.head])]
	in.Reset(bytes.NewReader(head))
	r, err := http.ReadRequest(in)
	if len(head) != j.head || err != nil || !plain(r) {
		s.cfg.Return(j.conn)
		return
	}
	if _, err := io.ReadFull(j.conn, head); err != nil {
		_ = j.conn.Close()
		return
	}
	ctx, cancel := context.WithCancel(context.WithValue(s.life, http.LocalAddrContextKey, j.conn.LocalAddr()))
	defer cancel()
	r.RemoteAddr = j.conn.RemoteAddr().String()
	w := &response{conn: j.conn, header: http.Header{}}
	defer func() {
		// As in net/http: a handler that panics costs its own request.
		if err := recover(); err != nil {
			if err != http.ErrAbortHandler {
				s.cfg.Logger.Error("a handler panicked", "error", err, "stack", string(debug.Stack()))
			}
			if !w.hijacked {
				_ = j.conn.Close()
			}
		}
	}()
	s.cfg.Handler.ServeHTTP(w, r.WithContext(ctx))
	s.served.Inc()
	if !w.hijacked {
		w.finish(s.cfg.Now())
	}
}

// response is the [http.ResponseWriter] of a request. Who does not take the
// connection over has an answer of one piece, after which it is closed.
type response struct {
	conn     *net.TCPConn
	header   http.Header
	status   int
	body     bytes.Buffer
	hijacked bool
}

var errTooLong = errors.New("an answer that is not a stream is too long")

// maxBody bounds an answer that is not a stream.
const maxBody = 1 << 20

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

func (w *response) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(p) > maxBody {
		return 0, errTooLong
	}
	return w.body.Write(p)
}

// Hijack implements [http.Hijacker]. Nothing of the connection is buffered.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.hijacked || w.status != 0 {
		return nil, nil, fmt.Errorf("take over a connection: %w", http.ErrHijacked)
	}
	w.hijacked = true
	return w.conn, bufio.NewReadWriter(bufio.NewReaderSize(w.conn, 16), bufio.NewWriterSize(w.conn, 16)), nil
}

// SetReadDeadline and SetWriteDeadline are for [http.ResponseController]: the
// request was read, and the answer has its own.
func (w *response) SetReadDeadline(time.Time) error  { return nil }
func (w *response) SetWriteDeadline(time.Time) error { return nil }

// finish writes the answer and closes the connection.
func (w *response) finish(now time.Time) {
	defer w.conn.Close()
	w.WriteHeader(http.StatusOK)
	if w.header.Get("Content-Type") == "" && w.body.Len() > 0 {
		w.header.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	if w.status != http.StatusNoContent && w.status != http.StatusNotModified {
		w.header.Set("Content-Length", strconv.Itoa(w.body.Len()))
	}
	w.header.Set("Date", now.UTC().Format(http.TimeFormat))
	w.header.Set("Connection", "close")
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %03d %s\r\n", w.status, http.StatusText(w.status))
	_ = w.header.Write(&out) // to memory
	out.WriteString("\r\n")
	out.Write(w.body.Bytes())
	_ = w.conn.SetWriteDeadline(time.Now().Add(lastWrite))
	_, _ = w.conn.Write(out.Bytes())
}
