package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine"
)

// Apps and clients of Pushcart, by a server that runs.

func accountPath(k account.Kind, id string) string {
	return "/v1/" + string(k) + "s/" + url.PathEscape(id)
}

func (r *remote) createAccount(ctx context.Context, k account.Kind, a accountRequest) (info accountInfo, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/"+string(k)+"s", nil, a, &info)
	return info, err
}

func (r *remote) accounts(ctx context.Context, k account.Kind) (all []accountInfo, err error) {
	err = pages(url.Values{}, func(q url.Values) (string, error) {
		var page struct {
			Apps, Clients []accountInfo
			Next          string
		}
		err := r.call(ctx, http.MethodGet, "/v1/"+string(k)+"s", q, nil, &page)
		all = append(append(all, page.Apps...), page.Clients...)
		return page.Next, err
	})
	return all, err
}

func (r *remote) revokeAccount(ctx context.Context, k account.Kind, id string) (info accountInfo, err error) {
	err = r.call(ctx, http.MethodDelete, accountPath(k, id), nil, nil, &info)
	return info, err
}

func (r *remote) rotateAccount(ctx context.Context, k account.Kind, id string) (info accountInfo, err error) {
	err = r.call(ctx, http.MethodPost, accountPath(k, id)+"/token", nil, nil, &info)
	return info, err
}

// And by nobody but ourselves.

func (l *local) of(k account.Kind) *account.Accounts {
	return &account.Accounts{Kind: k, Registry: l.registry}
}

func accountInfoOf(k account.Kind, a account.Account, token string) accountInfo {
	info := accountInfo{
		ID: a.ID, Info: a.Info, State: a.State(), Created: a.Created, Rotated: a.Rotated, Revoked: a.Revoked, Token: token,
	}
	if k == account.App {
		info.Name = a.Name
	} else {
		info.Type = a.Name
	}
	return info
}

// notThere says what to look at when an id is wrong.
func notThere(k account.Kind, id string, err error) error {
	if errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("there is no %s %q; crier %s list shows those there are", k, id, k)
	}
	return err
}

func (l *local) createAccount(ctx context.Context, k account.Kind, a accountRequest) (accountInfo, error) {
	acc, token, err := l.of(k).Create(ctx, account.Spec{Name: a.Name + a.Type, Info: a.Info}) // one of the two is empty
	return accountInfoOf(k, acc, token), err
}

func (l *local) accounts(ctx context.Context, k account.Kind) (all []accountInfo, err error) {
	for after := ""; ; {
		some, err := l.of(k).List(ctx, after, 0)
		if err != nil || len(some) == 0 {
			return all, err
		}
		for _, a := range some {
			after = a.ID
			all = append(all, accountInfoOf(k, a, ""))
		}
	}
}

func (l *local) revokeAccount(ctx context.Context, k account.Kind, id string) (accountInfo, error) {
	acc, err := l.of(k).Revoke(ctx, id)
	return accountInfoOf(k, acc, ""), notThere(k, id, err)
}

func (l *local) rotateAccount(ctx context.Context, k account.Kind, id string) (accountInfo, error) {
	acc, token, err := l.of(k).Rotate(ctx, id)
	return accountInfoOf(k, acc, token), notThere(k, id, err)
}
