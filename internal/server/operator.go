package server

import (
	"fmt"
	"net/http"

	"crier/internal/access"
	"crier/internal/admin"
)

// operatorHandler is what the operator's listener serves.
func (s *Server) operatorHandler(token access.OperatorToken) (http.Handler, error) {
	checks := []admin.Check{{Name: "engine", Do: s.hub.Ping}}
	if s.pubsub.database != nil {
		checks = append(checks, admin.Check{Name: "apikeys", Do: s.pubsub.database.Ping})
	}
	a, err := admin.New(admin.Config{
		Checks: checks, Notices: s.qri.notices, PubSub: s.pubsub.registry,
		Hub: s.hub, Access: s.access, Operator: token, Table: s.table, State: s.state.get,
		Gatherer: s.metrics, Registerer: s.metrics, Metrics: admin.NewMetrics(s.metrics), Logger: s.log, Version: s.version,
	})
	if err != nil {
		return nil, fmt.Errorf("operator's listener: %w", err)
	}
	s.manage = a
	return a, nil
}
