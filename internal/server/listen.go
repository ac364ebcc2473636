package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"crier/internal/admin"
)

// listen opens the sockets, so that a port that is taken is told before
// anything is served.
func (s *Server) listen() error {
	for _, addr := range s.cfg.Listen {
		l, err := listenTCP(context.Background(), addr, s.fastListen())
		if err != nil {
			return fmt.Errorf("listen for the public API (--listen): %w", err)
		}
		s.listeners = append(s.listeners, l)
	}
	l, err := net.Listen("tcp", s.cfg.AdminListen)
	if err != nil {
		return fmt.Errorf("listen for the operator (--admin-listen): %w", err)
	}
	s.admin = l
	if err := s.qri.listen(s.cfg); err != nil {
		return err
	}
	if s.cfg.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(s.cfg.TLSCert, s.cfg.TLSKey); err != nil {
			return fmt.Errorf("certificate (--tls-cert, --tls-key): %w", err)
		}
	}
	return nil
}

// serve begins to serve every listener; the first that fails is told.
func (s *Server) serve(failed chan<- error) {
	run := func(what string, serve func() error) {
		s.serving.Go(func() {
			if err := serve(); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", what, err)
			}
		})
	}
	for _, l := range s.listeners {
		guarded := s.door.guard(l)
		run("public listener "+l.Addr().String(), func() error {
			if s.cfg.TLSCert != "" {
				return s.public.ServeTLS(guarded, s.cfg.TLSCert, s.cfg.TLSKey)
			}
			return s.public.Serve(guarded)
		})
	}
	run("connections given back", func() error { return s.public.Serve(s.returned) })
	if s.qri.listener != nil {
		run("QRI's listener "+s.qri.listener.Addr().String(), func() error {
			if err := s.qri.ingest.Serve(s.qri.listener); err != nil {
				return err
			}
			return http.ErrServerClosed
		})
	}
	run("operator's listener "+s.admin.Addr().String(), func() error { return s.operator.Serve(s.admin) })
}

// drain says goodbye to everybody: not ready any more, no new connections,
// those that are open ended over --drain, requests under way finished.
func (s *Server) drain() {
	s.state.set(admin.Draining)
	s.log.Info("stopping", "connections", s.table.Len(), "drain", s.cfg.Drain)
	grace := s.cfg.Drain + 5*time.Second
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, l := range s.listeners {
		_ = l.Close() // Shutdown closes it again
	}
	if s.qri.listener != nil {
		_ = s.qri.listener.Close()
	}
	if s.pubsub.topics != nil {
		s.pubsub.topics.Freeze()
	}
	if err := s.table.Drain(ctx, s.cfg.Drain); err != nil {
		s.log.Warn("not everybody left in time", "error", err)
	}
	if s.qri.ingest != nil {
		s.qri.ingest.Close(ctx)
	}
	if err := s.api.Drain(ctx); err != nil {
		s.log.Warn("not every publish was answered in time", "error", err)
	}
	if s.early != nil {
		s.early.Close(ctx) // what waits there is asked to come back
	}
	if err := s.public.Shutdown(ctx); err != nil {
		_ = s.public.Close() // whoever is left has had the time that there was
	}
	s.state.set(admin.Closed)
	if err := s.operator.Shutdown(ctx); err != nil {
		_ = s.operator.Close()
	}
}
