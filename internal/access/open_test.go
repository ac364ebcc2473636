package access_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/access"
)

func origins(t testing.TB, list ...string) access.Origins {
	t.Helper()
	o, err := access.NewOrigins(list)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOpenTakesWhatIsLocal(t *testing.T) {
	a := start(t, access.Config{Origins: origins(t, "https://app.example.org")})
	for _, tt := range []struct {
		name    string
		request *http.Request
	}{
		{"plain", request("")},
		{"127.0.0.1", request("", "Host", "127.0.0.1:8080")},
		{"another address of the loopback", request("", "Host", "127.8.9.10")},
		{"IPv6", request("", "Host", "[::1]:8080")},
		{"IPv6 without a port", request("", "Host", "[::1]")},
		{"upper case", request("", "Host", "LocalHost:8080")},
		{"name below localhost", request("", "Host", "crier.localhost.")},
		{"origin of this machine", request("", "Origin", "http://localhost:3000")},
		{"IPv6 origin", request("", "Origin", "https://[::1]:3000")},
		{"listed origin", request("", "Origin", "https://app.example.org")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := mustBe(t, a, tt.request, access.KindAnonymous)
			if err := errors.Join(id.May(access.Publish, "main", patterns(t, "x")...), id.May(access.Subscribe, "any", patterns(t, "**")...)); err != nil {
				t.Error(err)
			}
			wantRefusal(t, id.May(access.Manage, "main"), 403, access.NoGrant, "manage")
		})
	}
}

func TestOpenRefusesWhatIsNotLocal(t *testing.T) {
	token, err := access.NewOperatorToken("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	reg := newRegistry()
	_, secret := createKey(t, reg, access.KeySpec{})
	for name, a := range map[string]*access.Authority{
		"open":      start(t, access.Config{Operator: token, Origins: origins(t, "https://app.example.org")}),
		"held open": start(t, access.Config{Operator: token, Registry: reg, Open: true}),
	} {
		for _, tt := range []struct {
			name, header, value string
			reason              access.Reason
			part                string
		}{
			{"Forwarded", "Forwarded", "for=1.2.3.4", access.Proxied, "header Forwarded;"},
			{"X-Forwarded-For", "X-Forwarded-For", "1.2.3.4", access.Proxied, "header X-Forwarded-For;"},
			{"X-Forwarded-Proto", "x-forwarded-proto", "https", access.Proxied, "header X-Forwarded-Proto;"},
			{"an X-Forwarded nobody knows", "X-Forwarded-Anything", "", access.Proxied, "header X-Forwarded-Anything;"},
			{"Via", "Via", "1.1 proxy", access.Proxied, "header Via;"},
			{"another host", "Host", "evil.example:8080", access.BadHost, `not for "evil.example:8080"`},
			{"an address of the network", "Host", "192.168.0.7:8080", access.BadHost, "make a key"},
			{"a name that looks local", "Host", "localhost.evil.example", access.BadHost, ""},
			{"no host", "Host", "", access.BadHost, ""},
			{"another origin", "Origin", "https://evil.example", access.BadOrigin, `"https://evil.example" is not allowed`},
			{"an origin that looks local", "Origin", "http://localhost.evil.example", access.BadOrigin, ""},
			{"user in the origin", "Origin", "http://localhost@evil.example", access.BadOrigin, ""},
			{"null origin", "Origin", "null", access.BadOrigin, "--origins"},
			{"extension", "Origin", "moz-extension://localhost", access.BadOrigin, ""},
			{"prefix of a listed origin", "Origin", "https://app.example.org.evil.example", access.BadOrigin, ""},
			{"listed origin, other scheme", "Origin", "http://app.example.org", access.BadOrigin, ""},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				for _, credential := range []string{"", "0123456789abcdef", secret} {
					r := request(credential, tt.header, tt.value)
					_, err := a.Authenticate(r)
					wantRefusal(t, err, 403, tt.reason, tt.part)
					wantRefusal(t, a.Screen(r), 403, tt.reason, tt.part)
				}
			})
		}
	}
}

