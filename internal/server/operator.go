package server

import (
	"fmt"
	"net/http"

	"crier/internal/access"
	"crier/internal/admin"
)

// operatorHandler is what the operator's listener serves.
func (s *Server) operatorHandler(token access.OperatorToken) (http.Handler, error) {
	a, err := admin.New(admin.Config{
		Notices: s.qri.notices, PubSub: s.pubsub.registry,
		Hub: s.hub, Access: s.access, Operator: token, Table: s.table, State: s.stateNow, Checks: s.checks(),
		Apps: s.pushcart.apps, Clients: s.pushcart.clients,
		Gatherer: s.metrics, Registerer: s.metrics, Metrics: admin.NewMetrics(s.metrics), Logger: s.log, Version: s.version,
	})
	if err != nil {
		return nil, fmt.Errorf("operator's listener: %w", err)
	}
	s.manage = a
	return a, nil
}
