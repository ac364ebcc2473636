// Command engineio-echo serves Engine.IO, protocol 3 and 4, and sends every
// message back to who sent it. It shows how package engineio is used, and is
// what test suites of the protocol expect to run against:
//
//	engineio-echo --listen localhost:3000 --ping-interval 300ms --ping-timeout 200ms
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"crier/internal/transport"
	"crier/internal/transport/engineio"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "engineio-echo:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "localhost:3000", "address to listen on")
	path := flag.String("path", "/engine.io/", "path of the requests")
	interval := flag.Duration("ping-interval", 25*time.Second, "time between heartbeats")
	timeout := flag.Duration("ping-timeout", 20*time.Second, "time for the answer to a heartbeat")
	most := flag.Int("max-payload", 1_000_000, "bytes of a POST, and of a WebSocket message")
	flag.Parse()
	if *interval <= 0 || *timeout <= 0 || *most <= 0 {
		return errors.New("--ping-interval, --ping-timeout and --max-payload must be above 0")
	}

	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	table := transport.NewTable(0, nil, nil)
	sessions := engineio.New(engineio.Config{
		Table: table, Logger: log,
		PingInterval: *interval, PingTimeout: *timeout, MaxPayload: *most,
		Accept: func(r *http.Request) (engineio.Admission, error) {
			remote, _ := netip.ParseAddrPort(r.RemoteAddr)
			return engineio.Admission{Info: transport.Info{Remote: remote.Addr()}, User: newEcho}, nil
		},
		CORS: func(h http.Header, _ *http.Request) bool {
			h.Set("Access-Control-Allow-Origin", "*")
			return true
		},
	})
	defer sessions.Close()

	mux := http.NewServeMux()
	mux.Handle(*path, sessions)
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Info("engineio-echo listens", "address", *listen, "path", *path)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := table.Drain(last, time.Second); err != nil {
		log.Warn("not everybody left in time", "error", err)
	}
	return server.Shutdown(last)
}

// maxWaiting bounds the bytes that wait to be sent back. Beyond it a session
// takes no more.
const maxWaiting = 256 << 10

// echo is the user of one session.
type echo struct {
	session *engineio.Session

	mu      sync.Mutex // guards the fields below
	waiting []engineio.Message
	bytes   int
	room    chan struct{} // capacity 1
}

func newEcho(s *engineio.Session) engineio.User {
	return &echo{session: s, room: make(chan struct{}, 1)}
}

// Receive implements [engineio.User]. It waits while there is no room.
func (e *echo) Receive(ctx context.Context, m engineio.Message) {
	for !e.put(m) {
		select {
		case <-e.room:
		case <-ctx.Done():
			return
		}
	}
	e.session.Wake()
}

func (e *echo) put(m engineio.Message) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) > 0 && e.bytes+len(m.Data) > maxWaiting {
		return false
	}
	e.waiting = append(e.waiting, m)
	e.bytes += len(m.Data)
	return true
}

// Send implements [engineio.User].
func (e *echo) Send(_ context.Context, b *engineio.Batch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for n < len(e.waiting) && !b.Full() {
		b.Add(e.waiting[n].Binary, e.waiting[n].Data)
		e.bytes -= len(e.waiting[n].Data)
		n++
	}
	e.waiting = append(e.waiting[:0:0], e.waiting[n:]...)
	select {
	case e.room <- struct{}{}:
	default:
	}
	return nil
}

// Closed implements [engineio.User].
func (e *echo) Closed(error) {}
