package hub_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
)

// Domains are managed in a registry without a server.
func TestRegistryOfDomains(t *testing.T) {
	e := memory.New(memory.Config{})
	defer e.Close()
	reg, ctx := e.Registry(), t.Context()
	names := func() []string {
		t.Helper()
		all, err := hub.ListDomains(ctx, reg)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(all))
	}
	if got := names(); !slices.Equal(got, []string{"main"}) {
		t.Errorf("an empty registry has %q", got)
	}
	if err := hub.CreateDomain(ctx, reg, "shop", hub.Settings{RetentionAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop", "main"} {
		if err := hub.SetDomain(ctx, reg, name, hub.Settings{Durability: engine.Async}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := hub.ListDomains(ctx, reg)
	if want := (hub.Settings{Durability: engine.Async}); err != nil || len(all) != 2 || all["shop"] != want || all["main"] != want {
		t.Errorf("%v, %v", all, err)
	}
	if err := hub.SetDomain(ctx, reg, "none", hub.Settings{}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("set a domain that is not there: %v", err)
	}
	if err := hub.SetDomain(ctx, reg, "shop", hub.Settings{RetentionAge: 1}); err == nil {
		t.Error("an age of a nanosecond is taken")
	}
	if err := hub.DropDomain(ctx, e, "main"); err == nil {
		t.Error("main can be deleted")
	}
	if err := hub.DropDomain(ctx, e, "shop"); err != nil {
		t.Error(err)
	}
	if err := hub.DropDomain(ctx, e, "shop"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("delete twice: %v", err)
	}
	if got := names(); !slices.Equal(got, []string{"main"}) {
		t.Errorf("left are %q", got)
	}
}
