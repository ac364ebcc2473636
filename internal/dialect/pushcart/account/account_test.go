package account_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine"
	"crier/internal/engine/memory"
)

func accounts(t *testing.T, k account.Kind) *account.Accounts {
	t.Helper()
	eng := memory.New(memory.Config{})
	t.Cleanup(func() { _ = eng.Close() })
	return &account.Accounts{Kind: k, Registry: eng.Registry()}
}

func TestLife(t *testing.T) {
	a := accounts(t, account.App)
	ctx := t.Context()
	acc, token, err := a.Create(ctx, account.Spec{Name: "My App"})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{24}$`).MatchString(acc.ID) || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(token) {
		t.Errorf("id %s, token %s", acc.ID, token)
	}
	if got, err := a.Check(ctx, token); err != nil || got.ID != acc.ID || got.Name != "My App" {
		t.Errorf("%+v, %v", got, err)
	}
	// An ObjectID begins with its second.
	if began := acc.ID[:8]; began < hexSecond(time.Now().Add(-time.Minute)) || began > hexSecond(time.Now().Add(time.Minute)) {
		t.Errorf("id %s", acc.ID)
	}
	_, second, err := a.Rotate(ctx, acc.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Check(ctx, token); !errors.Is(err, account.ErrToken) {
		t.Errorf("the token before: %v", err)
	}
	if _, err := a.Check(ctx, second); err != nil {
		t.Errorf("the token after: %v", err)
	}
	for range 2 {
		if got, err := a.Revoke(ctx, acc.ID); err != nil || got.State() != "revoked" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := a.Check(ctx, second); !errors.Is(err, account.ErrToken) {
		t.Errorf("revoked: %v", err)
	}
	if _, _, err := a.Rotate(ctx, acc.ID); !errors.Is(err, account.ErrSpec) {
		t.Errorf("rotated though revoked: %v", err)
	}
	for _, kind := range []string{"app", "app-token"} {
		entries, err := a.Registry.List(ctx, kind, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if s := e.Name + string(e.Value); strings.Contains(s, token) || strings.Contains(s, second) {
				t.Errorf("%s has a token: %s", kind, s)
			}
		}
		if kind == "app-token" && len(entries) != 0 {
			t.Errorf("entries of tokens are left: %v", entries)
		}
	}
}

func hexSecond(at time.Time) string {
	const digits = "0123456789abcdef"
	s, b := at.Unix(), make([]byte, 8)
	for i := range b {
		b[7-i] = digits[s&15]
		s >>= 4
	}
	return string(b)
}

func TestWrongTokens(t *testing.T) {
	a := accounts(t, account.Client)
	_, token, err := a.Create(t.Context(), account.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "x", token[:31], token + "0", strings.ToUpper(token), strings.Repeat("0", 32), strings.Repeat("x", 5000)} {
		if wrong == token { // all digits
			continue
		}
		if _, err := a.Check(t.Context(), wrong); !errors.Is(err, account.ErrToken) {
			t.Errorf("%.40q: %v", wrong, err)
		}
	}
	// Of another kind.
	apps := &account.Accounts{Kind: account.App, Registry: a.Registry}
	if _, err := apps.Check(t.Context(), token); !errors.Is(err, account.ErrToken) {
		t.Errorf("a client's token for an app: %v", err)
	}
}

func TestSpec(t *testing.T) {
	apps, clients := accounts(t, account.App), accounts(t, account.Client)
	for _, tt := range []struct {
		of   *account.Accounts
		spec account.Spec
		says string
	}{
		{apps, account.Spec{}, "name is empty"},
		{apps, account.Spec{Name: strings.Repeat("x", 129)}, "at most 128"},
		{apps, account.Spec{Name: "a\xff"}, "UTF-8"},
		{apps, account.Spec{Name: "a", Info: []byte("{}")}, "no info"},
		{clients, account.Spec{Name: "a\n"}, "type"},
		{clients, account.Spec{Info: []byte("[]")}, "JSON object"},
		{clients, account.Spec{Info: []byte("null")}, "JSON object"},
		{clients, account.Spec{Info: []byte("{")}, "JSON object"},
		{clients, account.Spec{Info: []byte(`{"a":"` + strings.Repeat("x", 65_536) + `"}`)}, "limit is 65536"},
	} {
		if _, _, err := tt.of.Create(t.Context(), tt.spec); !errors.Is(err, account.ErrSpec) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.60q: %v", tt.spec, err)
		}
	}
	if _, err := apps.Get(t.Context(), "x"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("an id that is none: %v", err)
	}
	if _, err := apps.Revoke(t.Context(), strings.Repeat("0", 24)); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("an id that is not there: %v", err)
	}
}
