package server

import (
	"context"
	"net/http"

	"crier/internal/access"
	"crier/internal/dialect"
	"crier/internal/dialect/qri"
	"crier/internal/dialect/qri/notice"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/hub"
)

// dialectHandler is the part of a dialect on the public listener.
type dialectHandler interface {
	http.Handler
	// Serves reports whether a path, escaped as it came, is the dialect's.
	Serves(path string) bool
}

// paths is the public listener's handler: a path that is a dialect's goes to it,
// all others to Crier's own API.
type paths struct {
	api      http.Handler
	dialects []dialectHandler
}

func (d *paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := access.PathOf(r)
	for _, h := range d.dialects {
		if h.Serves(path) {
			h.ServeHTTP(w, r)
			return
		}
	}
	d.api.ServeHTTP(w, r)
}

// openDialects makes the dialects that are switched on.
func (s *Server) openDialects(ctx context.Context) ([]dialectHandler, error) {
	var all []dialectHandler
	metrics := dialect.NewMetrics(s.metrics)
	main, err := s.hub.Domain(hub.Main)
	if err != nil {
		return nil, err
	}
	s.qri.notices, err = notice.Open(ctx, notice.Config{Registry: s.engine.Registry(), Domain: main, Log: s.log})
	if err != nil {
		return nil, err
	}
	if s.cfg.Dialect("qri") {
		all = append(all, qri.New(qri.Config{
			Hub: s.hub, Access: s.access, Table: s.table, SSE: s.sse, Notices: s.qri.notices,
			Open: s.cfg.OpenDialect("qri"), Metrics: metrics, Logger: s.log,
		}))
	}
	if s.cfg.QRIListen != "" {
		if s.qri.ingest, err = s.qriIngest(main); err != nil {
			return nil, err
		}
	}
	if s.cfg.APIKeys == "" { // keys can be made also while the dialect is off
		s.pubsub.registry = &keys.Registry{Registry: s.engine.Registry(), Log: s.log}
	}
	if s.cfg.Dialect("wspubsub") {
		h, err := s.openPubSub(ctx, metrics)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}
