package access_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"crier/internal/access"
)

func TestTokenOf(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers []string // values of Authorization
		query   string
		token   string
		fromURL bool
		refused string
	}{
		{"none", nil, "", "", false, ""},
		{"header", []string{"Bearer abc.d-e_f~+/="}, "", "abc.d-e_f~+/=", false, ""},
		{"any case, any spaces", []string{"bEARER   abc "}, "", "abc", false, ""},
		{"query", nil, "since=x&access_token=abc&y", "abc", true, ""},
		{"escaped", nil, "access%5Ftoken=a%2Bb", "a+b", true, ""},
		{"header before query", []string{"Bearer abc"}, "access_token=def", "abc", false, ""},
		{"other parameters", nil, "Access_token=x&xaccess_token=y&access_tokens=z&%zz=1", "", false, ""},

		{"basic", []string{"Basic YTpi"}, "", "", false, "not of the scheme Bearer"},
		{"empty header", []string{""}, "", "", false, "not of the scheme Bearer"},
		{"scheme only", []string{"Bearer"}, "", "", false, "has no token"},
		{"spaces only", []string{"Bearer   "}, "", "", false, "has no token"},
		{"two words", []string{"Bearer a b"}, "", "", false, "a character that no key or JWT has"},
		{"two headers", []string{"Bearer a", "Bearer a"}, "", "", false, "several Authorization headers"},
		{"a bad header is not passed over", []string{"Basic x"}, "access_token=abc", "", false, "scheme Bearer"},
		{"twice", nil, "access_token=a&access_token=a", "", false, "more than once"},
		{"empty", nil, "access_token=", "", false, "access_token is empty"},
		{"no value", nil, "access_token", "", false, "access_token is empty"},
		{"badly escaped", nil, "access_token=%zz", "", false, "not well escaped"},
		{"not ASCII", nil, "access_token=%C3%BC", "", false, "a character that"},
		{"plus is a space", nil, "access_token=a+b", "", false, "a character that"},
		{"NUL", nil, "access_token=a%00", "", false, "a character that"},
		{"long", []string{"Bearer " + strings.Repeat("x", access.MaxToken+1)}, "", "", false, "longer than 8 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/t/main/x", nil)
			r.URL.RawQuery = tt.query
			r.Header["Authorization"] = tt.headers
			token, fromURL, err := access.TokenOf(r)
			if tt.refused != "" {
				wantRefusal(t, err, 401, access.BadCredential, tt.refused)
				return
			}
			if err != nil || token != tt.token || fromURL != tt.fromURL {
				t.Errorf("%q, %v, %v; want %q, %v", token, fromURL, err, tt.token, tt.fromURL)
			}
		})
	}
}

func FuzzTokenOf(f *testing.F) {
	f.Add("Bearer abc", "access_token=abc")
	f.Add("", "a=b&access_token=%41&c")
	f.Add("Basic x", "access%5ftoken=x")
	f.Add("bearer  ", "access_token=a&access_token=b")
	f.Fuzz(func(t *testing.T, header, query string) {
		r := &http.Request{Header: http.Header{}, URL: &url.URL{RawQuery: query}}
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		token, fromURL, err := access.TokenOf(r)
		if err != nil {
			wantRefusal(t, err, 401, access.BadCredential, "")
			return
		}
		if token == "" {
			if header != "" || fromURL {
				t.Fatalf("%q %q: no token", header, query)
			}
			return
		}
		if fromURL != (header == "") {
			t.Fatalf("%q %q: from the URL: %v", header, query, fromURL)
		}
		if fromURL && !strings.Contains(query, ";") { // net/url refuses those
			if values, err := url.ParseQuery(query); err == nil && values.Get("access_token") != token {
				t.Fatalf("%q: token %q, want %q", query, token, values.Get("access_token"))
			}
		}
		for _, c := range token {
			if c <= ' ' || c > '~' || strings.ContainsRune(`"\,;{}`, c) {
				t.Fatalf("token %q", token)
			}
		}
	})
}

// Whatever is sent as a key or JWT is refused, never an identity and never a
// panic, unless it is the one that is good.
func FuzzAuthenticate(f *testing.F) {
	reg := newRegistry()
	_, secret := createKey(f, reg, access.KeySpec{})
	a := start(f, access.Config{Registry: reg, JWT: access.JWTConfig{KeyFile: keyFile(f, hsSecret)}})
	f.Add(secret)
	f.Add(flip(secret, 20))
	f.Add("crier_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("..")
	f.Add(hs(f, m{"exp": 1}))
	f.Add(b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(`{"exp":9999999999,"crier":{"publish":["**"]}}`)) + ".")
	f.Add(b64([]byte(`{"alg":"HS256","crit":[]}`)) + ".e30.AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		id, err := a.AuthenticateToken(t.Context(), token, false)
		if err == nil {
			if token != secret {
				t.Fatalf("%q is %v", token, id)
			}
			return
		}
		if len(err.Error()) > 300 {
			t.Fatalf("a long refusal: %s", err)
		}
	})
}

// Whatever claims a token has that is signed rightly: it is refused, or what
// it grants is what it says.
func FuzzClaims(f *testing.F) {
	a := start(f, access.Config{JWT: access.JWTConfig{KeyFile: keyFile(f, hsSecret), AllowNoExpiry: true}})
	for _, s := range []string{
		`{"exp":99999999999,"crier":{"domain":"main","publish":["a/*"],"subscribe":["**"]}}`,
		`{"exp":1e300}`, `{"exp":-1e300}`, `{"exp":"1"}`, `{"nbf":0.5,"iat":1e18}`, `null`, `[]`, `{"crier":null}`,
		`{"crier":{"publish":[null]}}`, `{"crier":{"publish":["a","a"],"publish":["b"]}}`, `{"aud":[1]}`, `{"aud":["a",null]}`, `{"sub":"\u0000\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, claims []byte) {
		token := signRaw(t, claims)
		id, err := a.AuthenticateToken(t.Context(), token, false)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Fatalf("a long refusal: %s", err)
			}
			return
		}
		if len(id.Grants) > access.MaxGrants || id.May(access.Manage, access.DefaultDomain) == nil {
			t.Fatalf("%d grants", len(id.Grants))
		}
		for _, g := range id.Grants {
			if err := id.May(g.Action, g.Domain, g.Pattern); err != nil || g.Action == access.Manage {
				t.Fatalf("%v: %v", g, err)
			}
		}
		if strings.ContainsFunc(id.String(), func(r rune) bool { return r < ' ' || r == 0x7f }) || len(id.ID) > access.MaxKeyName+8 {
			t.Fatalf("a name not fit for logs: %q", id)
		}
		id.OnEnd(func(error) {})()
	})
}
