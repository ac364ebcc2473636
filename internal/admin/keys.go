package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/topic"
)

// keyView is a key as it is answered.
type keyView struct {
	ID        string          `json:"id"`
	Name      string          `json:"name,omitempty"`
	Domain    string          `json:"domain"`
	State     string          `json:"state"` // active, expired or revoked
	Publish   []topic.Pattern `json:"publish,omitempty"`
	Subscribe []topic.Pattern `json:"subscribe,omitempty"`
	Manage    []topic.Pattern `json:"manage,omitempty"`
	Created   time.Time       `json:"created"`
	Expires   time.Time       `json:"expires,omitzero"`
	Revoked   time.Time       `json:"revoked,omitzero"`
	LastUsed  time.Time       `json:"lastUsed,omitzero"` // a minute coarse
	Secret    string          `json:"secret,omitempty"`  // only when the key was made
}

type keyPage struct {
	Keys []keyView `json:"keys"`
	Next string    `json:"next,omitempty"`
}

func (a *Admin) viewKey(k access.Key) keyView {
	return keyView{
		ID: k.ID, Name: k.Name, Domain: k.Domain, State: k.State(a.Now()),
		Publish: k.Publish, Subscribe: k.Subscribe, Manage: k.Manage,
		Created: k.Created, Expires: k.Expires, Revoked: k.Revoked, LastUsed: k.LastUsed,
	}
}

// mayKey reports whether a key lies wholly within what one may manage.
func (s scope) mayKey(k *access.Key) bool {
	for _, g := range k.Grants() {
		if s.may(k.Domain, g.Pattern) != nil {
			return false
		}
	}
	return true
}

// keyChunk is how many keys are looked at at once for a page.
const keyChunk = 500

// listKeys lists keys in the order of their ids.
func (a *Admin) listKeys(c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	domain := c.query.Get("domain")
	if domain != "" {
		if err := topic.CheckDomain(domain); err != nil {
			return problem.BadRequest(err.Error()).On("domain")
		}
		if err := c.who.domain(domain); err != nil {
			return err
		}
	}
	var found []access.Key
	for after := c.query.Get("after"); len(found) <= limit; {
		keys, err := a.Access.Keys().List(c.Context(), domain, after, keyChunk)
		if err != nil {
			return err
		}
		for i := range keys {
			after = keys[i].ID
			if len(found) <= limit && c.who.mayKey(&keys[i]) {
				found = append(found, keys[i])
			}
		}
		if len(keys) < keyChunk {
			break
		}
	}
	found, next := cut(found, limit, func(k access.Key) string { return k.ID })
	page := keyPage{Keys: make([]keyView, len(found)), Next: next}
	for i, k := range found {
		page.Keys[i] = a.viewKey(k)
	}
	return c.answer(http.StatusOK, page)
}

// keyRequest is the body of POST /v1/keys.
type keyRequest struct {
	Name      string        `json:"name,omitempty"`
	Domain    string        `json:"domain,omitempty"` // "": main
	Publish   []string      `json:"publish,omitempty"`
	Subscribe []string      `json:"subscribe,omitempty"`
	Manage    managePattern `json:"manage,omitempty"`  // true: the whole domain
	Expires   string        `json:"expires,omitempty"` // a time, or how long from now
}

// managePattern is a list of patterns, or true for "**".
type managePattern []string

// UnmarshalJSON takes a boolean too.
func (m *managePattern) UnmarshalJSON(b []byte) error {
	var all bool
	if json.Unmarshal(b, &all) == nil {
		*m = nil
		if all {
			*m = managePattern{topic.All().String()}
		}
		return nil
	}
	if err := json.Unmarshal(b, (*[]string)(m)); err != nil {
		return problem.BadRequest("manage is true, for the whole domain, or a list of patterns").On("manage")
	}
	return nil
}

