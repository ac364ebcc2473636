package server

import (
	"context"
	"fmt"
	"net/http"

	"crier/internal/access"
	"crier/internal/dialect/pushcart"
	"crier/internal/dialect/pushcart/account"
	"crier/internal/hub"
)

// namePushcart is the dialect's name in settings.
const namePushcart = "pushcart"

// pushcartParts are what of Pushcart is there before it is served.
type pushcartParts struct {
	apps, clients *account.Accounts // they can be made also while the dialect is off
	messages      *hub.Encoding     // nil: the dialect is off
	relay         *pushcart.Relay   // nil: no Redis
}

// openPushcart finds the accounts and begins to publish to Redis, if there is
// one.
func (s *Server) openPushcart(ctx context.Context) error {
	reg := s.engine.Registry()
	s.pushcart.apps = &account.Accounts{Kind: account.App, Registry: reg, Log: s.log}
	s.pushcart.clients = &account.Accounts{Kind: account.Client, Registry: reg, Log: s.log}
	if !s.cfg.Dialect(namePushcart) {
		return nil
	}
	s.pushcart.messages = pushcart.Messages(s.hub)
	if s.cfg.Redis == "" {
		return nil
	}
	domain, err := s.hub.Domain(hub.Main)
	if err != nil {
		return err
	}
	s.pushcart.relay, err = pushcart.OpenRelay(ctx, pushcart.RelayConfig{
		URL: s.cfg.Redis, Domain: domain, Messages: s.pushcart.messages, Registry: reg,
		Metrics: pushcart.NewRelayMetrics(s.metrics), Logger: s.log,
	})
	if err != nil {
		return fmt.Errorf("--redis: %w", err)
	}
	return nil
}

// withPushcart has the dialect serve its paths, if it is to.
func (s *Server) withPushcart(next http.Handler, rate *access.Limiter) http.Handler {
	if s.pushcart.messages == nil {
		return next
	}
	return pushcart.New(pushcart.Config{
		Hub: s.hub, Access: s.access, Table: s.table, Apps: s.pushcart.apps, Clients: s.pushcart.clients,
		Rate: rate, Logger: s.log, AuthToken: s.cfg.AuthToken, MaxMessage: int(s.cfg.MaxMessage),
	}, s.pushcart.messages).Handler(next)
}

// close ends what is left.
func (p *pushcartParts) close() {
	if p.relay != nil {
		p.relay.Close()
	}
}
