package main

import (
	"context"
	"errors"
	"fmt"

	"crier/internal/dialect/name"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/engine"
)

// What of a data directory that no server has is about dialects.

func pubsubKeyInfoOf(k keys.Key) pubsubKeyInfo {
	return pubsubKeyInfo{ID: k.ID, Domain: k.Domain, Name: k.Name, State: k.State(), Created: k.Created, Revoked: k.Revoked}
}

func (l *local) pubsub() *keys.Registry { return &keys.Registry{Registry: l.registry} }

func (l *local) createPubSubKey(ctx context.Context, domain, name string) (pubsubKeyInfo, error) {
	k, secret, err := l.pubsub().Create(ctx, domain, name)
	info := pubsubKeyInfoOf(k)
	info.Secret = secret
	return info, err
}

func (l *local) pubsubKeys(ctx context.Context, domain string) ([]pubsubKeyInfo, error) {
	var all []pubsubKeyInfo
	for after := ""; ; {
		const some = 1000
		page, err := l.pubsub().List(ctx, domain, after, some)
		if err != nil {
			return nil, err
		}
		for _, k := range page {
			all = append(all, pubsubKeyInfoOf(k))
			after = k.ID
		}
		if len(page) < some {
			return all, nil
		}
	}
}

func (l *local) revokePubSubKey(ctx context.Context, id string) (pubsubKeyInfo, error) {
	k, err := l.pubsub().Revoke(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return pubsubKeyInfo{}, fmt.Errorf("there is no key %q of wspubsub; crier key list --wspubsub shows those there are", id)
	}
	return pubsubKeyInfoOf(k), err
}

// revokePubSubKeys revokes all keys of wspubsub that lead to a domain: the
// first use of one would make it anew.
func (l *local) revokePubSubKeys(ctx context.Context, domain string) error {
	return l.pubsub().RevokeAll(ctx, func(k *keys.Key) bool { return name.Domain(k.Domain) == domain })
}

// errNoListeners is why notices want a server: they are told to those who
// listen.
var errNoListeners = errors.New("no server runs, and notices are told to those who listen to one: start it with crier serve")

func (l *local) setNotice(context.Context, string, string) (noticeInfo, error) {
	return noticeInfo{}, errNoListeners
}

func (l *local) notice(context.Context, string) (noticeInfo, error) {
	return noticeInfo{}, errNoListeners
}

func (l *local) notices(context.Context) ([]noticeInfo, error) { return nil, errNoListeners }

func (l *local) deleteNotice(context.Context, string) error { return errNoListeners }
