package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The dialects that there are, and those that can be opened.
var (
	dialects   = []string{"qri", "pushcart", "realizehit", "wspubsub"}
	canBeOpen  = []string{"qri", "realizehit"}
	minTimeout = 100 * time.Millisecond
)

// Dialect reports whether a dialect is served.
func (s *Serve) Dialect(name string) bool { return slices.Contains(s.Dialects, name) }

// OpenDialect reports whether a dialect asks for no credential.
func (s *Serve) OpenDialect(name string) bool { return slices.Contains(s.OpenDialects, name) }

func (s *Serve) validateDialects() error {
	var err error
	if s.Dialects, err = names("--dialects", s.Dialects, dialects); err != nil {
		return err
	}
	if s.OpenDialects, err = names("--open-dialects", s.OpenDialects, canBeOpen); err != nil {
		return err
	}
	if !s.Dialect("qri") {
		s.QRIListen = ""
	}
	switch {
	case s.APIKeysKeep < 0:
		return fmt.Errorf("--apikeys-keep %v is below 0", s.APIKeysKeep)
	case s.WSPubSubGrace < 0:
		return fmt.Errorf("--wspubsub-grace %v is below 0", s.WSPubSubGrace)
	}
	return errors.Join(s.validateQRI(), s.validateRealizehit())
}

func (s *Serve) validateRealizehit() error {
	if s.Redis != "" {
		u, err := url.Parse(s.Redis)
		if err != nil || u.Host == "" && u.Scheme != "unix" || !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) {
			return errors.New("--redis is no address such as redis://127.0.0.1:6379 (also rediss:// for TLS, unix:// for a socket)")
		}
	}
	if p := s.RealizehitPrefix; p != "" && (!strings.HasPrefix(p, "/") || strings.HasPrefix(p, "/t/") || strings.HasPrefix(p, "/ws") || strings.ContainsAny(p, "?#%")) {
		return fmt.Errorf("--realizehit-prefix %q is no path such as /api; it may not be below /t/ or /ws", p)
	}
	return nil
}

// names checks a list, from which "none" and what is empty is left out.
func names(flag string, list, known []string) ([]string, error) {
	var named []string
	for _, name := range list {
		switch {
		case name == "" || name == "none":
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("%s: %q is none of %s", flag, name, strings.Join(known, ", "))
		default:
			named = append(named, name)
		}
	}
	return named, nil
}

func (s *Serve) validateQRI() error {
	switch {
	case s.QRIMaxConnections < 1:
		return fmt.Errorf("--qri-max-connections %d is below the least, 1", s.QRIMaxConnections)
	case s.QRIFrameTimeout < minTimeout:
		return fmt.Errorf("--qri-frame-timeout %v is below the least, %v", s.QRIFrameTimeout, minTimeout)
	case (s.QRITLSCert == "") != (s.QRITLSKey == ""):
		return errors.New("--qri-tls-cert and --qri-tls-key go together")
	case s.QRIClientCA != "" && s.QRITLSCert == "":
		return errors.New("--qri-client-ca needs --qri-tls-cert and --qri-tls-key")
	case s.QRIListen == "":
		return nil
	}
	if err := checkAddress("--qri-listen", s.QRIListen); err != nil {
		return err
	}
	if !Loopback(s.QRIListen) && s.QRIClientCA == "" && !s.QRIPlaintext {
		return fmt.Errorf("--qri-listen: others can reach %s, and whoever reaches it may publish: ask for client certificates (--qri-tls-cert, --qri-tls-key, --qri-client-ca), or say --qri-plaintext if the network keeps others out", s.QRIListen)
	}
	return nil
}
