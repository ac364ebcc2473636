package access

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies is the list of the proxies whose X-Forwarded-For is believed. The
// zero Proxies believes nobody.
type Proxies struct {
	nets []netip.Prefix
}

// NewProxies reads CIDR blocks (10.0.0.0/8, fd00::/8) and single addresses.
func NewProxies(list []string) (Proxies, error) {
	var p Proxies
	for _, s := range list {
		if addr, err := netip.ParseAddr(s); err == nil {
			addr = addr.Unmap().WithZone("")
			p.nets = append(p.nets, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return Proxies{}, fmt.Errorf("trusted proxy %.100q is neither an address nor a block like 10.0.0.0/8", s)
		}
		p.nets = append(p.nets, prefix.Masked())
	}
	return p, nil
}

func (p Proxies) trusts(addr netip.Addr) bool {
	for _, n := range p.nets {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// ClientAddr gives the address of a request's client: that of the peer or, if
// the peer is a trusted proxy, the last one in X-Forwarded-For that no trusted
// proxy has. What stands before an address that is not trusted, or cannot be
// read, may be made up and is not looked at. The zero Addr if the peer has
// none.
func (p Proxies) ClientAddr(r *http.Request) netip.Addr {
	client, ok := hopAddr(r.RemoteAddr)
	if !ok || !p.trusts(client) {
		return client
	}
	values := r.Header.Values("X-Forwarded-For")
	for i := len(values) - 1; i >= 0; i-- {
		for hops := values[i]; hops != ""; {
			var hop string
			if at := strings.LastIndexByte(hops, ','); at >= 0 {
				hops, hop = hops[:at], hops[at+1:]
			} else {
				hops, hop = "", hops
			}
			addr, ok := hopAddr(strings.TrimSpace(hop))
			if !ok {
				return client
			}
			if client = addr; !p.trusts(addr) {
				return client
			}
		}
	}
	return client
}

// hopAddr reads an address, with or without a port.
func hopAddr(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap().WithZone(""), true
}
