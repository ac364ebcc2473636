package server

import (
	"context"
	"fmt"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/engine/memory"
)

// openEngine opens what holds messages and registry, and reads the operator's
// token, which needs the data directory's lock.
func (s *Server) openEngine(ctx context.Context) (access.OperatorToken, error) {
	var token access.OperatorToken
	var err error
	if s.cfg.AdminToken != "" {
		if token, err = access.NewOperatorToken(s.cfg.AdminToken); err != nil {
			return token, fmt.Errorf("--admin-token: %w", err)
		}
	}
	if s.cfg.Engine == "memory" {
		if engine.Durability(s.cfg.Durability) != engine.Memory {
			s.log.Info("engine memory: all domains have durability memory")
			s.cfg.Durability = string(engine.Memory)
		}
		s.engine = memory.New(memory.Config{})
		if s.cfg.AdminToken == "" {
			return token, fmt.Errorf("engine memory keeps no files: give the operator's token with --admin-token")
		}
		return token, nil
	}
	e, err := embedded.Open(ctx, embedded.Config{Dir: s.cfg.DataDir, Logger: s.log})
	if err != nil {
		return token, fmt.Errorf("open data directory %s: %w", s.cfg.DataDir, err)
	}
	s.engine = e
	if s.cfg.AdminToken != "" {
		return token, nil
	}
	token, path, made, err := access.LoadOperatorToken(s.cfg.DataDir)
	if err != nil {
		return token, fmt.Errorf("operator's token: %w", err)
	}
	if made {
		s.log.Info("operator's token made", "file", path)
	}
	return token, nil
}
