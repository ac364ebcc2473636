package server

import (
	"fmt"
	"strings"
	"sync/atomic"

	"crier/internal/admin"
)

// state is what the operator's listener says of the server's life.
type state struct{ v atomic.Value }

func (s *state) set(v admin.State) { s.v.Store(v) }
func (s *state) get() admin.State  { return s.v.Load().(admin.State) }

// announce logs the lines that matter at the start: where it listens, where
// data is, how open it is, and while open what to try.
func (s *Server) announce() {
	scheme := "http"
	if s.cfg.TLSCert != "" {
		scheme = "https"
	}
	urls := make([]string, len(s.listeners))
	for i, l := range s.listeners {
		urls[i] = scheme + "://" + l.Addr().String()
	}
	s.log.Info("crier listens", "api", strings.Join(urls, " "), "admin", "http://"+s.admin.Addr().String(), "version", s.version)
	if s.qri.listener != nil {
		s.log.Info("qri backends publish", "address", s.qri.listener.Addr().String(), "tls", s.cfg.QRITLSCert != "")
	}
	if s.cfg.Engine == "memory" {
		s.log.Info("data lives in memory and ends with the process")
	} else {
		s.log.Info("data", "dir", s.cfg.DataDir, "durability", s.cfg.Durability, "domains", len(s.hub.Domains()))
	}
	if !s.access.Open() {
		s.log.Info("closed: everything needs a key or a JWT")
		return
	}
	s.log.Warn("OPEN: everybody on this machine may publish and subscribe; 'crier key create' closes it")
	s.log.Info("try: " + fmt.Sprintf("curl -N -H 'Accept: text/event-stream' %s/t/main/hello", urls[0]))
	s.log.Info("and: " + fmt.Sprintf("curl -d 'hello, world' %s/t/main/hello", urls[0]))
}
