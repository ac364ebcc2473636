package config

import (
	"net"
	"slices"
)

// Ancestor is a setting as environment names of a system before Crier say it.
type Ancestor struct {
	Setting string   // the flag's name
	Values  []string // in its order
	Names   []string // of the environment, that it was made of
}

// Ancestors reads the environment names of the systems before Crier. What they
// say counts only where nothing else is said.
func Ancestors(env func(name string) (value string, set bool)) []Ancestor {
	var all []Ancestor
	one := func(setting, name string) {
		if v, ok := env(name); ok && v != "" {
			all = append(all, Ancestor{setting, []string{v}, []string{name}})
		}
	}
	one("redis", "REDIS_URI")
	one("mongodb", "MONGODB_URI")
	one("auth-token", "AUTH_TOKEN")
	one("realizehit-prefix", "SERVER_API_PREFIX")
	a := realizehitListen(env)
	if len(a.Names) == 0 {
		a.Values = nil
	}
	if port, ok := env("PORT"); ok && port != "" { // of a Pushcart
		if addr := net.JoinHostPort("127.0.0.1", port); !slices.Contains(a.Values, addr) {
			a.Values = append(a.Values, addr)
		}
		a.Names = append(a.Names, "PORT")
	}
	if len(a.Names) > 0 {
		all = append(all, a)
	}
	return all
}

// realizehitListen is where a realizehit listened: for sockets, and, if the
// port is another, for publishers. Here both ports serve everything.
func realizehitListen(env func(string) (string, bool)) Ancestor {
	a := Ancestor{Setting: "listen"}
	first := func(fallback string, names ...string) string {
		for _, name := range names {
			if v, ok := env(name); ok && v != "" {
				if !slices.Contains(a.Names, name) {
					a.Names = append(a.Names, name)
				}
				return v
			}
		}
		return fallback
	}
	host := first("127.0.0.1", "SERVER_HOST")
	for _, port := range []string{
		first("8080", "SERVER_WS_PORT", "SERVER_PORT"),
		first("8080", "SERVER_API_PORT", "SERVER_PORT"),
	} {
		if addr := net.JoinHostPort(host, port); !slices.Contains(a.Values, addr) {
			a.Values = append(a.Values, addr)
		}
	}
	return a
}
