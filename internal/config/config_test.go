package config_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"crier/internal/config"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0": 0, "1048576": 1 << 20, "64MiB": 64 << 20, "64 mib": 64 << 20, "1GiB": 1 << 30, "1.5KiB": 1536, "2kb": 2000, "7B": 7, "4TiB": 4 << 40,
	} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q is %d, %v, want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1XB", "NaN", "Inf", "NaN KiB", "5000000TiB", "1 2"} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %d", text, s)
		}
	}
	for s, want := range map[config.Size]string{0: "0", 1536: "1536", 1 << 20: "1MiB", 3 << 30: "3GiB"} {
		if got := s.String(); got != want {
			t.Errorf("%d is written %q, want %q", int64(s), got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "90s": 90 * time.Second, " 5m ": 5 * time.Minute, "65535d": 65535 * 24 * time.Hour,
	} {
		if got, err := config.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1h", "-1d", "1.5d", "12h1d", "65536d", "65535d1000000h"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

// good are settings that pass.
func good() config.Serve {
	return config.Serve{
		Listen: []string{"127.0.0.1:0"}, AdminListen: "127.0.0.1:0",
		RetentionAge: config.Duration(time.Hour), RetentionBytes: 1 << 20, TailBytes: 1 << 20,
		MaxMessage: 1 << 20, MaxWebSocketMessage: 1 << 20, MaxPatterns: 64, MaxHeader: 16 << 10,
		HeadTimeout: time.Second, MaxHandshakes: 1, MaxRequests: 1, Heartbeat: time.Second,
		QRIMaxConnections: 1, QRIFrameTimeout: time.Second, Engine: "embedded", DataDir: "data",
	}
}

func TestValidate(t *testing.T) {
	if s := good(); s.Validate() != nil {
		t.Fatal(s.Validate())
	}
	for _, tt := range []struct {
		change func(*config.Serve)
		says   string // the setting
	}{
		{func(s *config.Serve) { s.Listen = nil }, "--listen"},
		{func(s *config.Serve) { s.Listen = []string{"127.0.0.1"} }, "HOST:PORT"},
		{func(s *config.Serve) { s.AdminListen = "here" }, "HOST:PORT"},
		{func(s *config.Serve) { s.DataDir = "" }, "--data-dir"},
		{func(s *config.Serve) { s.Redis = "127.0.0.1:6379" }, "--redis"},
		{func(s *config.Serve) { s.Redis = "http://127.0.0.1" }, "--redis"},
		{func(s *config.Serve) { s.Redis = "redis://" }, "--redis"},
		{func(s *config.Serve) { s.RealizehitPrefix = "api" }, "--realizehit-prefix"},
		{func(s *config.Serve) { s.RealizehitPrefix = "/t/main" }, "--realizehit-prefix"},
		{func(s *config.Serve) { s.RealizehitPrefix = "/a b?" }, "--realizehit-prefix"},
		{func(s *config.Serve) { s.TLSKey = "key.pem" }, "--tls-cert"},
		{func(s *config.Serve) { s.JWTKey, s.JWKSURL = "a", "https://b" }, "--jwks-url"},
		{func(s *config.Serve) { s.Origins = []string{"example.com"} }, "--origins"},
		{func(s *config.Serve) { s.Origins = []string{"https://example.com/"} }, "--origins"},
		{func(s *config.Serve) { s.TrustedProxies = []string{"10.0.0.0/8", "10.0.0.0/33"} }, "--trusted-proxies"},
		{func(s *config.Serve) { s.RetentionAge = 1 }, "--retention-age"},
		{func(s *config.Serve) { s.RetentionBytes = 1023 }, "--retention-bytes"},
		{func(s *config.Serve) { s.TailBytes = 0 }, "--tail-bytes"},
		{func(s *config.Serve) { s.MaxMessage = 0 }, "--max-message"},
		{func(s *config.Serve) { s.MaxMessage = 31<<20 + 1 }, "--max-message 32505857 is outside 1 to 31MiB"},
		{func(s *config.Serve) { s.MaxMessage, s.MongoDB = 14<<20+1, "mongodb://a" }, "1 to 14MiB"},
		{func(s *config.Serve) { s.MaxWebSocketMessage, s.MongoDB = 7<<20+1, "mongodb://a" }, "--max-websocket-message 7340033 is outside 1 to 7MiB"},
		{func(s *config.Serve) { s.MaxWebSocketMessage = 65 << 20 }, "--max-websocket-message"},
		{func(s *config.Serve) { s.MaxPatterns = 1025 }, "--max-patterns"},
		{func(s *config.Serve) { s.MaxPerAddress = -1 }, "--max-connections-per-address"},
		{func(s *config.Serve) { s.PublishRate = -1 }, "--publish-rate"},
		{func(s *config.Serve) { s.PublishRate = math.NaN() }, "--publish-rate"},
		{func(s *config.Serve) { s.PublishRate = math.Inf(1) }, "--publish-rate"},
		{func(s *config.Serve) { s.MaxHeader = 0 }, "--max-header"},
		{func(s *config.Serve) { s.HeadTimeout = 0 }, "--head-timeout"},
		{func(s *config.Serve) { s.MaxHandshakes = 0 }, "--max-handshakes"},
		{func(s *config.Serve) { s.MaxRequests = 0 }, "--max-requests"},
		{func(s *config.Serve) { s.Heartbeat = 0 }, "--heartbeat"},
		{func(s *config.Serve) { s.Drain = -1 }, "--drain"},
	} {
		s := good()
		tt.change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("error %v, want one that names %s", err, tt.says)
		}
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "localhost": false, "localhost.example.com:1": false,
	} {
		if got := config.Loopback(addr); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}
