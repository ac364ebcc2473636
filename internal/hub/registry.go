package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"crier/internal/engine"
	"crier/internal/topic"
)

// What follows is, with CreateDomain, for a server that is not running: it
// changes the registry, and the server does what follows from it when it
// starts.

// ListDomains gives the domains of a registry with what was set for each;
// main is among them also before the first start.
func ListDomains(ctx context.Context, reg engine.Registry) (map[string]Settings, error) {
	domains := map[string]Settings{Main: {}}
	for after := ""; ; {
		entries, err := reg.List(ctx, kindDomain, after, 0)
		if err != nil {
			return nil, fmt.Errorf("list domains: %w", err)
		}
		if len(entries) == 0 {
			return domains, nil
		}
		for _, e := range entries {
			var s Settings
			if err := json.Unmarshal(e.Value, &s); err != nil {
				return nil, fmt.Errorf("settings of domain %q: %w", e.Name, err)
			}
			domains[e.Name] = s
			after = e.Name
		}
	}
}

// SetDomain changes what is set for a domain; one that is not there is
// [engine.ErrNotFound].
func SetDomain(ctx context.Context, reg engine.Registry, name string, s Settings) error {
	if err := topic.CheckDomain(name); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if name != Main { // which may not be there yet
		if _, err := reg.Get(ctx, kindDomain, name); err != nil {
			return fmt.Errorf("change domain %q: %w", name, err)
		}
	}
	if _, err := reg.Put(ctx, kindDomain, name, value, engine.AnyVersion, nil); err != nil {
		return fmt.Errorf("change domain %q: %w", name, err)
	}
	return nil
}

// DropDomain deletes a domain and its log, in the order of [Hub.DropDomain].
// Main stays. One that is not there is [engine.ErrNotFound].
func DropDomain(ctx context.Context, e engine.Engine, name string) error {
	if name == Main {
		return errors.New("the domain main cannot be deleted")
	}
	err := e.Drop(ctx, name)
	if err == nil || errors.Is(err, engine.ErrNotFound) { // it may have had no log yet
		err = e.Registry().Delete(ctx, kindDomain, name, engine.AnyVersion, nil)
	}
	if err != nil {
		return fmt.Errorf("delete domain %q: %w", name, err)
	}
	return nil
}
