package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
)

// noticeCmd is crier notice.
type noticeCmd struct {
	Set    noticeSetCmd    `cmd:"" help:"Set a notice: every QRI listener is told now, every 30 seconds, and when it connects."`
	Get    noticeGetCmd    `cmd:"" help:"Print a notice that is set."`
	Delete noticeDeleteCmd `cmd:"" help:"Delete notices; every QRI listener is told."`
	List   noticeListCmd   `cmd:"" help:"List the notices that are set."`
}

// noticeSetCmd is crier notice set.
type noticeSetCmd struct {
	manageFlags
	Type    string `arg:"" help:"Three characters, such as 102."`
	Message string `arg:"" help:"Its text."`
}

// Run sets the notice.
func (c *noticeSetCmd) Run(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		n, err := m.setNotice(ctx, c.Type, c.Message)
		if err != nil {
			return fmt.Errorf("set notice %s: %w", c.Type, err)
		}
		if c.JSON {
			return printLine(std.out, n)
		}
		_, err = fmt.Fprintf(std.out, "set %s: %s\n", n.Type, n.Message)
		return err
	})
}

// noticeGetCmd is crier notice get.
type noticeGetCmd struct {
	manageFlags
	Type string `arg:"" help:"Three characters, such as 102."`
}

// Run prints the notice's text.
func (c *noticeGetCmd) Run(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		n, err := m.notice(ctx, c.Type)
		if err != nil {
			return fmt.Errorf("get notice %s: %w", c.Type, err)
		}
		if c.JSON {
			return printLine(std.out, n)
		}
		_, err = fmt.Fprintln(std.out, n.Message)
		return err
	})
}

// noticeDeleteCmd is crier notice delete.
type noticeDeleteCmd struct {
	manageFlags
	Types []string `arg:"" name:"type" help:"Types of notices."`
}

// Run deletes them all, and tells of each that failed.
func (c *noticeDeleteCmd) Run(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		var failed []error
		for _, typ := range c.Types {
			err := m.deleteNotice(ctx, typ)
			if err == nil && c.JSON {
				err = printLine(std.out, map[string]string{"deleted": typ})
			} else if err == nil {
				_, err = fmt.Fprintf(std.out, "deleted %s\n", typ)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("delete notice %s: %w", typ, err))
			}
		}
		return errors.Join(failed...)
	})
}

// noticeListCmd is crier notice list.
type noticeListCmd struct {
	manageFlags
}

// Run prints a line for each notice.
func (c *noticeListCmd) Run(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		all, err := m.notices(ctx)
		if err != nil {
			return fmt.Errorf("list notices: %w", err)
		}
		if !c.JSON && len(all) == 0 {
			std.note("no notices are set")
			return nil
		}
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "TYPE\tSET\tMESSAGE")
		}
		for _, n := range all {
			if c.JSON {
				if err := printLine(std.out, n); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%q\n", n.Type, when(n.Set, "-"), n.Message)
		}
		return w.Flush()
	})
}
