package access_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"crier/internal/access"
)

const hsSecret = "0123456789abcdef0123456789abcdef"

// pairs are made once, RSA takes a while.
var pairs = sync.OnceValue(func() (p struct {
	rsa, otherRSA, smallRSA *rsa.PrivateKey
	p256, p384              *ecdsa.PrivateKey
	ed                      ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	p.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	p.otherRSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	p.smallRSA, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	p.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	p.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	_, p.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return p
})

func publicDER(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func publicPEM(t testing.TB, key crypto.Signer) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(t, key)}))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// publicJWK writes a key as JWK; more members override.
func publicJWK(t testing.TB, key crypto.Signer, more map[string]any) map[string]any {
	t.Helper()
	j := map[string]any{}
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		j["kty"], j["n"], j["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		b, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		n := len(b) / 2
		j["kty"], j["crv"], j["x"], j["y"] = "EC", k.Curve.Params().Name, b64(b[1:1+n]), b64(b[1+n:])
	case ed25519.PublicKey:
		j["kty"], j["crv"], j["x"] = "OKP", "Ed25519", b64(k)
	}
	for name, v := range more {
		j[name] = v
	}
	return j
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func keyFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type m = map[string]any

// sign makes a token; headers in pairs.
func sign(t testing.TB, method jwt.SigningMethod, key any, c m, headers ...any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(c))
	for i := 0; i < len(headers); i += 2 {
		token.Header[headers[i].(string)] = headers[i+1]
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hs(t testing.TB, c m, headers ...any) string {
	return sign(t, jwt.SigningMethodHS256, []byte(hsSecret), c, headers...)
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func TestJWTGrants(t *testing.T) {
	a := start(t, access.Config{JWT: access.JWTConfig{KeyFile: keyFile(t, hsSecret+"\n")}})
	token := hs(t, m{"sub": "alice", "exp": in(time.Hour), "crier": m{"publish": []string{"chat/*"}, "subscribe": []string{"chat/**", "news"}}})
	id := mustBe(t, a, request(token), access.KindJWT)
	if id.ID != "alice" || id.String() != "jwt:alice" || id.Expires.Unix() != in(time.Hour) && id.Expires.Unix() != in(time.Hour-time.Second) {
		t.Errorf("identity %v until %v", id, id.Expires)
	}
	for _, tt := range []struct {
		action  access.Action
		domain  string
		pattern string
		ok      bool
	}{
		{access.Publish, "main", "chat/1", true},
		{access.Publish, "main", "chat/1/2", false},
		{access.Publish, "main", "news", false},
		{access.Subscribe, "main", "chat/**", true},
		{access.Subscribe, "main", "news", true},
		{access.Subscribe, "shop", "news", false},
		{access.Manage, "main", "news", false},
	} {
		if err := id.May(tt.action, tt.domain, patterns(t, tt.pattern)...); (err == nil) != tt.ok {
			t.Errorf("%s %s in %s: %v", tt.action, tt.pattern, tt.domain, err)
		}
	}
	shop := mustBe(t, a, request(hs(t, m{"exp": in(time.Hour), "crier": m{"domain": "shop", "subscribe": []string{"**"}}})), access.KindJWT)
	if !shop.MayKnow("shop") || shop.MayKnow("main") {
		t.Error("domain")
	}
	none := mustBe(t, a, request(hs(t, m{"exp": in(time.Hour)})), access.KindJWT)
	wantRefusal(t, none.May(access.Subscribe, "main", patterns(t, "news")...), 403, access.NoGrant, "this JWT has no grant")

	r := request("")
	r.URL.RawQuery = "x=1&access_token=" + token
	if id := mustBe(t, a, r, access.KindJWT); !id.FromURL() {
		t.Error("not from the URL")
	}
}

// A fresh token of the same subject is the same credential; other subjects,
// issuers, and tokens without a subject are others.
func TestJWTCredential(t *testing.T) {
	a := start(t, access.Config{JWT: access.JWTConfig{KeyFile: keyFile(t, hsSecret)}})
	of := func(c m) string { return mustBe(t, a, request(hs(t, c)), access.KindJWT).Credential() }
	alice := of(m{"sub": "alice", "exp": in(time.Hour)})
	if alice != of(m{"sub": "alice", "exp": in(2 * time.Hour)}) || !strings.HasPrefix(alice, "jwt:") || strings.Contains(alice, "alice") {
		t.Errorf("credential %s", alice)
	}
	seen := map[string]bool{alice: true}
	for _, c := range []m{
		{"sub": "bob", "exp": in(time.Hour)}, {"sub": "alice", "iss": "x", "exp": in(time.Hour)},
		{"exp": in(time.Hour)}, {"exp": in(2 * time.Hour)},
	} {
		if credential := of(c); seen[credential] {
			t.Errorf("%v is another's credential", c)
		} else {
			seen[credential] = true
		}
	}
}

func TestJWTClaimsRefused(t *testing.T) {
	cfg := access.JWTConfig{KeyFile: keyFile(t, hsSecret), Issuer: "https://id.example", Audience: "crier"}
	a := start(t, access.Config{JWT: cfg})
	claims := func(change m) m {
		c := m{"exp": in(time.Hour), "iss": "https://id.example", "aud": []string{"x", "crier"}, "sub": "a"}
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	mustBe(t, a, request(hs(t, claims(m{}))), access.KindJWT)
	mustBe(t, a, request(hs(t, claims(m{"aud": "crier", "nbf": in(-time.Hour), "Crier": 1, "other": m{}}))), access.KindJWT)
	for _, tt := range []struct {
		name   string
		claims m
		reason access.Reason
		part   string
	}{
		{"no exp", m{"exp": nil}, access.BadCredential, "lacks a claim"},
		{"expired", m{"exp": in(-time.Hour)}, access.Expired, "exp"},
		{"expired within the leeway", m{"exp": in(-2 * time.Second)}, access.Expired, "exp"},
		{"exp is text", m{"exp": "soon"}, access.BadCredential, "exp is not of the right type"},
		{"exp is huge", m{"exp": 1e300}, access.BadCredential, "exp is no time of this age"},
		{"exp is negative", m{"exp": -1}, access.BadCredential, "exp is no time of this age"},
		{"not yet", m{"nbf": in(time.Hour)}, access.BadCredential, "nbf"},
		{"another issuer", m{"iss": "https://evil.example"}, access.BadCredential, "iss"},
		{"no issuer", m{"iss": nil}, access.BadCredential, "lacks a claim"},
		{"another audience", m{"aud": "other"}, access.BadCredential, "aud"},
		{"no audience", m{"aud": nil}, access.BadCredential, "lacks a claim"},
		{"audience is a number", m{"aud": 1}, access.BadCredential, "aud is not of the right type"},
		{"sub is a number", m{"sub": 1}, access.BadCredential, "sub is not of the right type"},
		{"crier is text", m{"crier": "all"}, access.BadCredential, "crier is not an object"},
		{"crier is null", m{"crier": json.RawMessage("null")}, access.BadCredential, "crier is not an object"},
		{"slip of the pen", m{"crier": m{"subscirbe": []string{"x"}}}, access.BadCredential, `crier has the member "subscirbe"`},
		{"upper case", m{"crier": m{"Publish": []string{"x"}}}, access.BadCredential, `crier has the member "Publish"`},
		{"manage", m{"crier": m{"manage": []string{"**"}}}, access.BadCredential, `crier has the member "manage"`},
		{"list is text", m{"crier": m{"publish": "x"}}, access.BadCredential, "crier.publish is not of the right type"},
		{"list is null", m{"crier": m{"publish": nil}}, access.BadCredential, "crier.publish is not of the right type"},
		{"bad pattern", m{"crier": m{"publish": []string{"a//b"}}}, access.BadCredential, "segment 2 is empty"},
		{"empty pattern", m{"crier": m{"subscribe": []string{""}}}, access.BadCredential, "pattern is empty"},
		{"bad domain", m{"crier": m{"domain": "a/b"}}, access.BadCredential, "crier.domain"},
		{"too many", m{"crier": m{"publish": strings.Fields(strings.Repeat("x ", 257))}}, access.BadCredential, "257 patterns, the limit is 256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := a.Authenticate(request(hs(t, claims(tt.claims))))
			wantRefusal(t, err, 401, tt.reason, tt.part)
		})
	}
}

func TestJWTWithoutExpiry(t *testing.T) {
	a := start(t, access.Config{JWT: access.JWTConfig{KeyFile: keyFile(t, hsSecret), AllowNoExpiry: true}})
	if id := mustBe(t, a, request(hs(t, m{"sub": "a"})), access.KindJWT); !id.Expires.IsZero() || id.Ended() != nil {
		t.Errorf("expires %v", id.Expires)
	}
	_, err := a.Authenticate(request(hs(t, m{"exp": in(-time.Second)})))
	wantRefusal(t, err, 401, access.Expired, "")
}

func TestJWTEndsAtExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, access.Config{JWT: access.JWTConfig{KeyFile: keyFile(t, hsSecret), Leeway: time.Hour}})
		defer a.Close()
		token := hs(t, m{"exp": in(time.Minute), "nbf": in(30 * time.Minute)})
		begin := time.Now()
		ended := endOf(mustBe(t, a, request(token), access.KindJWT))
		if cause := <-ended; cause != access.ErrExpired || time.Since(begin) != time.Minute {
			t.Errorf("ended with %v after %v", cause, time.Since(begin))
		}
		_, err := a.Authenticate(request(token))
		wantRefusal(t, err, 401, access.Expired, "")
	})
}

