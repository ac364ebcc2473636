package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"crier/internal/dialect/pushcart/account"
)

// addAppCmd is crier addapp.
type addAppCmd struct {
	manageFlags
	Name *string `help:"The app's name; unless given, it is asked for." placeholder:"NAME"`
}

// Run makes an app. It asks for what no flag says, also when the input is no
// terminal.
func (c *addAppCmd) Run(ctx context.Context, std *streams) error {
	ask := &questions{std: std, in: bufio.NewReaderSize(std.in, maxAnswerLine)}
	name, err := ask.unless(c.Name, "Name: ")
	if err != nil {
		return err
	}
	if name == "" {
		return usagef("an app needs a name")
	}
	return c.add(ctx, std, account.App, accountRequest{Name: name})
}

// addClientCmd is crier addclient.
type addClientCmd struct {
	manageFlags
	Type *string `help:"What kind of client it is; unless given, it is asked for." placeholder:"TYPE"`
	Info *string `help:"More about it, a JSON object; may be empty. Unless this or --type is given, it is asked for." placeholder:"JSON"`
}

// Run makes a client.
func (c *addClientCmd) Run(ctx context.Context, std *streams) error {
	ask := &questions{std: std, in: bufio.NewReaderSize(std.in, maxAnswerLine)}
	kind, err := ask.unless(c.Type, "Type: ")
	if err != nil {
		return err
	}
	if c.Info == nil && c.Type != nil {
		c.Info = new(string) // a script that says its type has said all
	}
	info, err := ask.unless(c.Info, "Info: ")
	if err != nil {
		return err
	}
	r := accountRequest{Type: kind}
	if info != "" {
		var fields map[string]json.RawMessage
		if json.Unmarshal([]byte(info), &fields) != nil || fields == nil {
			return usagef("info is not a JSON object such as {\"platform\":\"ios\"}")
		}
		r.Info = json.RawMessage(info)
	}
	return c.add(ctx, std, account.Client, r)
}

// add makes an account and prints it as Pushcart did.
func (f *manageFlags) add(ctx context.Context, std *streams, k account.Kind, r accountRequest) error {
	return f.manage(ctx, std, true, func(m manager) error {
		made, err := m.createAccount(ctx, k, r)
		if err != nil {
			return fmt.Errorf("add %s: %w", k, err)
		}
		if f.JSON {
			return printLine(std.out, made)
		}
		_, err = fmt.Fprintf(std.out, "\nOK\nid: %s\ntoken: %s\n", made.ID, made.Token)
		return err
	})
}

// maxAnswerLine bounds the answer to a question.
const maxAnswerLine = account.MaxInfo + 1024

// questions are asked on stdout and answered, a line each, on stdin.
type questions struct {
	std *streams
	in  *bufio.Reader
}

// unless gives what a flag says, or asks.
func (q *questions) unless(flag *string, prompt string) (string, error) {
	if flag != nil {
		return strings.TrimSpace(*flag), nil
	}
	if _, err := io.WriteString(q.std.out, prompt); err != nil {
		return "", err
	}
	line, err := q.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", usagef("the answer to %q is longer than %d bytes", strings.TrimSpace(prompt), maxAnswerLine)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the answer to %q: %w", strings.TrimSpace(prompt), err)
	}
	return strings.TrimSpace(string(line)), nil
}

// appCmd is crier app.
type appCmd struct {
	List   appListCmd   `cmd:"" help:"List apps, revoked ones too."`
	Revoke appRevokeCmd `cmd:"" help:"Revoke apps for good; their messages stay."`
	Rotate appRotateCmd `cmd:"" help:"Give an app another token and print it, once; the old one ends."`
}

// clientCmd is crier client.
type clientCmd struct {
	List   clientListCmd   `cmd:"" help:"List clients, revoked ones too."`
	Revoke clientRevokeCmd `cmd:"" help:"Revoke clients for good."`
	Rotate clientRotateCmd `cmd:"" help:"Give a client another token and print it, once; the old one ends."`
}

