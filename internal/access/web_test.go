package access_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"crier/internal/access"
)

func TestNewOrigins(t *testing.T) {
	for in, part := range map[string]string{
		"https://example.org": "", "http://example.org:8080": "", "HTTPS://Example.ORG": "", "https://[::1]:3000": "",
		"capacitor://localhost": "",
		"*":                     "no *", "https://*.example.org": "no *", "null": "no null", "": "not an origin", "example.org": "not an origin",
		"https://": "not an origin", "https://example.org/": "without a path", "https://example.org/x": "without a path",
		"https://example.org?x": "without a path", "https://u@example.org": "without a path", "https://:80": "not an origin", "https://example.org:": "port is empty",
	} {
		_, err := access.NewOrigins([]string{in})
		if part == "" && err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if part != "" && (err == nil || !strings.Contains(err.Error(), part)) {
			t.Errorf("%q: error %v, want one with %q", in, err, part)
		}
	}
}

func TestOriginsWhenClosed(t *testing.T) {
	reg := newRegistry()
	createKey(t, reg, access.KeySpec{})
	listed := start(t, access.Config{Registry: reg, Origins: origins(t, "https://App.example.org:443", "http://localhost:3000")})
	none := start(t, access.Config{Registry: reg})
	if !listed.OriginsListed() || none.OriginsListed() {
		t.Error("OriginsListed")
	}
	for origin, want := range map[string]bool{
		"https://app.example.org": true, "http://localhost:3000": true,
		"http://localhost": false, "http://127.0.0.1:3000": false, "http://app.example.org": false,
		"https://app.example.org:8443": false, "https://app.example.org.": false, "https://x.app.example.org": false, "null": false,
	} {
		r := request("", "Origin", origin)
		h := http.Header{"Vary": {"Accept"}}
		if got := listed.CORS(h, r); got != want || listed.AllowOrigin(origin) != want {
			t.Errorf("%s: allowed %v", origin, got)
		}
		if vary := h.Values("Vary"); len(vary) != 2 || vary[1] != "Origin" {
			t.Errorf("%s: Vary %v", origin, vary)
		}
		echo, credentials := h.Get("Access-Control-Allow-Origin"), h.Get("Access-Control-Allow-Credentials")
		if want && (echo != origin || credentials != "true") || !want && (echo != "" || credentials != "") {
			t.Errorf("%s: answered %q, %q", origin, echo, credentials)
		}
		if err := listed.CheckOrigin(r); want && err != nil {
			t.Errorf("%s: %v", origin, err)
		} else if !want {
			wantRefusal(t, err, 403, access.BadOrigin, "--origins")
		}
		wantRefusal(t, none.CheckOrigin(r), 403, access.BadOrigin, "")
	}
	for _, a := range []*access.Authority{listed, none} {
		h := http.Header{}
		if a.CORS(h, request("")) || h.Get("Vary") != "Origin" || len(h) != 1 {
			t.Errorf("without an origin: %v", h)
		}
		if err := a.CheckOrigin(request("")); err != nil {
			t.Errorf("without an origin: %v", err)
		}
	}
	wantRefusal(t, listed.CheckOrigin(request("", "Origin", "http://localhost:3000", "Origin", "https://evil.example")), 403, access.BadOrigin, "evil")
}

func TestOriginsWhenOpen(t *testing.T) {
	a := start(t, access.Config{})
	h := http.Header{}
	r := request("", "Origin", "http://127.0.0.1:3000")
	if !a.CORS(h, r) || h.Get("Access-Control-Allow-Origin") != "http://127.0.0.1:3000" {
		t.Errorf("%v", h)
	}
	if err := a.CheckOrigin(r); err != nil {
		t.Error(err)
	}
}

func TestClientAddr(t *testing.T) {
	proxies, err := access.NewProxies([]string{"10.0.0.0/8", "192.168.0.1", "fd00::/8", "::ffff:172.16.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "1.2.3.4:5", nil, "1.2.3.4"},
		{"a header of nobody's proxy", "1.2.3.4:5", []string{"9.9.9.9"}, "1.2.3.4"},
		{"proxy without a header", "10.0.0.1:5", nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1:5", []string{"9.9.9.9"}, "9.9.9.9"},
		{"the client made something up", "10.0.0.1:5", []string{"6.6.6.6, 9.9.9.9"}, "9.9.9.9"},
		{"the client made a trusted one up", "10.0.0.1:5", []string{"10.6.6.6, 9.9.9.9"}, "9.9.9.9"},
		{"two proxies", "10.0.0.1:5", []string{"9.9.9.9, 192.168.0.1"}, "9.9.9.9"},
		{"two headers", "10.0.0.1:5", []string{"6.6.6.6,9.9.9.9", "10.0.0.7"}, "9.9.9.9"},
		{"all trusted", "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"cannot be read", "10.0.0.1:5", []string{"9.9.9.9, unknown"}, "10.0.0.1"},
		{"cannot be read, behind a proxy", "10.0.0.1:5", []string{"9.9.9.9, _x, 10.0.0.2"}, "10.0.0.2"},
		{"with a port", "10.0.0.1:5", []string{"9.9.9.9:1234"}, "9.9.9.9"},
		{"IPv6", "[fd00::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 with a port", "[fd00::1]:5", []string{"[2001:db8::7]:99"}, "2001:db8::7"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5", []string{"::ffff:9.9.9.9"}, "9.9.9.9"},
		{"single address", "172.16.0.1:5", []string{"9.9.9.9"}, "9.9.9.9"},
		{"beside the single address", "172.16.0.2:5", []string{"9.9.9.9"}, "172.16.0.2"},
		{"empty hops", "10.0.0.1:5", []string{"9.9.9.9, "}, "10.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request("")
			r.RemoteAddr = tt.remote
			r.Header["X-Forwarded-For"] = tt.forwarded
			if got := proxies.ClientAddr(r); got != netip.MustParseAddr(tt.want) {
				t.Errorf("%v, want %s", got, tt.want)
			}
			if got := (access.Proxies{}).ClientAddr(r); got != netip.MustParseAddrPort(tt.remote).Addr().Unmap() {
				t.Errorf("trusting nobody: %v", got)
			}
		})
	}
	r := request("")
	r.RemoteAddr = "@"
	if proxies.ClientAddr(r).IsValid() {
		t.Error("an address out of nothing")
	}
	for _, bad := range []string{"", "10.0.0.0/33", "example.org", "10.0.0"} {
		if _, err := access.NewProxies([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzClientAddr(f *testing.F) {
	proxies, err := access.NewProxies([]string{"10.0.0.0/8", "::1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("10.0.0.1:1", "1.2.3.4, 10.0.0.2")
	f.Add("[::1]:1", "[::1]:2,,")
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		peer, err := netip.ParseAddrPort(remote)
		got := proxies.ClientAddr(r)
		if err == nil && !netip.MustParsePrefix("10.0.0.0/8").Contains(peer.Addr().Unmap()) && !peer.Addr().IsLoopback() && got != peer.Addr().Unmap().WithZone("") {
			t.Fatalf("%q %q: %v", remote, forwarded, got)
		}
	})
}