func TestJWTAlgorithms(t *testing.T) {
	p := pairs()
	alive := m{"exp": in(time.Hour)}
	cert := func() string {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, p.p256.Public(), p.p256)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}()
	rsaPEM, pkcs1 := publicPEM(t, p.rsa), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&p.rsa.PublicKey)}))
	rs, es, ed := sign(t, jwt.SigningMethodRS256, p.rsa, alive), sign(t, jwt.SigningMethodES256, p.p256, alive), sign(t, jwt.SigningMethodEdDSA, p.ed, alive)
	for _, tt := range []struct{ name, file, token string }{
		{"RS256, PEM", rsaPEM, rs},
		{"RS256, PKCS 1", pkcs1, rs},
		{"RS256, text before the PEM", "Bag Attributes\n" + rsaPEM, rs},
		{"RS256, DER", string(publicDER(t, p.rsa)), rs},
		{"RS256, base64 of DER", base64.StdEncoding.EncodeToString(publicDER(t, p.rsa)) + "\n", rs},
		{"RS256, JWK", toJSON(t, publicJWK(t, p.rsa, m{"use": "sig", "alg": "RS256", "kid": "1"})), rs},
		{"ES256, PEM", publicPEM(t, p.p256), es},
		{"ES256, certificate", cert, es},
		{"ES256, JWK", toJSON(t, publicJWK(t, p.p256, nil)), es},
		{"EdDSA, PEM", publicPEM(t, p.ed), ed},
		{"EdDSA, JWK", toJSON(t, publicJWK(t, p.ed, m{"alg": "Ed25519", "key_ops": []string{"verify"}})), ed},
		{"HS256, JWK", toJSON(t, m{"kty": "oct", "k": b64([]byte(hsSecret)), "alg": "HS256"}), hs(t, alive)},
		{"HS256, Windows line break", hsSecret + "\r\n", hs(t, alive)},
		{"two PEM blocks", publicPEM(t, p.ed) + rsaPEM, rs},
		{"set, by kid", toJSON(t, m{"keys": []any{publicJWK(t, p.otherRSA, m{"kid": "a"}), publicJWK(t, p.rsa, m{"kid": "b"})}}), sign(t, jwt.SigningMethodRS256, p.rsa, alive, "kid", "b")},
		{"set, without kid", toJSON(t, m{"keys": []any{publicJWK(t, p.otherRSA, m{"kid": "a"}), publicJWK(t, p.rsa, m{"kid": "b"})}}), rs},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := start(t, access.Config{JWT: access.JWTConfig{KeyFile: keyFile(t, tt.file)}})
			mustBe(t, a, request(tt.token), access.KindJWT)
		})
	}

	unsigned := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, alive)
	for _, tt := range []struct{ name, file, token string }{
		{"none", hsSecret, unsigned},
		{"none, public key", rsaPEM, unsigned},
		{"None in capitals", hsSecret, b64([]byte(`{"alg":"None"}`)) + "." + strings.Split(unsigned, ".")[1] + "."},
		{"no alg", hsSecret, b64([]byte(`{}`)) + "." + strings.Split(unsigned, ".")[1] + ".AAAA"},
		{"public PEM as a secret", rsaPEM, sign(t, jwt.SigningMethodHS256, []byte(rsaPEM), alive)},
		{"public PEM as a secret, trimmed", rsaPEM, sign(t, jwt.SigningMethodHS256, []byte(strings.TrimSpace(rsaPEM)), alive)},
		{"public DER as a secret", string(publicDER(t, p.rsa)), sign(t, jwt.SigningMethodHS256, publicDER(t, p.rsa), alive)},
		{"HS384", hsSecret, sign(t, jwt.SigningMethodHS384, []byte(hsSecret), alive)},
		{"HS512", hsSecret, sign(t, jwt.SigningMethodHS512, []byte(hsSecret), alive)},
		{"RS512", rsaPEM, sign(t, jwt.SigningMethodRS512, p.rsa, alive)},
		{"PS256", rsaPEM, sign(t, jwt.SigningMethodPS256, p.rsa, alive)},
		{"another key", rsaPEM, sign(t, jwt.SigningMethodRS256, p.otherRSA, alive)},
		{"another secret", hsSecret, sign(t, jwt.SigningMethodHS256, []byte(hsSecret+"x"), alive)},
		{"alg of another key", rsaPEM, es},
		{"another kid", toJSON(t, publicJWK(t, p.rsa, m{"kid": "a"})), sign(t, jwt.SigningMethodRS256, p.rsa, alive, "kid", "b")},
		{"crit", hsSecret, hs(t, alive, "crit", []string{"exp"})},
		{"a key of its own", rsaPEM, sign(t, jwt.SigningMethodRS256, p.otherRSA, alive, "jwk", publicJWK(t, p.otherRSA, nil))},
		{"no signature", hsSecret, strings.Join(strings.Split(hs(t, alive), ".")[:2], ".") + "."},
		{"cut off", hsSecret, hs(t, alive)[:80]},
		{"two dots", hsSecret, ".."},
		{"claims are no object", hsSecret, b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(`[]`)) + ".AAAA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := start(t, access.Config{JWT: access.JWTConfig{KeyFile: keyFile(t, tt.file)}})
			_, err := a.Authenticate(request(tt.token))
			wantRefusal(t, err, 401, access.BadCredential, "")
		})
	}
}

