package server

import (
	"net/http"

	"crier/internal/access"
	"crier/internal/dialect/realizehit"
)

// nameRealizehit is the dialect's name in settings.
const nameRealizehit = "realizehit"

// withRealizehit has the dialect serve its paths, if it is to.
func (s *Server) withRealizehit(next http.Handler, rate *access.Limiter) http.Handler {
	if !s.cfg.Serves(nameRealizehit) {
		return next
	}
	s.realizehit = realizehit.New(realizehit.Config{
		Hub: s.hub, Access: s.access, Table: s.table, Redis: s.redis, Rate: rate, Logger: s.log,
		AnyMayUse: s.cfg.LetsAllIn(nameRealizehit), Prefix: s.cfg.RealizehitPrefix,
		MaxMessage: int(s.cfg.MaxMessage), MaxPatterns: s.cfg.MaxPatterns,
	})
	return s.realizehit.Handler(next)
}
