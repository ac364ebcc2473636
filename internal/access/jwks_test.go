package access_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"crier/internal/access"
)

// issuer answers for a JWK set's URL.
type issuer struct {
	mu      sync.Mutex
	body    string
	status  int
	fail    bool
	hang    bool
	fetches int
	to      http.Header // headers of the answer
}

func (i *issuer) set(f func(i *issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(i)
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetches++
	if i.hang {
		i.mu.Unlock()
		<-r.Context().Done()
		i.mu.Lock()
		return nil, r.Context().Err()
	}
	if i.fail {
		return nil, errors.New("no route")
	}
	status := i.status
	if status == 0 {
		status = 200
	}
	header := i.to
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(i.body)), Request: r}, nil
}

func jwksSet(t testing.TB, keys ...map[string]any) string {
	list := []any{}
	for _, k := range keys {
		list = append(list, k)
	}
	return toJSON(t, m{"keys": list})
}

func TestJWKS(t *testing.T) {
	p := pairs()
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{body: jwksSet(t, publicJWK(t, p.rsa, m{"kid": "1"}),
			m{"kty": "oct", "k": b64([]byte(hsSecret)), "kid": "secret"}, m{"kty": "new"}, publicJWK(t, p.p384, m{"kid": "384"}))}
		a := start(t, access.Config{JWT: access.JWTConfig{JWKSURL: "https://id.example/jwks", Transport: from}})
		defer a.Close()
		alive := m{"exp": in(48 * time.Hour)}
		one := sign(t, jwt.SigningMethodRS256, p.rsa, alive, "kid", "1")
		two := sign(t, jwt.SigningMethodES256, p.p256, alive, "kid", "2")
		mustBe(t, a, request(one), access.KindJWT) // waits for the first fetch
		for range 100 {
			mustBe(t, a, request(one), access.KindJWT)
		}
		_, err := a.Authenticate(request(hs(t, alive, "kid", "secret")))
		wantRefusal(t, err, 401, access.BadCredential, "no verification key fits")
		if n := from.count(); n != 1 {
			t.Errorf("%d fetches, want one", n)
		}

		// An unknown kid has them fetched, not more often than every ten seconds.
		time.Sleep(11 * time.Second)
		_, err = a.Authenticate(request(two))
		wantRefusal(t, err, 401, access.BadCredential, "no verification key fits")
		for range 100 {
			_, err = a.Authenticate(request(two))
			wantRefusal(t, err, 401, access.BadCredential, "")
		}
		if n := from.count(); n != 2 {
			t.Errorf("%d fetches, want two", n)
		}
		from.set(func(i *issuer) {
			i.body = jwksSet(t, publicJWK(t, p.rsa, m{"kid": "1"}), publicJWK(t, p.p256, m{"kid": "2"}))
		})
		time.Sleep(11 * time.Second)
		mustBe(t, a, request(two), access.KindJWT)

		// Keys that are known stay good while fetching fails, whatever way.
		time.Sleep(14 * time.Minute)
		for _, spoil := range []func(i *issuer){
			func(i *issuer) { i.fail = true },
			func(i *issuer) { i.fail, i.status = false, 500 },
			func(i *issuer) { i.status, i.body = 200, "not JSON" },
			func(i *issuer) { i.body = `{"keys":[]}` },
			func(i *issuer) { i.body = `{"x":"` + strings.Repeat("x", 1<<20) + `"}` },
			func(i *issuer) { i.body = jwksSet(t, make([]map[string]any, 101)...) },
			func(i *issuer) { i.body, i.hang = "", true },
		} {
			from.set(spoil)
			before := from.count()
			time.Sleep(2 * time.Minute)
			mustBe(t, a, request(one), access.KindJWT)
			if from.count() == before {
				t.Error("not fetched again")
			}
		}

		// A key that was taken out is not good for long.
		from.set(func(i *issuer) { i.hang, i.body = false, jwksSet(t, publicJWK(t, p.p256, m{"kid": "2"})) })
		time.Sleep(16 * time.Minute)
		_, err = a.Authenticate(request(one))
		wantRefusal(t, err, 401, access.BadCredential, "")
		mustBe(t, a, request(two), access.KindJWT)
	})
}

func TestJWKSNeverFetched(t *testing.T) {
	p := pairs()
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{fail: true}
		a := start(t, access.Config{JWT: access.JWTConfig{JWKSURL: "http://127.0.0.1:9/jwks", Transport: from}})
		defer a.Close()
		token := sign(t, jwt.SigningMethodEdDSA, p.ed, m{"exp": in(time.Hour)})
		_, err := a.Authenticate(request(token))
		wantRefusal(t, err, 503, access.Unavailable, "could not be fetched yet")
		from.set(func(i *issuer) { i.fail, i.hang = false, true })
		time.Sleep(10 * time.Second)
		_, err = a.Authenticate(request(token))
		wantRefusal(t, err, 503, access.Unavailable, "try again later")
		from.set(func(i *issuer) { i.hang, i.body = false, jwksSet(t, publicJWK(t, p.ed, nil)) })
		time.Sleep(30 * time.Second) // it tries by itself
		mustBe(t, a, request(token), access.KindJWT)
	})
}

// Closing does not wait for an issuer that does not answer.
func TestJWKSCloseWhileFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, access.Config{JWT: access.JWTConfig{JWKSURL: "https://id.example", Transport: &issuer{hang: true}}})
		synctest.Wait()
		begin := time.Now()
		a.Close()
		if time.Since(begin) != 0 {
			t.Errorf("took %v", time.Since(begin))
		}
	})
}

func TestJWKSRedirects(t *testing.T) {
	p := pairs()
	synctest.Test(t, func(t *testing.T) {
		for location, status := range map[string]int{"http://id.example/plain": 503, "https://id.example/again": 503} {
			from := &issuer{status: 302, to: http.Header{"Location": {location}}}
			a := start(t, access.Config{JWT: access.JWTConfig{JWKSURL: "https://id.example", Transport: from}})
			_, err := a.Authenticate(request(sign(t, jwt.SigningMethodEdDSA, p.ed, m{"exp": in(time.Hour)})))
			wantRefusal(t, err, status, access.Unavailable, "")
			if n := from.count(); strings.HasPrefix(location, "http:") && n != 1 || n > 4 {
				t.Errorf("%s: %d requests", location, n)
			}
			a.Close()
		}
	})
}

func TestJWKSURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://id.example/jwks": true, "http://localhost:9000/jwks": true, "http://[::1]/": true,
		"http://id.example/jwks": false, "http://localhost.example/": false, "file:///etc/passwd": false,
		"id.example": false, "https:///x": false, "ftp://id.example": false, "http://user:pass word@x": false,
	} {
		a, err := access.New(t.Context(), access.Config{Registry: newRegistry(), JWT: access.JWTConfig{JWKSURL: url, Transport: &issuer{fail: true}}})
		if (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
		if err == nil {
			a.Close()
		} else if strings.Contains(err.Error(), "pass") && strings.Contains(err.Error(), "user") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}
