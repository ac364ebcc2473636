package qri

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"crier/internal/dialect/qri/ber"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// ingestName is what listings and metrics call a backend's connection.
const ingestName = "qri"

// IngestConfig is what an Ingest needs. Domain and Table are required.
type IngestConfig struct {
	Domain       *hub.Domain
	Table        *transport.Table
	TLS          *tls.Config   // nil: plain TCP
	MaxMessage   int           // bytes of one message; 0: 1 MiB
	MaxConns     int           // at once; 0: 1024
	FrameTimeout time.Duration // for a frame, once begun, to come; 0: 30 s
	Metrics      *IngestMetrics
	Logger       *slog.Logger // nil: none
}

// Ingest is the TCP side of QRI: backends keep a connection open and write one
// BER message after the other, and are told nothing.
//
// What is read is published in order, in blocks of what came while the block
// before was being stored. When the log cannot take more, connections are not
// read from: a message that the kernel took is not thrown away while the server
// lives.
type Ingest struct {
	cfg     IngestConfig
	limits  ber.Limits
	life    context.Context // of publishing; ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	conns int
	done  bool
}

// handshakeTimeout bounds a TLS handshake.
const handshakeTimeout = 10 * time.Second

// maxName bounds a peer and a checksum.
const maxName = 4 << 10

// NewIngest makes an Ingest, which Serve then runs.
func NewIngest(cfg IngestConfig) *Ingest {
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 1 << 20
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 1024
	}
	if cfg.FrameTimeout == 0 {
		cfg.FrameTimeout = 30 * time.Second
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewIngestMetrics(nil)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	in := &Ingest{cfg: cfg, limits: ber.Limits{
		Name: maxName, Data: cfg.MaxMessage,
		Frame: 2*cfg.MaxMessage + 4*maxName, // there are forms that need more octets than others
	}}
	in.life, in.stop = context.WithCancel(context.Background())
	return in
}

// Serve takes connections until l is closed; then it returns nil. Connections
// go on until the table of connections ends them.
func (in *Ingest) Serve(l net.Listener) error {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Too many files are open, most likely. It gets better or it does not.
			in.cfg.Logger.Warn("qri: a connection was not accepted", "error", err)
			if !pause(in.life, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		if !in.enter() {
			in.cfg.Table.Metrics().Refused.WithLabelValues("qri").Inc()
			in.cfg.Logger.Warn("qri: connection refused, there are too many", "client", nc.RemoteAddr(), "limit", in.cfg.MaxConns)
			_ = nc.Close()
			continue
		}
		go func() {
			defer in.leave()
			in.serve(nc)
		}()
	}
}

// enter counts a connection, if there is room for it.
func (in *Ingest) enter() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done || in.conns >= in.cfg.MaxConns {
		return false
	}
	in.conns++
	in.running.Add(1)
	return true
}

func (in *Ingest) leave() {
	in.mu.Lock()
	in.conns--
	in.mu.Unlock()
	in.running.Done()
}

// Close waits until what was read is published, or ctx ends; then it gives up
// what is left. The listener and the connections have been ended before.
func (in *Ingest) Close(ctx context.Context) {
	in.mu.Lock()
	in.done = true
	in.mu.Unlock()
	over := context.AfterFunc(ctx, in.stop)
	in.running.Wait()
	over()
	in.stop()
}

// serve runs one connection to its end.
func (in *Ingest) serve(nc net.Conn) {
	defer nc.Close()
	remote := remoteAddr(nc)
	conn, err := in.cfg.Table.Open(in.life, transport.Info{Transport: ingestName, Remote: remote, Domain: in.cfg.Domain.Name(), Name: "qri backend"})
	if err != nil {
		return // the table has counted it
	}
	defer conn.Close()
	c := &feeder{in: in, nc: nc, conn: conn, remote: remote, decoder: ber.NewDecoder(in.limits), backlog: newBacklog()}
	cause := c.run()
	label := transport.EndLabel(cause)
	if fault, ok := errors.AsType[*faultError](cause); ok {
		label = fault.label
		in.cfg.Metrics.Refused.WithLabelValues(label).Inc()
		in.cfg.Logger.Warn("qri: connection closed", "client", remote, "reason", fault.Error(), "messages", conn.Received.Load())
	}
	in.cfg.Table.Metrics().Ended.WithLabelValues(ingestName, label).Inc()
}

// faultError is the end of a connection for what came over it, or did not.
type faultError struct {
	label string // of metrics
	err   error
}

func (f *faultError) Error() string { return f.err.Error() }
func (f *faultError) Unwrap() error { return f.err }

func remoteAddr(nc net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// draft makes of what a backend sent what is to be published.
func draft(m ber.Message) message.Draft {
	d := message.Draft{Topic: Topic(string(m.Peer), string(m.Checksum)), Data: m.Data, ContentType: message.DefaultContentType}
	if d.Data == nil {
		d.Data = []byte{}
	}
	if !validText(d.Data) {
		d.Binary, d.ContentType = true, "application/octet-stream"
	}
	return d
}

// handshake makes a TLS connection of a plain one, if that is asked for.
func (in *Ingest) handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if in.cfg.TLS == nil {
		return nc, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	secure := tls.Server(nc, in.cfg.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, &faultError{"tls", fmt.Errorf("TLS handshake: %w", err)}
	}
	return secure, nil
}