// createKey makes a key. Who has a key with manage can make others within its
// patterns, which end no later than it does.
func (a *Admin) createKey(c *call) error {
	var body keyRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	spec, err := a.keySpec(&body, c.who)
	if err != nil {
		return err
	}
	key, secret, err := a.Access.Keys().Create(c.Context(), spec)
	if errors.Is(err, access.ErrKeySpec) {
		return problem.BadRequest(err.Error())
	}
	if err != nil {
		return err
	}
	a.Logger.Info("key made over the operator's listener", "key", key.ID, "domain", key.Domain, "by", c.who.String())
	view := a.viewKey(key)
	view.Secret = secret
	c.w.Header().Set("Location", "/v1/keys/"+key.ID)
	return c.answer(http.StatusCreated, view)
}

func (a *Admin) keySpec(body *keyRequest, who scope) (access.KeySpec, error) {
	spec := access.KeySpec{Name: body.Name, Domain: body.Domain}
	if spec.Domain == "" {
		spec.Domain = hub.Main
	}
	if err := topic.CheckDomain(spec.Domain); err != nil {
		return spec, problem.BadRequest("domain: " + err.Error()).On("domain")
	}
	if err := who.domain(spec.Domain); err != nil {
		return spec, err
	}
	for _, of := range []struct {
		member string
		texts  []string
		to     *[]topic.Pattern
	}{{"publish", body.Publish, &spec.Publish}, {"subscribe", body.Subscribe, &spec.Subscribe}, {"manage", body.Manage, &spec.Manage}} {
		for i, text := range of.texts {
			p, err := topic.ParsePattern(text)
			field := fmt.Sprintf("%s[%d]", of.member, i)
			if err != nil {
				return spec, problem.BadRequest(field + ": " + err.Error()).On(field)
			}
			if err := who.may(spec.Domain, p); err != nil {
				return spec, err
			}
			*of.to = append(*of.to, p)
		}
	}
	if _, err := a.Hub.Domain(spec.Domain); errors.Is(err, hub.ErrNoDomain) {
		return spec, problem.BadRequest(fmt.Sprintf("domain: there is no domain %q; make it first with POST /v1/domains", spec.Domain)).On("domain")
	}
	var err error
	spec.Expires, err = expiry(body.Expires, a.Now(), who.Expires)
	return spec, err
}

// expiry reads when a key should end. most is when its maker does, if ever.
func expiry(s string, now, most time.Time) (time.Time, error) {
	if s == "" {
		return most, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d, err := parseDuration(s)
		if err != nil {
			return at, problem.BadRequest(fmt.Sprintf("expires is a time (2030-01-31T00:00:00Z) or how long from now (90d, 12h), got %.40q", s)).On("expires")
		}
		at = now.Add(d)
	}
	// Keys keep whole seconds.
	at = at.Truncate(time.Second)
	if !at.After(now) {
		return at, problem.BadRequest("expires " + at.UTC().Format(time.RFC3339) + " has passed already; name a time to come").On("expires")
	}
	if !most.IsZero() && at.After(most) {
		return at, problem.Forbidden("expires is after " + most.UTC().Format(time.RFC3339) + ", when the key that asks ends itself; name a time up to that, or none").On("expires")
	}
	return at, nil
}

// maxID bounds what is looked up; ids are much shorter.
const maxID = 64

// key finds the key that the path names. One that is out of reach is answered
// as if there were none.
func (a *Admin) key(c *call) (access.Key, error) {
	id := c.PathValue("id")
	key, err := access.Key{}, error(engine.ErrNotFound)
	if len(id) <= maxID {
		key, err = a.Access.Keys().Get(c.Context(), id)
	}
	if err == nil && !c.who.mayKey(&key) {
		err = engine.ErrNotFound
	}
	if errors.Is(err, engine.ErrNotFound) {
		return key, problem.NotFound("there is no such key, or not for you; GET /v1/keys lists those there are")
	}
	return key, err
}

func (a *Admin) getKey(c *call) error {
	key, err := a.key(c)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, a.viewKey(key))
}

// revokeKey ends a key for good; it stays in the list. Its connections are
// closed within a second.
func (a *Admin) revokeKey(c *call) error {
	key, err := a.key(c)
	if err != nil {
		return err
	}
	if key, err = a.Access.Keys().Revoke(c.Context(), key.ID); err != nil {
		return err
	}
	a.Logger.Info("key revoked over the operator's listener", "key", key.ID, "domain", key.Domain, "by", c.who.String())
	return c.answer(http.StatusOK, a.viewKey(key))
}
