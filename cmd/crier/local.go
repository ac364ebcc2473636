package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"crier/internal/access"
	"crier/internal/config"
	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/hub"
	"crier/internal/topic"
)

// local manages in a data directory that no server has. It opens no hub: that
// would trim history by settings that are not the server's.
type local struct {
	engine   *embedded.Engine
	registry engine.Registry
	access   *access.Keys
}

// openLocal opens a data directory. Unless it may be made, one that is not
// there is fs.ErrNotExist.
func openLocal(ctx context.Context, dir string, makes bool) (*local, error) {
	if !makes {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	e, err := embedded.Open(ctx, embedded.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	return &local{engine: e, registry: e.Registry(), access: &access.Keys{Registry: e.Registry()}}, nil
}

func (l *local) Close() error { return l.engine.Close() }

func (l *local) createKey(ctx context.Context, r keyRequest) (keyInfo, error) {
	spec := access.KeySpec{Name: r.Name, Domain: cmp.Or(r.Domain, hub.Main)}
	if err := l.known(ctx, spec.Domain); err != nil {
		return keyInfo{}, err
	}
	var err error
	if spec.Publish, err = patterns(r.Publish); err != nil {
		return keyInfo{}, err
	}
	if spec.Subscribe, err = patterns(r.Subscribe); err != nil {
		return keyInfo{}, err
	}
	if r.Manage {
		spec.Manage = []topic.Pattern{topic.All()}
	}
	if spec.Expires, err = expiry(r.Expires, time.Now()); err != nil {
		return keyInfo{}, err
	}
	key, secret, err := l.access.Create(ctx, spec)
	if err != nil {
		return keyInfo{}, err
	}
	info := keyInfoOf(&key)
	info.Secret = secret
	return info, nil
}

// known is an error for a domain that is not there.
func (l *local) known(ctx context.Context, name string) error {
	all, err := hub.ListDomains(ctx, l.registry)
	if err != nil {
		return err
	}
	if _, there := all[name]; !there {
		return fmt.Errorf("there is no domain %q; crier domain create makes it", name)
	}
	return nil
}

func patterns(texts []string) ([]topic.Pattern, error) {
	var ps []topic.Pattern
	for _, text := range texts {
		p, err := topic.ParsePattern(text)
		if err != nil {
			return nil, usageError{err}
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// expiry reads a time, or how long from now.
func expiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.Truncate(time.Second), nil
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return time.Time{}, usagef("--expires %q is neither a time such as 2030-01-31T00:00:00Z nor how long from now, such as 90d or 12h", s)
	}
	return now.Add(d).Truncate(time.Second), nil
}

func keyInfoOf(k *access.Key) keyInfo {
	texts := func(ps []topic.Pattern) (all []string) {
		for _, p := range ps {
			all = append(all, p.String())
		}
		return all
	}
	return keyInfo{
		ID: k.ID, Name: k.Name, Domain: k.Domain, State: k.State(time.Now()),
		Publish: texts(k.Publish), Subscribe: texts(k.Subscribe), Manage: texts(k.Manage),
		Created: k.Created, Expires: k.Expires, Revoked: k.Revoked, LastUsed: k.LastUsed,
	}
}

func (l *local) keys(ctx context.Context, domain string) ([]keyInfo, error) {
	var all []keyInfo
	for after := ""; ; {
		const some = 1000
		keys, err := l.access.List(ctx, domain, after, some)
		if err != nil {
			return nil, err
		}
		for i := range keys {
			all = append(all, keyInfoOf(&keys[i]))
			after = keys[i].ID
		}
		if len(keys) < some {
			return all, nil
		}
	}
}

func (l *local) revokeKey(ctx context.Context, id string) (keyInfo, error) {
	key, err := l.access.Revoke(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return keyInfo{}, fmt.Errorf("there is no key %q; crier key list shows those there are", id)
	}
	return keyInfoOf(&key), err
}

// apply changes settings as the management API does.
func (s settingsChange) apply(to hub.Settings) (hub.Settings, error) {
	if v, set := s["durability"]; set {
		to.Durability = ""
		if text, ok := v.(string); ok {
			to.Durability = engine.Durability(text)
		}
	}
	if v, set := s["retentionAge"]; set {
		to.RetentionAge = 0
		if text, ok := v.(string); ok {
			age, err := config.ParseDuration(text)
			if err != nil {
				return to, usageError{err}
			}
			to.RetentionAge = age
		}
	}
	if v, set := s["retentionBytes"]; set {
		to.RetentionBytes, _ = v.(int64)
	}
	return to, nil
}

func domainInfoOf(name string, s hub.Settings) domainInfo {
	own := &ownSettings{Durability: string(s.Durability), RetentionBytes: s.RetentionBytes}
	if s.RetentionAge != 0 {
		own.RetentionAge = s.RetentionAge.String()
	}
	return domainInfo{Name: name, Own: own}
}

func (l *local) createDomain(ctx context.Context, name string, s settingsChange) (domainInfo, error) {
	settings, err := s.apply(hub.Settings{})
	if err != nil {
		return domainInfo{}, err
	}
	err = hub.CreateDomain(ctx, l.registry, name, settings)
	if errors.Is(err, engine.ErrConflict) || name == hub.Main {
		return domainInfo{}, fmt.Errorf("there is a domain %q already; crier domain set changes it", name)
	}
	return domainInfoOf(name, settings), err
}

func (l *local) domains(ctx context.Context) ([]domainInfo, error) {
	all, err := hub.ListDomains(ctx, l.registry)
	if err != nil {
		return nil, err
	}
	var infos []domainInfo
	for _, name := range slices.Sorted(maps.Keys(all)) {
		infos = append(infos, domainInfoOf(name, all[name]))
	}
	return infos, nil
}

func (l *local) setDomain(ctx context.Context, name string, s settingsChange) (domainInfo, error) {
	if err := l.known(ctx, name); err != nil {
		return domainInfo{}, err
	}
	all, err := hub.ListDomains(ctx, l.registry)
	if err != nil {
		return domainInfo{}, err
	}
	settings, err := s.apply(all[name])
	if err != nil {
		return domainInfo{}, err
	}
	return domainInfoOf(name, settings), hub.SetDomain(ctx, l.registry, name, settings)
}

// deleteDomain revokes the domain's keys first, so that none of them works in
// a later domain of the same name.
func (l *local) deleteDomain(ctx context.Context, name string) error {
	if err := l.known(ctx, name); err != nil {
		return err
	}
	if name != hub.Main {
		if err := l.access.RevokeDomain(ctx, name); err != nil {
			return err
		}
		if err := l.revokePubSubKeys(ctx, name); err != nil {
			return err
		}
	}
	return hub.DropDomain(ctx, l.engine, name)
}

func (l *local) newEpoch(ctx context.Context, name string) (epochInfo, error) {
	if err := l.known(ctx, name); err != nil {
		return epochInfo{}, err
	}
	all, err := hub.ListDomains(ctx, l.registry)
	if err != nil {
		return epochInfo{}, err
	}
	durability := cmp.Or(all[name].Durability, engine.Fsync)
	if durability == engine.Memory {
		return epochInfo{}, fmt.Errorf("domain %q keeps nothing (durability memory): it begins a new epoch at each start", name)
	}
	log, err := l.engine.Log(ctx, name, durability)
	if err != nil {
		return epochInfo{}, err
	}
	epoch, err := log.BeginEpoch(ctx)
	if err != nil {
		return epochInfo{}, err
	}
	state, err := log.State(ctx)
	return epochInfo{Epoch: epoch.String(), Head: state.Position(state.Head).String()}, err
}