func TestJWTKeyFileRefused(t *testing.T) {
	p := pairs()
	private, err := x509.MarshalPKCS8PrivateKey(p.p256)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, file, part string }{
		{"short secret", hsSecret[1:] + "\n", "the secret has 31 bytes, HS256 needs at least 32"},
		{"empty", "", "the secret has 0 bytes"},
		{"private key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "only the public one"},
		{"private JWK", toJSON(t, publicJWK(t, p.rsa, m{"d": "AQAB"})), "private key"},
		{"spoilt PEM", "-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n", "no PEM block can be read"},
		{"PEM of something", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), "neither a public key nor a certificate"},
		{"SSH key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me", "format of SSH"},
		{"small RSA", publicPEM(t, p.smallRSA), "1024 bits, it needs 2048 to 8192"},
		{"P-384", publicPEM(t, p.p384), "P-256"},
		{"P-384 JWK", toJSON(t, publicJWK(t, p.p384, nil)), `crv "P-384" is not supported`},
		{"JWK for encryption", toJSON(t, publicJWK(t, p.rsa, m{"use": "enc"})), `use is "enc"`},
		{"JWK not for verifying", toJSON(t, publicJWK(t, p.rsa, m{"key_ops": []string{"sign"}})), "no verify"},
		{"JWK of another alg", toJSON(t, publicJWK(t, p.rsa, m{"alg": "PS256"})), "taken for RS256 only"},
		{"JWK with a short secret", toJSON(t, m{"kty": "oct", "k": b64([]byte("short"))}), "the secret has 5 bytes"},
		{"JWK off the curve", toJSON(t, publicJWK(t, p.p256, m{"y": b64(make([]byte, 32))})), "JWK 1"},
		{"JWK with an even exponent", toJSON(t, publicJWK(t, p.rsa, m{"e": "BA"})), "odd number"},
		{"JWK with a huge exponent", toJSON(t, publicJWK(t, p.rsa, m{"e": b64([]byte{255, 255, 255, 255, 1})})), "odd number"},
		{"JWK with a short x", toJSON(t, publicJWK(t, p.ed, m{"x": "AAAA"})), "32 bytes"},
		{"empty set", `{"keys":[]}`, "the set has 0 keys"},
		{"not JSON", `{`, "is not JSON"},
		{"unknown type", `{"kty":"X"}`, `kty "X"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := newRegistry()
			_, err := access.New(t.Context(), access.Config{Registry: reg, JWT: access.JWTConfig{KeyFile: keyFile(t, tt.file)}})
			if err == nil || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("error %v, want one with %q", err, tt.part)
			}
			if !start(t, access.Config{Registry: reg}).Open() {
				t.Error("a verifier that cannot be closed the server")
			}
		})
	}
	for name, cfg := range map[string]access.JWTConfig{
		"no file": {KeyFile: filepath.Join(t.TempDir(), "none")},
		"both":    {KeyFile: keyFile(t, hsSecret), JWKSURL: "https://id.example"},
	} {
		if _, err := access.New(t.Context(), access.Config{Registry: newRegistry(), JWT: cfg}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	p := pairs()
	reg := newRegistry()
	_, secret := createKey(b, reg, access.KeySpec{})
	alive := m{"sub": "a", "exp": in(time.Hour), "crier": m{"publish": []string{"a/*"}, "subscribe": []string{"a/**"}}}
	set := toJSON(b, m{"keys": []any{publicJWK(b, p.rsa, nil), publicJWK(b, p.p256, nil), publicJWK(b, p.ed, nil), m{"kty": "oct", "k": b64([]byte(hsSecret))}}})
	a := start(b, access.Config{Registry: reg, JWT: access.JWTConfig{KeyFile: keyFile(b, set)}})
	for name, token := range map[string]string{
		"key": secret, "HS256": hs(b, alive), "RS256": sign(b, jwt.SigningMethodRS256, p.rsa, alive),
		"ES256": sign(b, jwt.SigningMethodES256, p.p256, alive), "EdDSA": sign(b, jwt.SigningMethodEdDSA, p.ed, alive),
	} {
		b.Run(name, func(b *testing.B) {
			r := request(token)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// signRaw signs claims that need not be JSON.
func signRaw(t testing.TB, claims []byte) string {
	t.Helper()
	text := b64([]byte(`{"alg":"HS256"}`)) + "." + b64(claims)
	signature, err := jwt.SigningMethodHS256.Sign(text, []byte(hsSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(signature)
}
