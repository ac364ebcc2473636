package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/topic"
)

// appView is an app of Pushcart as it is answered.
type appView struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	State   string    `json:"state"` // active or revoked
	Created time.Time `json:"created"`
	Rotated time.Time `json:"rotated,omitzero"` // when it got another token
	Revoked time.Time `json:"revoked,omitzero"`
	Token   string    `json:"token,omitempty"` // only when it was made
}

type appPage struct {
	Apps []appView `json:"apps"`
	Next string    `json:"next,omitempty"`
}

// appRequest is the body of POST /v1/apps.
type appRequest struct {
	Name string `json:"name"`
}

// clientView is a client of Pushcart as it is answered.
type clientView struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Info    json.RawMessage `json:"info,omitempty"`
	State   string          `json:"state"` // active or revoked
	Created time.Time       `json:"created"`
	Rotated time.Time       `json:"rotated,omitzero"`
	Revoked time.Time       `json:"revoked,omitzero"`
	Token   string          `json:"token,omitempty"`
}

type clientPage struct {
	Clients []clientView `json:"clients"`
	Next    string       `json:"next,omitempty"`
}

// clientRequest is the body of POST /v1/clients.
type clientRequest struct {
	Type string          `json:"type,omitempty"`
	Info json.RawMessage `json:"info,omitempty"`
}

func viewApp(a account.Account, token string) appView {
	return appView{ID: a.ID, Name: a.Name, State: a.State(), Created: a.Created, Rotated: a.Rotated, Revoked: a.Revoked, Token: token}
}

func viewClient(a account.Account, token string) clientView {
	return clientView{
		ID: a.ID, Type: a.Name, Info: a.Info, State: a.State(), Created: a.Created, Rotated: a.Rotated, Revoked: a.Revoked, Token: token,
	}
}

// mayAccounts refuses who may not manage what apps publish and clients read.
func (c *call) mayAccounts() error {
	p, _ := topic.ParsePattern("pushcart/*") // which is one
	return c.who.may(hub.Main, p)
}

// accounts reads a page of them.
func (c *call) accounts(of *account.Accounts) (page []account.Account, next string, err error) {
	limit, err := c.limit()
	if err != nil {
		return nil, "", err
	}
	if err := c.mayAccounts(); err != nil {
		return nil, "", err
	}
	// One more than asked for says whether there are more; a list has at most
	// 1,000 at a time, so it is looked for apart.
	page, err = of.List(c.Context(), c.query.Get("after"), limit)
	if err != nil || len(page) < limit {
		return page, "", err
	}
	last := page[len(page)-1].ID
	more, err := of.List(c.Context(), last, 1)
	if err == nil && len(more) > 0 {
		next = last
	}
	return page, next, err
}

// makeAccount makes one.
func (a *Admin) makeAccount(c *call, of *account.Accounts, spec account.Spec) (account.Account, string, error) {
	made, token, err := of.Create(c.Context(), spec)
	if err != nil {
		return made, "", accountProblem(of, err)
	}
	a.Logger.Info("made over the operator's listener", "kind", string(of.Kind), "id", made.ID, "by", c.who.String())
	return made, token, nil
}

// onAccount does something with the account that the path names.
func (a *Admin) onAccount(c *call, of *account.Accounts, what string, fn func(ctx context.Context, id string) (account.Account, error)) (account.Account, error) {
	if err := c.mayAccounts(); err != nil {
		return account.Account{}, err
	}
	acc, err := fn(c.Context(), c.PathValue("id"))
	if err != nil {
		return acc, accountProblem(of, err)
	}
	if what != "" {
		a.Logger.Info(what+" over the operator's listener", "kind", string(of.Kind), "id", acc.ID, "by", c.who.String())
	}
	return acc, nil
}

// rotateAccount gives the account that the path names another token.
func (a *Admin) rotateAccount(c *call, of *account.Accounts) (acc account.Account, token string, err error) {
	acc, err = a.onAccount(c, of, "token rotated", func(ctx context.Context, id string) (account.Account, error) {
		rotated, t, err := of.Rotate(ctx, id)
		token = t
		return rotated, err
	})
	return acc, token, err
}

func accountProblem(of *account.Accounts, err error) error {
	switch {
	case errors.Is(err, account.ErrSpec):
		return problem.BadRequest(err.Error())
	case errors.Is(err, engine.ErrNotFound):
		return problem.NotFound(fmt.Sprintf("there is no such %s; GET /v1/%ss lists those there are", of.Kind, of.Kind))
	}
	return err
}

func (a *Admin) listApps(c *call) error {
	some, next, err := c.accounts(a.Apps)
	if err != nil {
		return err
	}
	page := appPage{Apps: make([]appView, len(some)), Next: next}
	for i, acc := range some {
		page.Apps[i] = viewApp(acc, "")
	}
	return c.answer(http.StatusOK, page)
}

func (a *Admin) createApp(c *call) error {
	var body appRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	if err := c.mayAccounts(); err != nil {
		return err
	}
	acc, token, err := a.makeAccount(c, a.Apps, account.Spec{Name: body.Name})
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/apps/"+acc.ID)
	return c.answer(http.StatusCreated, viewApp(acc, token))
}

func (a *Admin) getApp(c *call) error {
	acc, err := a.onAccount(c, a.Apps, "", a.Apps.Get)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewApp(acc, ""))
}

// revokeApp ends an app for good; it stays in the list, and its messages stay.
func (a *Admin) revokeApp(c *call) error {
	acc, err := a.onAccount(c, a.Apps, "revoked", a.Apps.Revoke)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewApp(acc, ""))
}

func (a *Admin) rotateApp(c *call) error {
	acc, token, err := a.rotateAccount(c, a.Apps)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewApp(acc, token))
}

func (a *Admin) listClients(c *call) error {
	some, next, err := c.accounts(a.Clients)
	if err != nil {
		return err
	}
	page := clientPage{Clients: make([]clientView, len(some)), Next: next}
	for i, acc := range some {
		page.Clients[i] = viewClient(acc, "")
	}
	return c.answer(http.StatusOK, page)
}

func (a *Admin) createClient(c *call) error {
	var body clientRequest
	if err := c.decode(&body); err != nil {
		return err
	}
	if err := c.mayAccounts(); err != nil {
		return err
	}
	acc, token, err := a.makeAccount(c, a.Clients, account.Spec{Name: body.Type, Info: body.Info})
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/clients/"+acc.ID)
	return c.answer(http.StatusCreated, viewClient(acc, token))
}

func (a *Admin) getClient(c *call) error {
	acc, err := a.onAccount(c, a.Clients, "", a.Clients.Get)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewClient(acc, ""))
}

// revokeClient ends a client for good; it stays in the list.
func (a *Admin) revokeClient(c *call) error {
	acc, err := a.onAccount(c, a.Clients, "revoked", a.Clients.Revoke)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewClient(acc, ""))
}

func (a *Admin) rotateClient(c *call) error {
	acc, token, err := a.rotateAccount(c, a.Clients)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewClient(acc, token))
}
