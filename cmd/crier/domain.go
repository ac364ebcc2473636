package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"crier/internal/config"
	"crier/internal/engine"
)

// domainCmd is crier domain.
type domainCmd struct {
	Create   domainCreateCmd `cmd:"" help:"Make a domain."`
	List     domainListCmd   `cmd:"" help:"List domains."`
	Set      domainSetCmd    `cmd:"" help:"Change a domain's settings."`
	Delete   domainDeleteCmd `cmd:"" help:"Delete a domain with all its messages and keys."`
	NewEpoch newEpochCmd     `cmd:"" help:"Begin a new epoch, after a restore from backup: cursors from after the backup are then told a gap instead of matching other messages."`
}

// settingsFlags are the settings of a domain.
type settingsFlags struct {
	Durability     string `help:"What an acknowledged publish survives: fsync (power loss), async (a crash of the process), memory (nothing); or default, the server's." placeholder:"HOW" enum:",fsync,async,memory,default" default:""`
	RetentionAge   string `help:"How long messages are kept, such as 7d or 12h; or default." placeholder:"TIME"`
	RetentionBytes string `help:"How many bytes of data and topics are kept, such as 1GiB; or default." placeholder:"SIZE"`
}

// change makes of the flags what is to be set.
func (f *settingsFlags) change() (settingsChange, error) {
	s := settingsChange{}
	switch f.Durability {
	case "":
	case "default":
		s["durability"] = nil
	default:
		if _, err := engine.ParseDurability(f.Durability); err != nil {
			return nil, usageError{err}
		}
		s["durability"] = f.Durability
	}
	switch f.RetentionAge {
	case "":
	case "default":
		s["retentionAge"] = nil
	default:
		age, err := config.ParseDuration(f.RetentionAge)
		if err != nil {
			return nil, usagef("--retention-age: %w", err)
		}
		s["retentionAge"] = age.String()
	}
	switch f.RetentionBytes {
	case "":
	case "default":
		s["retentionBytes"] = nil
	default:
		var size config.Size
		if err := size.UnmarshalText([]byte(f.RetentionBytes)); err != nil {
			return nil, usagef("--retention-bytes: %w", err)
		}
		s["retentionBytes"] = int64(size)
	}
	return s, nil
}

// domainCreateCmd is crier domain create.
type domainCreateCmd struct {
	manageFlags
	settingsFlags
	Name string `arg:"" help:"Name: up to 64 of A-Z a-z 0-9 . _ -"`
}

// Run makes the domain.
func (c *domainCreateCmd) Run(ctx context.Context, std *streams) error {
	s, err := c.change()
	if err != nil {
		return err
	}
	return c.manage(ctx, std, true, func(m manager) error {
		d, err := m.createDomain(ctx, c.Name, s)
		if err != nil {
			return fmt.Errorf("create domain %s: %w", c.Name, err)
		}
		return c.print(std, d, "created")
	})
}

// print tells what became of a domain.
func (f *manageFlags) print(std *streams, d domainInfo, what string) error {
	if f.JSON {
		return printLine(std.out, d)
	}
	_, err := fmt.Fprintf(std.out, "%s %s: %s\n", what, d.Name, d.settings())
	return err
}

// settings says what holds for a domain; what was set for it alone is marked
// as such when that is all that is known.
func (d *domainInfo) settings() string {
	durability, age, size := d.Durability, d.RetentionAge, d.RetentionBytes
	if d.Own != nil {
		durability, age, size = cmp.Or(durability, d.Own.Durability), cmp.Or(age, d.Own.RetentionAge), cmp.Or(size, d.Own.RetentionBytes)
	}
	bytes := "default"
	if size != 0 {
		bytes = config.Size(size).String()
	}
	return fmt.Sprintf("durability %s, retention %s and %s", cmp.Or(durability, "default"), cmp.Or(inDays(age), "default"), bytes)
}

// inDays writes a duration of whole days as such.
func inDays(age string) string {
	const day = 24 * time.Hour
	if d, err := time.ParseDuration(age); err == nil && d >= day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return age
}

// domainListCmd is crier domain list.
type domainListCmd struct {
	manageFlags
}

// Run prints a line for each domain.
func (c *domainListCmd) Run(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		domains, err := m.domains(ctx)
		if err != nil {
			return fmt.Errorf("list domains: %w", err)
		}
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(w, "NAME\tMESSAGES\tBYTES\tSUBSCRIPTIONS\tSETTINGS")
		}
		for _, d := range domains {
			if c.JSON {
				if err := printLine(std.out, d); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Name, number(d.Messages), number(d.Bytes), number(d.Subscriptions), d.settings())
		}
		return w.Flush()
	})
}

// number is a count, if it is known.
func number[T int | int64](n *T) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(int64(*n), 10)
}

// domainSetCmd is crier domain set.
type domainSetCmd struct {
	manageFlags
	settingsFlags
	Name string `arg:"" help:"Name of the domain."`
}

// Run changes the settings that are given.
func (c *domainSetCmd) Run(ctx context.Context, std *streams) error {
	s, err := c.change()
	if err != nil {
		return err
	}
	if len(s) == 0 {
		return usagef("nothing to set: give --durability, --retention-age or --retention-bytes")
	}
	return c.manage(ctx, std, false, func(m manager) error {
		d, err := m.setDomain(ctx, c.Name, s)
		if err != nil {
			return fmt.Errorf("change domain %s: %w", c.Name, err)
		}
		return c.print(std, d, "changed")
	})
}

// domainDeleteCmd is crier domain delete.
type domainDeleteCmd struct {
	manageFlags
	Name string `arg:"" help:"Name of the domain."`
	Yes  bool   `help:"Don't ask." short:"y"`
}

// Run asks, and deletes.
func (c *domainDeleteCmd) Run(ctx context.Context, std *streams) error {
	if c.Name == "main" {
		return errors.New("the domain main cannot be deleted")
	}
	if !c.Yes {
		fmt.Fprintf(std.err, "Delete domain %s with all its messages, and revoke its keys? Type its name: ", c.Name)
		answer, err := bufio.NewReader(io.LimitReader(std.in, 1024)).ReadString('\n')
		if strings.TrimSpace(answer) != c.Name {
			if err == io.EOF {
				fmt.Fprintln(std.err)
			}
			return errors.New("nothing was deleted: that was not its name")
		}
	}
	return c.manage(ctx, std, false, func(m manager) error {
		if err := m.deleteDomain(ctx, c.Name); err != nil {
			return fmt.Errorf("delete domain %s: %w", c.Name, err)
		}
		if c.JSON {
			return printLine(std.out, map[string]string{"deleted": c.Name})
		}
		_, err := fmt.Fprintf(std.out, "deleted %s\n", c.Name)
		return err
	})
}

// newEpochCmd is crier domain new-epoch.
type newEpochCmd struct {
	manageFlags
	Name string `arg:"" help:"Name of the domain."`
}

// Run begins the epoch.
func (c *newEpochCmd) Run(ctx context.Context, std *streams) error {
	return c.manage(ctx, std, false, func(m manager) error {
		e, err := m.newEpoch(ctx, c.Name)
		if err != nil {
			return fmt.Errorf("begin a new epoch in domain %s: %w", c.Name, err)
		}
		if c.JSON {
			return printLine(std.out, e)
		}
		_, err = fmt.Fprintf(std.out, "epoch %s of %s begins after %s\n", e.Epoch, c.Name, e.Head)
		return err
	})
}
