package server

import (
	"context"
	"fmt"
	"net/http"

	"crier/internal/access"
	"crier/internal/admin"
	"crier/internal/dialect/realizehit"
	"crier/internal/hub"
)

// nameRealizehit is the dialect's name in settings.
const nameRealizehit = "realizehit"

// withRealizehit has the dialect serve its paths, if it is to.
func (s *Server) withRealizehit(next http.Handler, rate *access.Limiter) http.Handler {
	if !s.cfg.Dialect(nameRealizehit) {
		return next
	}
	s.realizehit = realizehit.New(realizehit.Config{
		Hub: s.hub, Access: s.access, Table: s.table, Redis: s.redis, Rate: rate, Logger: s.log,
		AnyMayUse: s.cfg.OpenDialect(nameRealizehit), Prefix: s.cfg.RealizehitPrefix,
		MaxMessage: int(s.cfg.MaxMessage), MaxPatterns: s.cfg.MaxPatterns,
	})
	return s.realizehit.Handler(next)
}

// openRedis begins to connect to Redis, if there is one.
func (s *Server) openRedis(ctx context.Context) error {
	if s.cfg.Redis == "" || !s.cfg.Dialect(nameRealizehit) {
		return nil
	}
	domain, err := s.hub.Domain(hub.Main)
	if err != nil {
		return err
	}
	s.redis, err = realizehit.OpenRedis(ctx, realizehit.RedisConfig{
		URL: s.cfg.Redis, Domain: domain, Registry: s.engine.Registry(), Logger: s.log,
		Metrics: realizehit.NewRedisMetrics(s.metrics), MaxMessage: int(s.cfg.MaxMessage),
	})
	if err != nil {
		return fmt.Errorf("--redis: %w", err)
	}
	return nil
}

// stateNow is the server's state: it listens once Redis, if there is one, was
// reached.
func (s *Server) stateNow() admin.State {
	now := s.state.get()
	if now == admin.Listening && (s.redis != nil && !s.redis.Connected() || s.pushcart.relay != nil && !s.pushcart.relay.Connected()) {
		return admin.Starting
	}
	return now
}

// checks are what must be well for the server to be ready.
func (s *Server) checks() []admin.Check {
	all := []admin.Check{{Name: "engine", Do: s.hub.Ping}}
	if s.redis != nil || s.pushcart.relay != nil {
		all = append(all, admin.Check{Name: "redis", Do: s.checkRedis})
	}
	if s.pubsub.database != nil {
		all = append(all, admin.Check{Name: "apikeys", Do: s.pubsub.database.Ping})
	}
	return all
}

// checkRedis asks all that have a connection to Redis.
func (s *Server) checkRedis(ctx context.Context) error {
	if s.redis != nil {
		if err := s.redis.Check(ctx); err != nil {
			return err
		}
	}
	if s.pushcart.relay != nil {
		return s.pushcart.relay.Check(ctx)
	}
	return nil
}
