package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
)

// domainView is a domain as it is answered.
type domainView struct {
	Name           string            `json:"name"`
	Durability     engine.Durability `json:"durability"` // what is in force
	RetentionAge   string            `json:"retentionAge"`
	RetentionBytes int64             `json:"retentionBytes"`
	Own            settingsView      `json:"own"` // what was set for this domain; the rest are the server's defaults
	Head           message.ID        `json:"head"`
	Earliest       message.ID        `json:"earliest"`
	Messages       int64             `json:"messages"`
	Bytes          int64             `json:"bytes"`
	Subscriptions  int               `json:"subscriptions"`
	Epochs         []epochView       `json:"epochs,omitempty"` // of one domain, not in lists
}

// settingsView are settings of which each may be missing.
type settingsView struct {
	Durability     engine.Durability `json:"durability,omitempty"`
	RetentionAge   string            `json:"retentionAge,omitempty"`
	RetentionBytes int64             `json:"retentionBytes,omitempty"`
}

type epochView struct {
	Epoch string `json:"epoch"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

type domainPage struct {
	Domains []domainView `json:"domains"`
	Next    string       `json:"next,omitempty"`
}

func viewSettings(s hub.Settings) settingsView {
	v := settingsView{Durability: s.Durability, RetentionBytes: s.RetentionBytes}
	if s.RetentionAge != 0 {
		v.RetentionAge = s.RetentionAge.String()
	}
	return v
}

// viewDomain asks the domain's log.
func viewDomain(ctx context.Context, d *hub.Domain) (domainView, engine.State, error) {
	state, err := d.State(ctx)
	if err != nil {
		return domainView{}, state, fmt.Errorf("state of domain %q: %w", d.Name(), err)
	}
	s := d.Settings()
	return domainView{
		Name: d.Name(), Own: viewSettings(d.OwnSettings()),
		Durability: s.Durability, RetentionAge: s.RetentionAge.String(), RetentionBytes: s.RetentionBytes,
		Head: state.Position(state.Head), Earliest: state.Position(state.Trimmed),
		Messages: state.Count, Bytes: state.Bytes, Subscriptions: d.Subscriptions(),
	}, state, nil
}

// listDomains lists those of which one may manage something, by name.
func (a *Admin) listDomains(c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	after := c.query.Get("after")
	var some []*hub.Domain
	for _, d := range a.Hub.Domains() {
		if d.Name() > after && len(c.who.patterns(d.Name())) > 0 && len(some) <= limit {
			some = append(some, d)
		}
	}
	some, next := cut(some, limit, (*hub.Domain).Name)
	page := domainPage{Domains: make([]domainView, 0, len(some)), Next: next}
	for _, d := range some {
		view, _, err := viewDomain(c.Context(), d)
		if errors.Is(err, engine.ErrClosed) { // deleted meanwhile
			continue
		}
		if err != nil {
			return err
		}
		page.Domains = append(page.Domains, view)
	}
	return c.answer(http.StatusOK, page)
}

// domain finds the domain that the path names, for who may manage something
// in it.
func (a *Admin) domain(c *call) (*hub.Domain, error) {
	name := c.PathValue("name")
	if err := topic.CheckDomain(name); err != nil {
		return nil, problem.BadRequest(err.Error()).On("name")
	}
	if err := c.who.domain(name); err != nil {
		return nil, err
	}
	return a.Hub.Domain(name)
}

func (a *Admin) getDomain(c *call) error {
	d, err := a.domain(c)
	if err != nil {
		return err
	}
	return a.answerDomain(c, http.StatusOK, d)
}

func (a *Admin) answerDomain(c *call, status int, d *hub.Domain) error {
	view, state, err := viewDomain(c.Context(), d)
	if err != nil {
		return err
	}
	for i, e := range state.Epochs {
		if i == len(state.Epochs)-1 {
			e.Last = state.Head
		}
		view.Epochs = append(view.Epochs, epochView{e.Epoch.String(), e.First, e.Last})
	}
	return c.answer(status, view)
}

// createRequest is the body of POST /v1/domains.
type createRequest struct {
	Name           string  `json:"name"`
	Durability     *string `json:"durability,omitempty"`
	RetentionAge   *string `json:"retentionAge,omitempty"`
	RetentionBytes *int64  `json:"retentionBytes,omitempty"`
}

func (a *Admin) createDomain(c *call) error {
	if err := c.who.operatorOnly("make a domain"); err != nil {
		return err
	}
	var body createRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	if err := topic.CheckDomain(body.Name); err != nil {
		return problem.BadRequest("name: " + err.Error()).On("name")
	}
	var s hub.Settings
	if err := errors.Join(
		setDurability(&s, body.Durability),
		setAge(&s, body.RetentionAge),
		setBytes(&s, body.RetentionBytes),
	); err != nil {
		return err
	}
	d, err := a.Hub.CreateDomain(c.Context(), body.Name, s)
	if errors.Is(err, engine.ErrConflict) {
		return problem.Conflict(fmt.Sprintf("name: there is a domain %q already; PATCH it to change it", body.Name)).On("name")
	}
	if err != nil {
		return err
	}
	a.Logger.Info("domain created", "domain", body.Name, "by", c.who.String())
	c.w.Header().Set("Location", "/v1/domains/"+url.PathEscape(body.Name))
	return a.answerDomain(c, http.StatusCreated, d)
}

// patchRequest is the body of PATCH /v1/domains/{name}; null takes the
// server's default again.
type patchRequest struct {
	Durability     json.RawMessage `json:"durability,omitempty"`
	RetentionAge   json.RawMessage `json:"retentionAge,omitempty"`
	RetentionBytes json.RawMessage `json:"retentionBytes,omitempty"`
}

func (a *Admin) patchDomain(c *call) error {
	if err := c.who.operatorOnly("change a domain's settings"); err != nil {
		return err
	}
	d, err := a.domain(c)
	if err != nil {
		return err
	}
	var body patchRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	if err := a.Hub.ConfigureDomain(c.Context(), d.Name(), func(s *hub.Settings) error {
		return errors.Join(
			patch(s, body.Durability, "durability", setDurability),
			patch(s, body.RetentionAge, "retentionAge", setAge),
			patch(s, body.RetentionBytes, "retentionBytes", setBytes),
		)
	}); err != nil {
		return err
	}
	a.Logger.Info("domain changed", "domain", d.Name(), "by", c.who.String())
	return a.answerDomain(c, http.StatusOK, d)
}

// patch applies one member of a patch, if it is there.
func patch[T any](s *hub.Settings, raw json.RawMessage, name string, set func(*hub.Settings, *T) error) error {
	v, there, err := member[T](raw, name)
	if err != nil || !there {
		return err
	}
	return set(s, v)
}

func setDurability(s *hub.Settings, v *string) error {
	s.Durability = ""
	if v == nil {
		return nil
	}
	d, err := engine.ParseDurability(*v)
	if err != nil {
		return problem.BadRequest(err.Error()).On("durability")
	}
	s.Durability = d
	return nil
}

func setAge(s *hub.Settings, v *string) error {
	s.RetentionAge = 0
	if v == nil {
		return nil
	}
	age, err := parseDuration(*v)
	if err != nil {
		return problem.BadRequest("retentionAge: " + err.Error()).On("retentionAge")
	}
	if age < time.Second {
		return problem.BadRequest(fmt.Sprintf("retentionAge %v is below the least, 1s; null takes the server's default", age)).On("retentionAge")
	}
	s.RetentionAge = age
	return nil
}

func setBytes(s *hub.Settings, v *int64) error {
	s.RetentionBytes = 0
	if v == nil {
		return nil
	}
	if *v < 1024 {
		return problem.BadRequest(fmt.Sprintf("retentionBytes %d is below the least, 1024; null takes the server's default", *v)).On("retentionBytes")
	}
	s.RetentionBytes = *v
	return nil
}

// deleteDomain deletes a domain for good. Its keys are revoked first: else a
// failure in between would leave keys that work in a later domain of the name.
func (a *Admin) deleteDomain(c *call) error {
	if err := c.who.operatorOnly("delete a domain"); err != nil {
		return err
	}
	d, err := a.domain(c)
	if err != nil {
		return err
	}
	if d.Name() == hub.Main {
		return problem.Conflict("the domain main stays: it cannot be deleted; DELETE its topics instead").On("name")
	}
	if err := a.Access.Keys().RevokeDomain(c.Context(), d.Name()); err != nil {
		return err
	}
	if err := a.revokePubSubKeys(c.Context(), d.Name()); err != nil {
		return err
	}
	if err := a.Hub.DropDomain(c.Context(), d.Name()); err != nil {
		return err
	}
	a.Logger.Info("domain deleted", "domain", d.Name(), "by", c.who.String())
	return c.noContent()
}

// begunView is the body that answers a new epoch.
type begunView struct {
	Epoch string     `json:"epoch"`
	Head  message.ID `json:"head"` // the cursor before the epoch's first message
}

func (a *Admin) beginEpoch(c *call) error {
	if err := c.who.operatorOnly("begin a new epoch"); err != nil {
		return err
	}
	d, err := a.domain(c)
	if err != nil {
		return err
	}
	e, err := d.NewEpoch(c.Context())
	if err != nil {
		return err
	}
	head, err := d.Head(c.Context())
	if err != nil {
		return err
	}
	a.Logger.Info("new epoch", "domain", d.Name(), "epoch", e.String(), "by", c.who.String())
	return c.answer(http.StatusCreated, begunView{e.String(), head})
}
