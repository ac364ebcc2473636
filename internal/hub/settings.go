package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"crier/internal/engine"
	"crier/internal/topic"
)

const kindDomain = "domain"

// Settings of a domain. Zero fields take the server's defaults.
type Settings struct {
	Durability     engine.Durability
	RetentionAge   time.Duration // messages older than this go; at least a second
	RetentionBytes int64         // the oldest go while data plus topic of all are more; at least 1,024
}

// DefaultSettings are what holds where nobody said otherwise: fsync, 7 days,
// 1 GiB.
func DefaultSettings() Settings {
	return Settings{Durability: engine.Fsync, RetentionAge: 7 * 24 * time.Hour, RetentionBytes: 1 << 30}
}

// Validate names the field, the limit and the mend of what is wrong.
func (s Settings) Validate() error {
	if s.Durability != "" {
		if _, err := engine.ParseDurability(string(s.Durability)); err != nil {
			return err
		}
	}
	if s.RetentionAge != 0 && s.RetentionAge < time.Second {
		return fmt.Errorf("retention age %v is below the least, 1s", s.RetentionAge)
	}
	if s.RetentionBytes != 0 && s.RetentionBytes < 1024 {
		return fmt.Errorf("retention bytes %d are below the least, 1024", s.RetentionBytes)
	}
	return nil
}

// over fills the zero fields of s from the defaults.
func (s Settings) over(defaults Settings) Settings {
	if s.Durability == "" {
		s.Durability = defaults.Durability
	}
	if s.RetentionAge == 0 {
		s.RetentionAge = defaults.RetentionAge
	}
	if s.RetentionBytes == 0 {
		s.RetentionBytes = defaults.RetentionBytes
	}
	return s
}

// settingsJSON is how the registry and the management API write Settings.
type settingsJSON struct {
	Durability     engine.Durability `json:"durability,omitempty"`
	RetentionAge   string            `json:"retentionAge,omitempty"`
	RetentionBytes int64             `json:"retentionBytes,omitempty"`
}

// MarshalJSON writes {"durability","retentionAge","retentionBytes"}; zero
// fields are left out.
func (s Settings) MarshalJSON() ([]byte, error) {
	j := settingsJSON{Durability: s.Durability, RetentionBytes: s.RetentionBytes}
	if s.RetentionAge != 0 {
		j.RetentionAge = s.RetentionAge.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Settings) UnmarshalJSON(b []byte) error {
	var j settingsJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	parsed := Settings{Durability: j.Durability, RetentionBytes: j.RetentionBytes}
	if j.RetentionAge != "" {
		age, err := time.ParseDuration(j.RetentionAge)
		if err != nil {
			return fmt.Errorf("retentionAge %q is no duration such as 168h: %w", j.RetentionAge, err)
		}
		parsed.RetentionAge = age
	}
	*s = parsed
	return nil
}

// CreateDomain makes a domain, or returns [engine.ErrConflict] if it exists.
func (h *Hub) CreateDomain(ctx context.Context, name string, s Settings) (*Domain, error) {
	h.changing.Lock()
	defer h.changing.Unlock()
	if err := CreateDomain(ctx, h.engine.Registry(), name, s); err != nil {
		return nil, err
	}
	d, err := h.openDomain(ctx, name, s)
	if err != nil {
		// An entry that cannot be opened would keep the hub from starting again.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if uerr := h.engine.Registry().Delete(undo, kindDomain, name, engine.AnyVersion, nil); uerr != nil && !errors.Is(uerr, engine.ErrNotFound) {
			h.log.Error("domain that could not be opened is still in the registry", "domain", name, "error", uerr)
		}
		return nil, err
	}
	return d, nil
}

// CreateDomain writes a new domain into a registry, for a server that is not
// running. Names that differ only in case are two domains.
func CreateDomain(ctx context.Context, reg engine.Registry, name string, s Settings) error {
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
	if _, err := reg.Put(ctx, kindDomain, name, value, 0, nil); err != nil {
		return fmt.Errorf("create domain %q: %w", name, err)
	}
	return nil
}

// ConfigureDomain changes the settings of a domain by a function that gets
// those that were set for it; the durability can move between fsync and async,
// else [engine.ErrDurability].
func (h *Hub) ConfigureDomain(ctx context.Context, name string, change func(*Settings) error) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	d, err := h.Domain(name)
	if err != nil {
		return err
	}
	before := d.OwnSettings()
	s := before
	if err := change(&s); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := d.configure(ctx, s); err != nil {
		return err
	}
	if _, err := h.engine.Registry().Put(ctx, kindDomain, name, value, engine.AnyVersion, nil); err != nil {
		err = fmt.Errorf("change domain %q: %w", name, err)
		return errors.Join(err, d.configure(context.WithoutCancel(ctx), before))
	}
	return nil
}

// DropDomain deletes a domain and its log for good. "main" stays. The log goes
// before the entry in the registry: what fails in between leaves a domain that
// can be deleted again, never a log that a later domain of the name would get.
func (h *Hub) DropDomain(ctx context.Context, name string) error {
	if name == Main {
		return errors.New("the domain main cannot be deleted")
	}
	h.changing.Lock()
	defer h.changing.Unlock()
	d, err := h.Domain(name)
	if err != nil {
		return err
	}
	h.remove(d)
	if err = DropDomain(ctx, h.engine, name); err == nil || errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, oerr := h.openDomain(again, name, d.OwnSettings()); oerr != nil {
		err = errors.Join(err, oerr)
	}
	return err
}

func (h *Hub) remove(d *Domain) {
	h.mu.Lock()
	if h.domains[d.name] == d {
		delete(h.domains, d.name)
		h.shareTail()
	}
	h.mu.Unlock()
	d.close()
	h.pieces.drop(func(p *Piece) bool { return p.domain == d })
}

func (h *Hub) ensureMain(ctx context.Context) error {
	_, err := h.engine.Registry().Get(ctx, kindDomain, Main)
	if errors.Is(err, engine.ErrNotFound) {
		_, err = h.engine.Registry().Put(ctx, kindDomain, Main, []byte("{}"), 0, nil)
		if errors.Is(err, engine.ErrConflict) { // another node was first
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("make the domain main: %w", err)
	}
	return nil
}

// load brings the open domains in line with the registry.
func (h *Hub) load(ctx context.Context) error {
	h.changing.Lock()
	defer h.changing.Unlock()
	known := map[string]Settings{}
	after := ""
	for {
		entries, err := h.engine.Registry().List(ctx, kindDomain, after, 0)
		if err != nil {
			return fmt.Errorf("list domains: %w", err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			var s Settings
			if err := json.Unmarshal(e.Value, &s); err != nil {
				return fmt.Errorf("settings of domain %q: %w", e.Name, err)
			}
			known[e.Name] = s
			after = e.Name
		}
	}
	for _, d := range h.Domains() {
		if _, ok := known[d.name]; !ok {
			h.log.Info("domain deleted", "domain", d.name)
			h.remove(d)
		}
	}
	for name, s := range known {
		d, err := h.Domain(name)
		if errors.Is(err, ErrNoDomain) {
			_, err = h.openDomain(ctx, name, s)
		} else if err == nil {
			err = d.configure(ctx, s)
		}
		if err != nil {
			return fmt.Errorf("domain %q: %w", name, err)
		}
	}
	return nil
}
