package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/engine/memory"
	"crier/internal/engine/mongodb"
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
	if url := s.cfg.MongoDBURL(); url != "" {
		if err := s.openMongoDB(ctx, url); err != nil {
			return token, err
		}
		return s.operatorToken(token)
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
	switch {
	case errors.Is(err, engine.ErrCorrupt):
		return token, fmt.Errorf("%w; restore a backup, or choose another data directory (--data-dir)", err)
	case err != nil:
		return token, err // it names the directory
	}
	s.engine = e
	return s.operatorToken(token)
}

// openMongoDB opens the engine in a MongoDB. The default durability is what
// it can claim.
func (s *Server) openMongoDB(ctx context.Context, url string) error {
	e, err := mongodb.Open(ctx, mongodb.Config{URL: url, Durability: engine.Durability(s.cfg.MongoDBDurability), Logger: s.log})
	if err != nil {
		return fmt.Errorf("open the engine in MongoDB: %w", err)
	}
	s.engine = e
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil { // for the operator's token
		return fmt.Errorf("make the data directory: %w", err)
	}
	if most := e.Strongest(); s.cfg.Durability == string(engine.Fsync) && most != engine.Fsync {
		s.log.Warn("domains have the durability that can be claimed of this MongoDB", "durability", most)
		s.cfg.Durability = string(most)
	}
	return nil
}

// operatorToken gives the token that was set, or that of the data directory,
// which is made if there is none.
func (s *Server) operatorToken(token access.OperatorToken) (access.OperatorToken, error) {
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
