package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
)

// What crier key does with --wspubsub: keys of another kind, each good for
// publishing to one domain by its clients.

func (c *keyCreateCmd) createPubSub(ctx context.Context, std *streams) error {
	if len(c.Publish)+len(c.Subscribe) > 0 || c.Manage || c.Expires != "" {
		return usagef("a key of wspubsub is good for publishing to its domain and nothing else: leave out --publish, --subscribe, --manage and --expires")
	}
	return c.manage(ctx, std, true, func(m manager) error {
		k, err := m.createPubSubKey(ctx, c.Domain, c.Name)
		if err != nil {
			return fmt.Errorf("create key: %w", err)
		}
		if c.JSON {
			return printLine(std.out, k)
		}
		std.note("key %s publishes at /ws/pub/<key>/%s/<topic>. This is it, shown this once:", k.ID, k.Domain)
		_, err = fmt.Fprintln(std.out, k.Secret)
		return err
	})
}

func (c *keyListCmd) listPubSub(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		all, err := m.pubsubKeys(ctx, c.Domain)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		if !c.JSON && len(all) == 0 {
			std.note("there are no keys of wspubsub")
			return nil
		}
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "ID\tNAME\tDOMAIN\tSTATE\tCREATED")
		}
		for _, k := range all {
			if c.JSON {
				if err := printLine(std.out, k); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Domain, k.State, when(k.Created, "-"))
		}
		return w.Flush()
	})
}

func (c *keyRevokeCmd) revokePubSub(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		var failed []error
		for _, id := range c.IDs {
			k, err := m.revokePubSubKey(ctx, id)
			if err == nil && c.JSON {
				err = printLine(std.out, k)
			} else if err == nil {
				_, err = fmt.Fprintf(std.out, "revoked %s %s\n", k.ID, k.Name)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("revoke key %.16s: %w", id, err))
			}
		}
		return errors.Join(failed...)
	})
}
