package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// keyCmd is crier key.
type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make a key and print its secret, once. The first key closes a server that was open."`
	List   keyListCmd   `cmd:"" help:"List keys."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke keys for good; their connections end within a second."`
}

// keyCreateCmd is crier key create.
type keyCreateCmd struct {
	manageFlags
	Domain    string   `help:"Domain of the key." default:"main" placeholder:"NAME" env:"CRIER_DOMAIN"`
	Publish   []string `help:"Pattern of topics that it may publish to; repeat for more." sep:"none" placeholder:"PATTERN"`
	Subscribe []string `help:"Pattern of topics that it may subscribe to; repeat for more." sep:"none" placeholder:"PATTERN"`
	Manage    bool     `help:"It may manage the domain: its topics, keys and connections."`
	Name      string   `help:"What it is for, for people." placeholder:"NAME"`
	WSPubSub  bool     `name:"wspubsub" help:"A key of wspubsub instead: for publishing to --domain by its clients, at /ws/pub/."`
	Expires   string   `help:"When it ends: a time (2030-01-31T00:00:00Z), or how long from now (90d, 12h). Unless given, never." placeholder:"TIME"`
}

// Run prints the secret on stdout and all else on stderr, so that a script can
// take it.
func (c *keyCreateCmd) Run(ctx context.Context, std *streams) error {
	if c.WSPubSub {
		return c.createPubSub(ctx, std)
	}
	if len(c.Publish)+len(c.Subscribe) == 0 && !c.Manage {
		return usagef("the key would be good for nothing: give at least one of --publish, --subscribe, --manage")
	}
	if _, err := expiry(c.Expires, time.Now()); err != nil {
		return err
	}
	for _, texts := range [][]string{c.Publish, c.Subscribe} {
		if _, err := patterns(texts); err != nil {
			return err
		}
	}
	return c.manage(ctx, std, true, func(m manager) error {
		k, err := m.createKey(ctx, keyRequest{
			Name: c.Name, Domain: c.Domain, Publish: c.Publish, Subscribe: c.Subscribe, Manage: c.Manage, Expires: c.Expires,
		})
		if err != nil {
			return fmt.Errorf("create key: %w", err)
		}
		if c.JSON {
			return printLine(std.out, k)
		}
		std.note("key %s in domain %s may %s; expires %s. This is its secret, shown this once:", k.ID, k.Domain, k.grants(), when(k.Expires, "never"))
		_, err = fmt.Fprintln(std.out, k.Secret)
		return err
	})
}

// grants says what a key may do.
func (k *keyInfo) grants() string {
	var all []string
	for _, g := range []struct {
		verb     string
		patterns []string
	}{{"publish", k.Publish}, {"subscribe", k.Subscribe}, {"manage", k.Manage}} {
		if len(g.patterns) > 0 {
			all = append(all, g.verb+" "+strings.Join(g.patterns, " "))
		}
	}
	return strings.Join(all, ", ")
}

// when is a time for people.
func when(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.Local().Format("2006-01-02 15:04")
}

// keyListCmd is crier key list.
type keyListCmd struct {
	manageFlags
	Domain   string `help:"Only keys of this domain." placeholder:"NAME"`
	WSPubSub bool   `name:"wspubsub" help:"Keys of wspubsub instead."`
}

// Run prints a line for each key, those that ended too.
func (c *keyListCmd) Run(ctx context.Context, std *streams) error {
	if c.WSPubSub {
		return c.listPubSub(ctx, std)
	}
	return c.manage(ctx, std, false, func(m manager) error {
		keys, err := m.keys(ctx, c.Domain)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		if c.JSON {
			for _, k := range keys {
				if err := printLine(std.out, k); err != nil {
					return err
				}
			}
			return nil
		}
		if len(keys) == 0 {
			std.note("there are no keys")
			return nil
		}
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tDOMAIN\tSTATE\tMAY\tEXPIRES\tLAST USED")
		for _, k := range keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Domain, k.State, k.grants(), when(k.Expires, "never"), when(k.LastUsed, "never"))
		}
		return w.Flush()
	})
}

// keyRevokeCmd is crier key revoke.
type keyRevokeCmd struct {
	manageFlags
	IDs      []string `arg:"" name:"id" help:"Ids of keys, as crier key list shows them."`
	WSPubSub bool     `name:"wspubsub" help:"They are keys of wspubsub."`
}

// Run revokes them all, and tells of each that failed.
func (c *keyRevokeCmd) Run(ctx context.Context, std *streams) error {
	if c.WSPubSub {
		return c.revokePubSub(ctx, std)
	}
	for _, id := range c.IDs {
		if strings.HasPrefix(id, "crier_") {
			return usagef("that is a secret, not an id: the id is what stands in it between the first two underscores")
		}
	}
	return c.manage(ctx, std, false, func(m manager) error {
		var failed []error
		for _, id := range c.IDs {
			k, err := m.revokeKey(ctx, id)
			if err == nil && c.JSON {
				err = printLine(std.out, k)
			} else if err == nil {
				_, err = fmt.Fprintf(std.out, "revoked %s %s\n", k.ID, k.Name)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("revoke key %s: %w", id, err))
			}
		}
		return errors.Join(failed...)
	})
}
