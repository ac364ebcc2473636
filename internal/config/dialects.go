package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Serves reports whether a dialect is served.
func (s *Serve) Serves(dialect string) bool { return slices.Contains(s.Dialects, dialect) }

// LetsAllIn reports whether everybody may use a dialect.
func (s *Serve) LetsAllIn(dialect string) bool { return slices.Contains(s.OpenDialects, dialect) }

// validateDialects checks what is about the systems before Crier.
func (s *Serve) validateDialects() error {
	if s.Redis != "" {
		u, err := url.Parse(s.Redis)
		if err != nil || u.Host == "" && u.Scheme != "unix" || !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) {
			return fmt.Errorf("--redis is no address such as redis://127.0.0.1:6379 (also rediss:// for TLS, unix:// for a socket)")
		}
	}
	if p := s.RealizehitPrefix; p != "" && (!strings.HasPrefix(p, "/") || strings.HasPrefix(p, "/t/") || strings.HasPrefix(p, "/ws") || strings.ContainsAny(p, "?#%")) {
		return fmt.Errorf("--realizehit-prefix %q is no path such as /api; it may not be below /t/ or /ws", p)
	}
	return nil
}
