package access_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/access"
	"crier/internal/topic"
)

func TestMay(t *testing.T) {
	grant := func(a access.Action, pattern string) access.Grant {
		return access.Grant{Action: a, Domain: "shop", Pattern: patterns(t, pattern)[0]}
	}
	key := &access.Identity{Kind: access.KindKey, ID: "K1", Grants: []access.Grant{
		grant(access.Publish, "orders/*"),
		grant(access.Subscribe, "orders/**"), grant(access.Subscribe, "news"), grant(access.Subscribe, "a/*"), grant(access.Subscribe, "a/*/**"),
		grant(access.Manage, "orders/old"),
	}}
	jwt := &access.Identity{Kind: access.KindJWT, ID: "sub"}
	anonymous := &access.Identity{Kind: access.KindAnonymous}
	operator := &access.Identity{Kind: access.KindOperator}
	for _, tt := range []struct {
		name     string
		id       *access.Identity
		action   access.Action
		domain   string
		patterns []string
		refused  string // part of the error; empty: allowed
	}{
		{"publish within", key, access.Publish, "shop", []string{"orders/1"}, ""},
		{"publish below", key, access.Publish, "shop", []string{"orders/1/lines"}, `key K1 has no grant to publish "orders/1/lines" in domain "shop"`},
		{"publish elsewhere", key, access.Publish, "shop", []string{"news"}, `publish "news"`},
		{"subscribe to the grant itself", key, access.Subscribe, "shop", []string{"orders/**"}, ""},
		{"subscribe to less", key, access.Subscribe, "shop", []string{"orders/*/lines", "news"}, ""},
		{"subscribe to more", key, access.Subscribe, "shop", []string{"**"}, `subscribe "**"`},
		{"one of several is not granted", key, access.Subscribe, "shop", []string{"news", "orders/1", "secret"}, `subscribe "secret"`},
		{"two grants together are not one", key, access.Subscribe, "shop", []string{"a/**"}, `subscribe "a/**"`},
		{"another action", key, access.Manage, "shop", []string{"orders/1"}, `manage "orders/1"`},
		{"manage", key, access.Manage, "shop", []string{"orders/old"}, ""},
		{"manage all", key, access.Manage, "shop", nil, `manage "**"`},
		{"another domain", key, access.Subscribe, "main", []string{"news"}, `in domain "main"`},
		{"no grants", jwt, access.Subscribe, "main", []string{"news"}, "this JWT has no grant to subscribe"},
		{"anonymous publishes", anonymous, access.Publish, "main", []string{"news"}, ""},
		{"anonymous subscribes", anonymous, access.Subscribe, "other", []string{"**"}, ""},
		{"anonymous manages", anonymous, access.Manage, "main", []string{"news"}, "this request has no grant to manage"},
		{"operator", operator, access.Manage, "main", nil, ""},
		{"nobody", &access.Identity{}, access.Publish, "main", []string{"news"}, "no grant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.id.May(tt.action, tt.domain, patterns(t, tt.patterns...)...)
			if tt.refused != "" {
				wantRefusal(t, err, 403, access.NoGrant, tt.refused)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
	for _, id := range []*access.Identity{key, anonymous} {
		if id.May(access.Subscribe, "shop", topic.Pattern{}) == nil {
			t.Errorf("%v may subscribe to the zero pattern", id)
		}
	}
	for domain, want := range map[string]bool{"shop": true, "main": false} {
		if key.MayKnow(domain) != want {
			t.Errorf("the key may know %s: %v", domain, !want)
		}
	}
	if !operator.MayKnow("x") || !anonymous.MayKnow("x") || jwt.MayKnow("main") {
		t.Error("who may know a domain")
	}
}

func TestMayDoesNotAllocate(t *testing.T) {
	id := &access.Identity{Kind: access.KindKey, Grants: []access.Grant{{Action: access.Publish, Domain: "main", Pattern: topic.All()}}}
	if n := testing.AllocsPerRun(100, func() {
		if err := id.May(access.Publish, "main", topic.Exactly("news")); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestIdentityExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		id := &access.Identity{Kind: access.KindJWT, Expires: begin.Add(time.Hour)}
		ctx, cancel := id.Context(t.Context())
		defer cancel()
		stopped := endOf(id)
		stop := id.OnEnd(func(error) { t.Error("told after stop") })
		stop()
		stop()
		if id.Ended() != nil {
			t.Error("ended already")
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, access.ErrExpired) || time.Since(begin) != time.Hour {
			t.Errorf("ended with %v after %v", cause, time.Since(begin))
		}
		if cause := <-stopped; !errors.Is(cause, access.ErrExpired) || !errors.Is(id.Ended(), access.ErrExpired) {
			t.Errorf("ended with %v and %v", cause, id.Ended())
		}
		if cause := <-endOf(id); !errors.Is(cause, access.ErrExpired) { // asked too late
			t.Errorf("ended with %v", cause)
		}
	})
}

func TestIdentityContextEndsWithItsParent(t *testing.T) {
	id := &access.Identity{Kind: access.KindOperator}
	parent, cancelParent := context.WithCancel(t.Context())
	ctx, cancel := id.Context(parent)
	defer cancel()
	cancelParent()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		t.Errorf("ended with %v", cause)
	}
}