type appListCmd struct{ manageFlags }

// Run prints a line for each app.
func (c *appListCmd) Run(ctx context.Context, std *streams) error {
	return c.listAccounts(ctx, std, account.App)
}

type clientListCmd struct{ manageFlags }

// Run prints a line for each client.
func (c *clientListCmd) Run(ctx context.Context, std *streams) error {
	return c.listAccounts(ctx, std, account.Client)
}

func (f *manageFlags) listAccounts(ctx context.Context, std *streams, k account.Kind) error {
	return f.manage(ctx, std, false, func(m manager) error {
		all, err := m.accounts(ctx, k)
		if err != nil {
			return fmt.Errorf("list %ss: %w", k, err)
		}
		if !f.JSON && len(all) == 0 {
			std.note("there are no %ss; crier add%s makes one", k, k)
			return nil
		}
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		if !f.JSON {
			fmt.Fprintln(w, map[account.Kind]string{account.App: "ID\tNAME\tSTATE\tMADE", account.Client: "ID\tTYPE\tSTATE\tMADE\tINFO"}[k])
		}
		for _, a := range all {
			if f.JSON {
				if err := printLine(std.out, a); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s", a.ID, a.Name+a.Type, a.State, when(a.Created, "-"))
			if k == account.Client {
				fmt.Fprintf(w, "\t%s", a.Info)
			}
			fmt.Fprintln(w)
		}
		return w.Flush()
	})
}

type appRevokeCmd struct {
	manageFlags
	IDs []string `arg:"" name:"id" help:"Ids of apps, as crier app list shows them."`
}

// Run revokes them all, and tells of each that failed.
func (c *appRevokeCmd) Run(ctx context.Context, std *streams) error {
	return c.revokeAccounts(ctx, std, account.App, c.IDs)
}

type clientRevokeCmd struct {
	manageFlags
	IDs []string `arg:"" name:"id" help:"Ids of clients, as crier client list shows them."`
}

// Run revokes them all, and tells of each that failed.
func (c *clientRevokeCmd) Run(ctx context.Context, std *streams) error {
	return c.revokeAccounts(ctx, std, account.Client, c.IDs)
}

func (f *manageFlags) revokeAccounts(ctx context.Context, std *streams, k account.Kind, ids []string) error {
	return f.manage(ctx, std, false, func(m manager) error {
		var failed []error
		for _, id := range ids {
			a, err := m.revokeAccount(ctx, k, id)
			if err == nil && f.JSON {
				err = printLine(std.out, a)
			} else if err == nil {
				_, err = fmt.Fprintf(std.out, "revoked %s %s\n", a.ID, a.Name+a.Type)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("revoke %s %s: %w", k, id, err))
			}
		}
		return errors.Join(failed...)
	})
}

type appRotateCmd struct {
	manageFlags
	ID string `arg:"" help:"Id of the app."`
}

// Run prints the app with its other token.
func (c *appRotateCmd) Run(ctx context.Context, std *streams) error {
	return c.rotate(ctx, std, account.App, c.ID)
}

type clientRotateCmd struct {
	manageFlags
	ID string `arg:"" help:"Id of the client."`
}

// Run prints the client with its other token.
func (c *clientRotateCmd) Run(ctx context.Context, std *streams) error {
	return c.rotate(ctx, std, account.Client, c.ID)
}

func (f *manageFlags) rotate(ctx context.Context, std *streams, k account.Kind, id string) error {
	return f.manage(ctx, std, false, func(m manager) error {
		a, err := m.rotateAccount(ctx, k, id)
		if err != nil {
			return fmt.Errorf("rotate token of %s %s: %w", k, id, err)
		}
		if f.JSON {
			return printLine(std.out, a)
		}
		_, err = fmt.Fprintf(std.out, "id: %s\ntoken: %s\n", a.ID, a.Token)
		return err
	})
}
