package server

import (
	"context"
	"fmt"
	"time"

	"crier/internal/dialect"
	"crier/internal/dialect/wspubsub"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/dialect/wspubsub/pgkeys"
)

// pubsubParts are what of wspubsub has a life of its own.
type pubsubParts struct {
	registry *keys.Registry // nil: keys are in the database
	topics   *wspubsub.Topics
	checker  *keys.Checker
	database *pgkeys.Keys
}

// thisNode names this process in the registry: both engines that there are
// belong to one process at a time.
const thisNode = "local"

func (s *Server) openPubSub(ctx context.Context, metrics *dialect.Metrics) (*wspubsub.Handler, error) {
	source, err := s.pubsubKeys(ctx)
	if err != nil {
		return nil, err
	}
	s.pubsub.topics, err = wspubsub.OpenTopics(ctx, wspubsub.TopicsConfig{
		Registry: s.engine.Registry(), Node: thisNode, Grace: s.cfg.WSPubSubGrace,
		Metrics: wspubsub.NewTopicMetrics(s.metrics), Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	return wspubsub.New(wspubsub.Config{
		Hub: s.hub, Access: s.access, Table: s.table, Sockets: s.sockets, Keys: source, Topics: s.pubsub.topics,
		MaxMessage: int(s.cfg.MaxMessage), Metrics: metrics, Logger: s.log,
	}), nil
}

// pubsubKeys finds who knows the keys: PostgreSQL, or the registry.
func (s *Server) pubsubKeys(ctx context.Context) (keys.Source, error) {
	if s.pubsub.registry != nil {
		s.pubsub.checker = keys.NewChecker(ctx, s.pubsub.registry)
		return s.pubsub.checker, nil
	}
	var err error
	s.pubsub.database, err = pgkeys.Open(ctx, pgkeys.Config{
		URL: s.cfg.APIKeys, Keep: s.cfg.APIKeysKeep, Metrics: pgkeys.NewMetrics(s.metrics), Logger: s.log,
	})
	if err != nil {
		return nil, fmt.Errorf("--apikeys: %w", err)
	}
	return s.pubsub.database, nil
}

// close ends what is left.
func (p *pubsubParts) close() {
	if p.topics != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		p.topics.Close(ctx)
		cancel()
	}
	if p.checker != nil {
		p.checker.Close()
	}
	if p.database != nil {
		p.database.Close()
	}
}
