package access_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"crier/internal/access"
	"crier/internal/engine"
)

func TestWrongKeys(t *testing.T) {
	reg := newRegistry()
	_, secret := createKey(t, reg, access.KeySpec{})
	_, other := createKey(t, newRegistry(), access.KeySpec{})
	a := start(t, access.Config{Registry: reg})
	before := reg.gets.Load()
	for name, token := range map[string]string{
		"cut off":        secret[:len(secret)-1],
		"one more":       secret + "A",
		"one character":  flip(secret, 30),
		"of the id":      flip(secret, 8),
		"of the sum":     flip(secret, len(secret)-1),
		"lower case":     strings.ToLower(secret),
		"only a prefix":  "crier_",
		"no underscore":  strings.Replace(secret[6:], "_", "A", 1),
		"without prefix": secret[6:],
	} {
		_, err := a.Authenticate(request(token))
		if err == nil {
			t.Errorf("%s is good", name)
			continue
		}
		wantRefusal(t, err, 401, access.BadCredential, "")
	}
	if reg.gets.Load() != before {
		t.Error("the registry was asked for what was never a key")
	}
	_, err := a.Authenticate(request(other))
	wantRefusal(t, err, 401, access.BadCredential, "there is no such key")
	mustBe(t, a, request(secret), access.KindKey)
}

func flip(s string, at int) string {
	c := byte('A')
	if s[at] == c {
		c = 'B'
	}
	return s[:at] + string(c) + s[at+1:]
}

// Guessing at a key that exists, with the right checksum, is refused as if it
// did not.
func TestWrongSecretOfAKey(t *testing.T) {
	reg := newRegistry()
	key, secret := createKey(t, reg, access.KeySpec{})
	_, other := createKey(t, reg, access.KeySpec{})
	entry, err := reg.Get(t.Context(), "key", key.ID)
	if err != nil {
		t.Fatal(err)
	}
	var stored map[string]any
	if err := json.Unmarshal(entry.Value, &stored); err != nil {
		t.Fatal(err)
	}
	// The entry of the other key's id, with this key's hash.
	otherID := strings.Split(other, "_")[1]
	stored["id"] = otherID
	value, err := json.Marshal(stored)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Put(t.Context(), "key", otherID, value, engine.AnyVersion, nil); err != nil {
		t.Fatal(err)
	}
	a := start(t, access.Config{Registry: reg})
	_, err = a.Authenticate(request(other))
	wantRefusal(t, err, 401, access.BadCredential, "there is no such key")
	mustBe(t, a, request(secret), access.KindKey)
}

func TestKeyInURLNeverManages(t *testing.T) {
	reg := newRegistry()
	_, secret := createKey(t, reg, access.KeySpec{Publish: patterns(t, "x"), Manage: patterns(t, "**")})
	token, err := access.NewOperatorToken("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, access.Config{Registry: reg, Operator: token})
	r := request("")
	r.URL.RawQuery = "access_token=" + secret
	id := mustBe(t, a, r, access.KindKey)
	if !id.FromURL() {
		t.Error("not from the URL")
	}
	wantRefusal(t, id.May(access.Manage, "main", patterns(t, "x")...), 403, access.TokenInURL, "never grants manage")
	if err := id.May(access.Publish, "main", patterns(t, "x")...); err != nil {
		t.Error(err)
	}
	inHeader := mustBe(t, a, request(secret), access.KindKey)
	if err := inHeader.May(access.Manage, "main"); err != nil || inHeader.FromURL() {
		t.Errorf("in a header: %v", err)
	}
	if id.Credential() != inHeader.Credential() {
		t.Error("two credentials")
	}
	r.URL.RawQuery = "access_token=0123456789abcdef"
	_, err = a.Authenticate(r)
	wantRefusal(t, err, 403, access.TokenInURL, "operator's token is not taken from a URL")
}

// What is logged names keys and never a secret.
func TestAuditLogHasNoSecrets(t *testing.T) {
	var buf bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	reg := newRegistry()
	a := start(t, access.Config{Registry: reg, Log: log})
	key, secret, err := a.Keys().Create(t.Context(), access.KeySpec{Name: "till", Domain: "main", Publish: patterns(t, "x/*")})
	if err != nil {
		t.Fatal(err)
	}
	mustBe(t, a, request(secret), access.KindKey)
	if _, err := a.Keys().Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{secret, flip(secret, 30), "wrong-token-of-somebody"} {
		if _, err := a.Authenticate(request(bad)); err == nil {
			t.Error("not refused")
		}
	}
	a.Close()
	text := buf.String()
	for _, want := range []string{"server is closed", "key created", `"key":"` + key.ID + `"`, `"name":"till"`, "x/*", "key revoked", "key ended", "request refused", "bad_credential"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	for _, secret := range []string{secret[19:], "wrong-token"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %q:\n%s", secret, text)
		}
	}
}
