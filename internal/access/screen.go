package access

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// screen refuses what may not come in while the server is open: whatever did
// not come straight from this machine, or was sent by a page of another site
// (DNS rebinding shows in the Host, a cross-site request in the Origin).
func (a *Authority) screen(r *http.Request) error {
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || strings.HasPrefix(name, "X-Forwarded-") {
			return forbidden(Proxied, "this server is open and so takes no requests through a proxy, and this one has the header "+
				name+"; make a key (crier key create) to close it")
		}
	}
	if !isLoopbackHost(hostOnly(r.Host)) {
		return forbidden(BadHost, fmt.Sprintf("this server is open and so takes requests only for localhost, 127.0.0.1 or [::1], not for %.100q; make a key (crier key create) to close it", r.Host))
	}
	for _, origin := range r.Header.Values("Origin") {
		if !a.originAllowed(origin, true) {
			return originRefusal(origin)
		}
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if addr, known := addrOf(local); known && !addr.Unmap().IsLoopback() {
			return forbidden(NotLoopback, "this server is open and so takes no requests from other machines; make a key (crier key create) to close it")
		}
	}
	return nil
}

// addrOf is the address of one end of a connection.
func addrOf(end net.Addr) (netip.Addr, bool) {
	if tcp, ok := end.(*net.TCPAddr); ok {
		addr := tcp.AddrPort().Addr()
		return addr, addr.IsValid()
	}
	ap, err := netip.ParseAddrPort(end.String())
	return ap.Addr(), err == nil
}

// CheckListen reports whether the server may listen on a TCP address: while
// it is open, only on a loopback one.
func (a *Authority) CheckListen(address string) error {
	if !a.Open() || isLoopbackHost(hostOnly(address)) {
		return nil
	}
	return forbidden(NotLoopback, fmt.Sprintf("refusing to listen on %q while the server is open to everybody; make a key first (crier key create), set a JWT verifier, or listen on 127.0.0.1", address))
}

// hostOnly takes a port away, and the brackets of an IPv6 address.
func hostOnly(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return host
}

// isLoopbackHost knows the names that always mean this machine (RFC 6761,
// section 6.3) and the loopback addresses.
func isLoopbackHost(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
