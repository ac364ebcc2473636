package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MongoDBURL is the address of the MongoDB that is the engine, or nothing.
func (s *Serve) MongoDBURL() string {
	if s.MongoDB != "" {
		return s.MongoDB
	}
	if isMongoDB(s.Engine) {
		return s.Engine
	}
	return ""
}

func isMongoDB(url string) bool {
	return strings.HasPrefix(url, "mongodb://") || strings.HasPrefix(url, "mongodb+srv://")
}

// validateEngine checks what names the engine. Addresses are not repeated in
// what it says: there may be a password in them.
func (s *Serve) validateEngine() error {
	known := s.Engine == "embedded" || s.Engine == "memory" || isMongoDB(s.Engine)
	switch {
	case !known && strings.Contains(s.Engine, "://"):
		return errors.New("--engine is an address of no kind that is known: embedded, memory, or one that begins with mongodb://")
	case !known:
		return fmt.Errorf("--engine %q is not known: it is embedded, memory, or an address that begins with mongodb://", s.Engine)
	case s.MongoDB != "" && !isMongoDB(s.MongoDB):
		return errors.New("--mongodb is no address such as mongodb://127.0.0.1:27017/crier")
	case s.MongoDB != "" && s.Engine == "memory":
		return errors.New("--engine memory and --mongodb are two engines: give one")
	case s.MongoDB != "" && isMongoDB(s.Engine) && s.Engine != s.MongoDB:
		return errors.New("--engine and --mongodb name two databases: give one")
	case !slices.Contains([]string{"", "fsync", "async", "memory"}, s.MongoDBDurability):
		return fmt.Errorf("--mongodb-durability %q is not fsync, async or memory", s.MongoDBDurability)
	case s.DataDir == "" && s.MongoDBURL() == "" && s.Engine == "embedded":
		return errors.New("--data-dir is empty: name a directory such as ./crier-data")
	case s.MongoDBDurability != "" && s.MongoDBURL() == "":
		return errors.New("--mongodb-durability says something of a MongoDB, and --mongodb names none")
	}
	return nil
}
