package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"crier/client"
)

// publicFlags are those of commands that talk to the public API.
type publicFlags struct {
	Server string `help:"Address of the server." default:"http://127.0.0.1:8080" placeholder:"URL" env:"CRIER_SERVER" group:"Server"`
	Token  string `help:"Key or JWT; not needed while the server is open." placeholder:"TOKEN" env:"CRIER_TOKEN" group:"Server"`
	Domain string `help:"Domain." default:"main" placeholder:"NAME" env:"CRIER_DOMAIN" group:"Server"`
}

// client makes the client; tries of what may pass are few, since somebody
// waits, and told.
func (f *publicFlags) client(std *streams) (*client.Client, error) {
	token := strings.TrimSpace(f.Token) // of a file it has the end of a line
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, usagef("--token has a blank, or another character that no key or JWT has; was it copied whole, and alone?")
	}
	c, err := client.New(f.Server, client.WithToken(token), client.WithUserAgent("crier/"+version()),
		client.WithRetry(client.Retry{Tries: 5, Notify: func(err error, wait time.Duration) {
			std.note("%v; trying again in %v", err, rounded(wait))
		}}))
	if err != nil {
		return nil, usagef("--server: %w", err)
	}
	return c, nil
}

// rounded is a time to wait, for people.
func rounded(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

// unanswered is a failure to reach the operator's listener.
type unanswered struct{ error }

func (u unanswered) Unwrap() error { return u.error }

// hintFor says what to try after an error, if that is known.
func hintFor(err error) string {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		switch p.Status {
		case 401:
			return "give a key that is good with --token or CRIER_TOKEN; crier key create makes one (management takes --admin-token, or the file in --data-dir)"
		case 403:
			return "crier key list shows what each key may do"
		case 503:
			return "the server's log, and /v1/status on its operator's listener, say why"
		}
		return ""
	}
	if _, ok := errors.AsType[unanswered](err); ok {
		return "crier serve starts a server; --admin or CRIER_ADMIN names the operator's listener of one that runs"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return "crier serve starts a server; --server or CRIER_SERVER names one that runs"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the name %q is not known here", dns.Name)
	}
	return ""
}