func TestOpenRefusesAConnectionToAnotherAddress(t *testing.T) {
	a := start(t, access.Config{})
	for address, refused := range map[string]bool{"127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "10.0.0.1": true, "2001:db8::1": true} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(address), Port: 8080}))
		_, err := a.Authenticate(request("").WithContext(ctx))
		if refused {
			wantRefusal(t, err, 403, access.NotLoopback, "other machines")
		} else if err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestCheckListen(t *testing.T) {
	reg := newRegistry()
	open := start(t, access.Config{})
	createKey(t, reg, access.KeySpec{})
	closed, held := start(t, access.Config{Registry: reg}), start(t, access.Config{Registry: reg, Open: true})
	for address, local := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:8080": true, "[::1]:8080": true, "127.0.0.2:0": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "192.168.0.7:8080": false, "example.org:80": false, "": false,
	} {
		if err := closed.CheckListen(address); err != nil {
			t.Errorf("closed: %v", err)
		}
		for _, a := range []*access.Authority{open, held} {
			if err := a.CheckListen(address); local && err != nil {
				t.Errorf("open: %v", err)
			} else if !local {
				wantRefusal(t, err, 403, access.NotLoopback, "refusing to listen")
			}
		}
	}
}

func TestClosedWantsACredential(t *testing.T) {
	reg := newRegistry()
	createKey(t, reg, access.KeySpec{})
	a := start(t, access.Config{Registry: reg})
	if a.Open() {
		t.Fatal("open")
	}
	_, err := a.Authenticate(request(""))
	wantRefusal(t, err, 401, access.NoCredential, "Authorization: Bearer")
	var refusal *access.Refusal
	if errors.As(err, &refusal); refusal.Challenge() != `Bearer realm="crier"` {
		t.Errorf("challenge %q", refusal.Challenge())
	}
	// Closed, it may be behind a proxy, and anywhere.
	_, err = a.Authenticate(request("", "Via", "1.1 x", "Host", "push.example.org", "Origin", "https://evil.example"))
	wantRefusal(t, err, 401, access.NoCredential, "")
}

func TestBadCredentialsAreNotAnonymous(t *testing.T) {
	a := start(t, access.Config{})
	_, err := a.Authenticate(request("nonsense"))
	wantRefusal(t, err, 401, access.BadCredential, "neither a key of this server nor a JWT")
	_, err = a.AuthenticateToken(t.Context(), "", false)
	wantRefusal(t, err, 401, access.NoCredential, "")
}

// The first key closes the server at once, for anonymous connections that are
// open too, and for good.
func TestFirstKeyCloses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		deaf   bool
		create func(t *testing.T, a *access.Authority, reg *registry) string // the key's id
		within time.Duration
	}{
		{"here", true, func(t *testing.T, a *access.Authority, _ *registry) string {
			key, _, err := a.Keys().Create(t.Context(), access.KeySpec{Domain: "main", Publish: patterns(t, "x")})
			if err != nil {
				t.Fatal(err)
			}
			return key.ID
		}, 0},
		{"on another node", false, func(t *testing.T, _ *access.Authority, reg *registry) string {
			key, _ := createKey(t, reg, access.KeySpec{})
			return key.ID
		}, time.Second},
		{"on another node, its ring lost", true, func(t *testing.T, _ *access.Authority, reg *registry) string {
			key, _ := createKey(t, reg, access.KeySpec{})
			return key.ID
		}, 6 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := newRegistry()
				reg.deaf = tt.deaf
				a := start(t, access.Config{Registry: reg})
				defer a.Close()
				anonymous := mustBe(t, a, request(""), access.KindAnonymous)
				ended := endOf(anonymous)
				time.Sleep(time.Hour)
				if !a.Open() || anonymous.Ended() != nil {
					t.Fatal("closed by itself")
				}
				begin := time.Now()
				id := tt.create(t, a, reg)
				if cause := <-ended; !errors.Is(cause, access.ErrClosed) || time.Since(begin) > tt.within {
					t.Errorf("ended with %v after %v", cause, time.Since(begin))
				}
				if a.Open() || !errors.Is(anonymous.Ended(), access.ErrClosed) {
					t.Error("still open")
				}
				_, err := a.Authenticate(request(""))
				wantRefusal(t, err, 401, access.NoCredential, "")

				if _, err := a.Keys().Revoke(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				again := start(t, access.Config{Registry: reg})
				defer again.Close()
				if a.Open() || again.Open() {
					t.Error("open again after the only key was revoked")
				}
				held := start(t, access.Config{Registry: reg, Open: true})
				defer held.Close()
				mustBe(t, held, request(""), access.KindAnonymous)
			})
		})
	}
}

// Held open, a key changes nothing for those without; and without the hold it
// is closed.
func TestHeldOpenStaysOpen(t *testing.T) {
	reg := newRegistry()
	a := start(t, access.Config{Registry: reg, Open: true})
	anonymous := mustBe(t, a, request(""), access.KindAnonymous)
	_, secret, err := a.Keys().Create(t.Context(), access.KeySpec{Domain: "main", Manage: patterns(t, "**")})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Open() || anonymous.Ended() != nil {
		t.Error("closed by a key")
	}
	mustBe(t, a, request(secret), access.KindKey)
	if start(t, access.Config{Registry: reg}).Open() {
		t.Error("open without the hold")
	}
}

func TestVerifierClosesForGood(t *testing.T) {
	reg := newRegistry()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if start(t, access.Config{Registry: reg, JWT: access.JWTConfig{KeyFile: file}}).Open() {
		t.Error("open with a verifier")
	}
	if start(t, access.Config{Registry: reg}).Open() {
		t.Error("open again without the verifier")
	}
}

func TestOperatorTokenDoesNotClose(t *testing.T) {
	token, err := access.NewOperatorToken("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, access.Config{Operator: token})
	id := mustBe(t, a, request("0123456789abcdef"), access.KindOperator)
	if err := id.May(access.Manage, "main"); err != nil || !a.Open() {
		t.Errorf("%v, open: %v", err, a.Open())
	}
	_, err = a.Authenticate(request("0123456789abcdeF"))
	wantRefusal(t, err, 401, access.BadCredential, "")
}

// A key without the mark, which nobody but a hand in the registry makes.
func TestKeyWithoutMarkCloses(t *testing.T) {
	reg := newRegistry()
	createKey(t, reg, access.KeySpec{})
	if err := reg.Delete(t.Context(), "access", "closed", 1<<64-1, nil); err != nil {
		t.Fatal(err)
	}
	if start(t, access.Config{Registry: reg}).Open() {
		t.Error("open")
	}
}

func TestStateUnknownIsAnError(t *testing.T) {
	reg := newRegistry()
	reg.failing.Store(true)
	if _, err := access.New(t.Context(), access.Config{Registry: reg}); !errors.Is(err, errAway) {
		t.Errorf("error %v", err)
	}
}
