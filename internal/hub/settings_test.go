package hub_test

import (
	"errors"
	"fmt"
	"testing"

	"crier/internal/engine"
	"crier/internal/hub"
)

// Changes set off reloads, and a reload that read the registry before a later
// change must not bring back what it read.
func TestReloadsDoNotUndoChanges(t *testing.T) {
	h, d := open(t, hub.Config{})
	for i := range int64(300) {
		want := 1024 + i
		if err := h.ConfigureDomain(t.Context(), hub.Main, func(s *hub.Settings) error {
			s.RetentionBytes = want
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("domain-%d", i)
		if _, err := h.CreateDomain(t.Context(), name, hub.Settings{}); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if got := d.Settings().RetentionBytes; got != want {
				t.Fatalf("retention is %d bytes, want %d", got, want)
			}
			if _, err := h.Domain(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.DropDomain(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Domain(name); !errors.Is(err, hub.ErrNoDomain) {
			t.Fatalf("a dropped domain: %v", err)
		}
	}
}

func TestSettingsThatCannotBeAreNotKept(t *testing.T) {
	h, d := open(t, hub.Config{})
	before := d.OwnSettings()
	stop := errors.New("no")
	for what, change := range map[string]func(s *hub.Settings) error{
		"too small": func(s *hub.Settings) error { s.RetentionBytes = 1; return nil },
		"refused":   func(s *hub.Settings) error { s.RetentionBytes = 4096; return stop },
		"durability": func(s *hub.Settings) error {
			s.RetentionBytes, s.Durability = 4096, engine.Fsync // the engine is memory
			return nil
		},
	} {
		if err := h.ConfigureDomain(t.Context(), hub.Main, change); err == nil {
			t.Errorf("%s: taken", what)
		}
		if got := d.OwnSettings(); got != before {
			t.Errorf("%s: settings are %+v, want %+v", what, got, before)
		}
	}
}
