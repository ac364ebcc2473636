// Package qri lets the clients of Orderry QRI work unmodified: browsers that
// listen at GET /stream, backends that publish over TCP in BER, and those who
// set notices at /backdoor. docs/migrate-from-qri.md has it as they see it.
//
// It is a map. A peer and its checksum are the topic qri/<peer>/<checksum> of
// the domain main; a stream is the native one of package sse with bytes of its
// own; what comes over TCP is published to the domain like anything else; and
// notices are kept by package notice. So the pair is a capability by itself: a
// listener with another checksum listens to another topic.
package qri

import (
	"log/slog"
	"net/http"

	"crier/internal/access"
	"crier/internal/dialect"
	"crier/internal/dialect/name"
	"crier/internal/dialect/qri/notice"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/sse"
)

// dialectName is what flags and metrics call us.
const dialectName = "qri"

// Root is the first segment of the topics of peers.
const Root = "qri"

// Topic is where messages for a peer with a checksum go.
func Topic(peer, checksum string) string {
	return Root + "/" + name.Segment(peer) + "/" + name.Segment(checksum)
}

// notices is what every listener hears beside its own topic.
var notices, _ = topic.ParsePattern(notice.Topics + "/*") // which is one

// Config is what the HTTP side of QRI needs; all of it but Metrics and Logger
// is required.
type Config struct {
	Hub     *hub.Hub
	Access  *access.Authority
	Table   *transport.Table
	SSE     *sse.Handler
	Notices *notice.Board
	Open    bool             // /backdoor asks nobody for a credential
	Metrics *dialect.Metrics // nil: counted nowhere
	Logger  *slog.Logger     // nil: none
}

// QRI is the handler of /stream and /backdoor. It serves concurrently.
type QRI struct {
	cfg    Config
	door   dialect.Door
	format *format
}

// New makes the handler.
func New(cfg Config) *QRI {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &QRI{
		cfg:    cfg,
		door:   dialect.Door{Dialect: dialectName, Access: cfg.Access, Metrics: cfg.Metrics, Logger: cfg.Logger},
		format: newFormat(cfg.Hub, cfg.Notices),
	}
}

// Serves reports whether a path, escaped as it came, is ours.
func (*QRI) Serves(path string) bool { return path == pathStream || path == pathBackdoor }

// The paths.
const (
	pathStream   = "/stream"
	pathBackdoor = "/backdoor"
)

// ServeHTTP serves the paths that [QRI.Serves] says.
func (q *QRI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch access.PathOf(r) {
	case pathStream:
		q.stream(w, r)
	case pathBackdoor:
		q.backdoor(w, r)
	default:
		q.door.Refuse(w, r, problem.NotFound("nothing is at this path"))
	}
}
