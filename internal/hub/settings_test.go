package hub_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
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

// reluctant is an engine that fails at the step that it is told.
type reluctant struct {
	engine.Engine
	fails  atomic.Value // string: the step
	failed atomic.Int64
	listed func() // called when everything was listed, while nobody watches perhaps
}

type reluctantRegistry struct {
	engine.Registry
	e *reluctant
}

func (e *reluctant) fail(step string) error {
	if e.fails.Load() == step {
		e.failed.Add(1)
		return engine.ErrUnavailable
	}
	return nil
}

func (e *reluctant) Registry() engine.Registry { return reluctantRegistry{e.Engine.Registry(), e} }

func (e *reluctant) Drop(ctx context.Context, domain string) error {
	if err := e.fail("drop"); err != nil {
		return err
	}
	return e.Engine.Drop(ctx, domain)
}

func (r reluctantRegistry) List(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
	if err := r.e.fail("list"); err != nil {
		return nil, err
	}
	entries, err := r.Registry.List(ctx, kind, after, limit)
	if len(entries) == 0 && r.e.listed != nil {
		listed := r.e.listed
		r.e.listed = nil
		listed()
	}
	return entries, err
}

func (r reluctantRegistry) Delete(ctx context.Context, kind, name string, expect engine.Version, fence *engine.Lease) error {
	if err := r.e.fail("delete"); err != nil {
		return err
	}
	return r.Registry.Delete(ctx, kind, name, expect, fence)
}

// A deletion that failed halfway can be asked for again, and whatever happens
// a later domain of the name begins empty.
func TestDeletionThatFails(t *testing.T) {
	for _, step := range []string{"drop", "delete"} {
		t.Run(step, func(t *testing.T) {
			eng := &reluctant{Engine: memory.New(memory.Config{})}
			defer eng.Close()
			h, _ := open(t, hub.Config{Engine: eng})
			own := hub.Settings{RetentionBytes: 4096}
			d, err := h.CreateDomain(t.Context(), "shop", own)
			if err != nil {
				t.Fatal(err)
			}
			publish(t, d, "orders", "of the old shop")
			eng.fails.Store(step)
			if err := h.DropDomain(t.Context(), "shop"); !errors.Is(err, engine.ErrUnavailable) {
				t.Fatalf("the deletion failed with %v", err)
			}
			select {
			case <-d.Done():
			default:
				t.Error("those who had the domain are not told of its end")
			}
			again, err := h.Domain("shop")
			if err != nil || again.OwnSettings() != own {
				t.Fatalf("after it failed the domain is %+v, %v; want that it can be deleted again", again, err)
			}
			eng.fails.Store("")
			if err := h.DropDomain(t.Context(), "shop"); err != nil {
				t.Fatal(err)
			}
			if again, err = h.CreateDomain(t.Context(), "shop", hub.Settings{}); err != nil {
				t.Fatal(err)
			}
			if s, err := again.State(t.Context()); err != nil || s.Head != 0 {
				t.Errorf("the new domain has a head of %d, %v", s.Head, err)
			}
		})
	}
}

// A domain may be deleted while the hub is being closed.
func TestDeletionWhileClosing(t *testing.T) {
	for range 60 {
		h, _ := open(t, hub.Config{})
		d, err := h.CreateDomain(t.Context(), "shop", hub.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.DropDomain(t.Context(), "shop") }) // or it is too late
		wg.Go(func() { _ = h.Close() })
		wg.Wait()
		<-d.Done()
	}
}

// A reload that failed is made up for when the registry is there again, though
// nothing else changes.
func TestReloadThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := &reluctant{Engine: memory.New(memory.Config{})}
		defer eng.Close()
		h, _ := open(t, hub.Config{Engine: eng})
		synctest.Wait()
		eng.fails.Store("list")
		if err := hub.CreateDomain(t.Context(), eng.Engine.Registry(), "shop", hub.Settings{}); err != nil { // by another node
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := h.Domain("shop"); eng.failed.Load() == 0 || !errors.Is(err, hub.ErrNoDomain) {
			t.Fatalf("the reload did not fail: %v", err)
		}
		eng.fails.Store("")
		time.Sleep(2 * time.Second)
		if _, err := h.Domain("shop"); err != nil {
			t.Error(err)
		}
	})
}

// What another node changes while a hub opens is not missed.
func TestChangeWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng := &reluctant{Engine: memory.New(memory.Config{})}
		defer eng.Close()
		eng.listed = func() {
			if err := hub.CreateDomain(t.Context(), eng.Engine.Registry(), "shop", hub.Settings{}); err != nil {
				t.Error(err)
			}
		}
		h, _ := open(t, hub.Config{Engine: eng})
		synctest.Wait()
		if _, err := h.Domain("shop"); err != nil {
			t.Error(err)
		}
	})
}
