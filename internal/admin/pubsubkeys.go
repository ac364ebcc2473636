package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"crier/internal/dialect/name"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/engine"
	"crier/internal/problem"
)

// pubsubKeyView is a key of wspubsub as it is answered.
type pubsubKeyView struct {
	ID      string    `json:"id"`
	Domain  string    `json:"domain"` // as the outside names it
	Name    string    `json:"name,omitempty"`
	State   string    `json:"state"` // active or revoked
	Created time.Time `json:"created"`
	Revoked time.Time `json:"revoked,omitzero"`
	Secret  string    `json:"secret,omitempty"` // only when the key was made
}

type pubsubKeyPage struct {
	Keys []pubsubKeyView `json:"keys"`
	Next string          `json:"next,omitempty"`
}

// pubsubKeyRequest is the body of POST /v1/wspubsub/keys.
type pubsubKeyRequest struct {
	Domain string `json:"domain"`
	Name   string `json:"name,omitempty"`
}

func viewPubSubKey(k keys.Key) pubsubKeyView {
	return pubsubKeyView{ID: k.ID, Domain: k.Domain, Name: k.Name, State: k.State(), Created: k.Created, Revoked: k.Revoked}
}

// mayPubSub refuses who may not manage all of the domain that stands for a name
// of the outside: who has a key for it publishes to any of its topics.
func (s scope) mayPubSub(domain string) error { return s.may(name.Domain(domain)) }

// elsewhere answers where keys of wspubsub are not ours.
func (a *Admin) elsewhere() error {
	if a.PubSub == nil {
		return problem.Conflict("the keys of wspubsub are in PostgreSQL (--apikeys); make and deactivate them in its table apikeys")
	}
	return nil
}

// listPubSubKeys lists keys in the order of their ids.
func (a *Admin) listPubSubKeys(c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	domain := c.query.Get("domain")
	if domain != "" {
		if err := c.who.mayPubSub(domain); err != nil {
			return err
		}
	}
	if err := a.elsewhere(); err != nil {
		return err
	}
	var found []keys.Key
	for after := c.query.Get("after"); len(found) <= limit; {
		some, err := a.PubSub.List(c.Context(), domain, after, keyChunk)
		if err != nil {
			return err
		}
		for _, k := range some {
			after = k.ID
			if len(found) <= limit && c.who.mayPubSub(k.Domain) == nil {
				found = append(found, k)
			}
		}
		if len(some) < keyChunk {
			break
		}
	}
	found, next := cut(found, limit, func(k keys.Key) string { return k.ID })
	page := pubsubKeyPage{Keys: make([]pubsubKeyView, len(found)), Next: next}
	for i, k := range found {
		page.Keys[i] = viewPubSubKey(k)
	}
	return c.answer(http.StatusOK, page)
}

// createPubSubKey makes a key. The domain need not be there: it is made when
// the key is first used.
func (a *Admin) createPubSubKey(c *call) error {
	var body pubsubKeyRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	if body.Domain == "" {
		return problem.BadRequest("domain is missing: the one that the key is for, as it stands in /ws/pub/<ApiKey>/<Domain>/<Topic>").On("domain")
	}
	if err := c.who.mayPubSub(body.Domain); err != nil {
		return err
	}
	if err := a.elsewhere(); err != nil {
		return err
	}
	k, secret, err := a.PubSub.Create(c.Context(), body.Domain, body.Name)
	if errors.Is(err, keys.ErrSpec) {
		return problem.BadRequest(err.Error())
	}
	if err != nil {
		return err
	}
	a.Logger.Info("wspubsub key made over the operator's listener", "key", k.ID, "by", c.who.String())
	view := viewPubSubKey(k)
	view.Secret = secret
	c.w.Header().Set("Location", "/v1/wspubsub/keys/"+k.ID)
	return c.answer(http.StatusCreated, view)
}

// pubsubKey finds the key that the path names. One that is out of reach is
// answered as if there were none.
func (a *Admin) pubsubKey(c *call) (keys.Key, error) {
	if err := a.elsewhere(); err != nil {
		return keys.Key{}, err
	}
	k, err := a.PubSub.Get(c.Context(), c.PathValue("id"))
	if err == nil && c.who.mayPubSub(k.Domain) != nil {
		err = fmt.Errorf("key of a domain out of reach: %w", engine.ErrNotFound)
	}
	if errors.Is(err, engine.ErrNotFound) {
		return k, problem.NotFound("there is no such key, or not for you; GET /v1/wspubsub/keys lists those there are")
	}
	return k, err
}

func (a *Admin) getPubSubKey(c *call) error {
	k, err := a.pubsubKey(c)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewPubSubKey(k))
}

// revokePubSubKey ends a key for good; its publishers are closed at once.
func (a *Admin) revokePubSubKey(c *call) error {
	k, err := a.pubsubKey(c)
	if err != nil {
		return err
	}
	if k, err = a.PubSub.Revoke(c.Context(), k.ID); err != nil {
		return err
	}
	a.Logger.Info("wspubsub key revoked over the operator's listener", "key", k.ID, "by", c.who.String())
	return c.answer(http.StatusOK, viewPubSubKey(k))
}

// revokePubSubKeys revokes all keys of wspubsub that lead to a domain.
func (a *Admin) revokePubSubKeys(ctx context.Context, domain string) error {
	if a.PubSub == nil {
		return nil
	}
	return a.PubSub.RevokeAll(ctx, func(k *keys.Key) bool { return name.Domain(k.Domain) == domain })
}
