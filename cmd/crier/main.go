// Command crier is a push server and the commands that talk to it. Each
// command is a file: it parses, calls what does the work, and prints.
//
// Exit codes are 0 for success, 1 for a failure, 2 for a command line (or
// configuration file) that cannot be understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type root struct {
	Serve      serveCmd      `cmd:"" help:"Run the server."`
	Publish    publishCmd    `cmd:"" help:"Publish messages: an argument, a file, or stdin line by line."`
	Subscribe  subscribeCmd  `cmd:"" help:"Print messages as they come; resumes by itself."`
	Key        keyCmd        `cmd:"" help:"Make, list and revoke keys."`
	Notice     noticeCmd     `cmd:"" help:"Set, show and delete the notices that every QRI listener is told of."`
	AddApp     addAppCmd     `cmd:"" name:"addapp" help:"Make an app of Pushcart, which posts messages, and print its token, once."`
	AddClient  addClientCmd  `cmd:"" name:"addclient" help:"Make a client of Pushcart, which reads messages, and print its token, once."`
	App        appCmd        `cmd:"" help:"List, revoke and rotate apps of Pushcart."`
	Client     clientCmd     `cmd:"" help:"List, revoke and rotate clients of Pushcart."`
	Domain     domainCmd     `cmd:"" help:"Make, list, change and delete domains."`
	Bench      benchCmd      `cmd:"" help:"Measure a server: its own, or one that is given."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Limit      limitCmd      `cmd:"" name:"__limit" hidden:"" help:"Be what crier bench --reference compares with."`
	Complete   completeCmd   `cmd:"" name:"__complete" hidden:"" help:"List what can come next on a command line."`
}

func main() { os.Exit(run(os.Args[1:])) }

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// streams are where a command reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// note tells people something beside a command's output.
func (s *streams) note(format string, args ...any) {
	fmt.Fprintf(s.err, "crier: "+format+"\n", args...)
}

// usageError is a mistake on the command line that only the command itself can
// see.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func run(args []string) int {
	std := &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	from := origins{}
	parser, err := newParser(std, from)
	if err != nil {
		std.note("%v", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		std.note("%v", err)
		from.tell(std, err)
		std.note("try: crier%s --help", commandOf(err))
		return exitUsage
	}
	err = parsed.Run()
	if err == nil {
		return exitOK
	}
	std.note("%v", err)
	from.tell(std, err)
	if hint := hintFor(err); hint != "" {
		std.note("%s", hint)
	}
	if _, usage := errors.AsType[usageError](err); usage {
		return exitUsage
	}
	return exitFailed
}

func newParser(std *streams, from origins) (*kong.Kong, error) {
	model := &appModel{}
	parser, err := kong.New(&root{},
		kong.Name("crier"),
		kong.Description("A push server: say a thing once, and every browser, app and service that wants it hears it, live or after the fact."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.ValueFormatter(helpWithDefault),
		kong.Writers(std.out, std.err),
		kong.Bind(std, model, from),
		kong.BindSingletonProvider(interruptible),
	)
	if err != nil {
		return nil, err
	}
	model.Application = parser.Model
	return parser, nil
}

// helpWithDefault adds the default to a flag's help where a placeholder hides it.
func helpWithDefault(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag == nil || v.Flag.PlaceHolder == "" || v.Default == "" {
		return help
	}
	return help + " Default: " + v.Default
}

// interruptible gives the context of the commands that need one: it ends with
// the first interrupt or SIGTERM; a second one ends the process.
func interruptible() (context.Context, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, nil
}

// commandOf gives the command that a command line was for, as far as it got.
func commandOf(err error) string {
	parse, ok := errors.AsType[*kong.ParseError](err)
	if !ok || parse.Context == nil {
		return ""
	}
	path := ""
	for _, p := range parse.Context.Path {
		if p.Command != nil {
			path += " " + p.Command.Name
		}
	}
	return path
}
