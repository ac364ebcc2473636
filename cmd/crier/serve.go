package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"crier/internal/config"
	"crier/internal/server"
)

// serveCmd is crier serve: settings in, a server until a signal.
type serveCmd struct {
	config.Serve
	ancestors map[string]config.Ancestor // settings that only names of other systems say
}

// BeforeResolve has the configuration file stand behind flags and environment,
// and behind that what the environment names of the systems before Crier say.
func (c *serveCmd) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path, from origins) error {
	path := os.Getenv("CRIER_CONFIG")
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == "config" {
			path = ctx.FlagValue(p.Flag).(string)
		}
	}
	settings, err := readSettings(path, trace)
	if err != nil {
		return err
	}
	ancestors := map[string]config.Ancestor{}
	for _, a := range config.Ancestors(os.LookupEnv) {
		ancestors[a.Setting] = a
	}
	c.ancestors = map[string]config.Ancestor{}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
		for _, name := range f.Envs {
			if _, set := os.LookupEnv(name); set {
				return nil, nil // the environment is stronger
			}
		}
		values := settings[f.Name]
		if len(values) > 0 {
			from[f.Name] = "is set in the configuration file " + path
		}
		if a, said := ancestors[f.Name]; said && len(values) == 0 {
			values = a.Values
			c.ancestors[f.Name] = a
			from[f.Name] = "is taken from " + strings.Join(a.Names, " and ")
		}
		if len(values) == 0 {
			return nil, nil
		}
		return strings.Join(values, ","), nil
	}))
	return nil
}

// readSettings reads a configuration file; no path: none.
func readSettings(path string, trace *kong.Path) (config.File, error) {
	if path == "" {
		return nil, nil
	}
	known, lists := map[string]bool{}, map[string]bool{}
	for _, f := range trace.Node().Flags {
		known[f.Name] = f.Name != "config" && f.Name != "help"
		lists[f.Name] = f.IsSlice()
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	defer file.Close()
	settings, err := config.ReadFile(file, func(name string) bool { return known[name] })
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if n := len(settings[name]); n > 1 && !lists[name] {
			return nil, fmt.Errorf("configuration file %s: %s is set %d times; keep one", path, name, n)
		}
	}
	return settings, nil
}

// origins says of settings that are on no command line where they were said.
type origins map[string]string

// tell names the origin of the first setting that an error names: it is a
// flag there, which nobody wrote.
func (o origins) tell(std *streams, err error) {
	for _, name := range flagNames.FindAllStringSubmatch(err.Error(), -1) {
		if where, ok := o[name[1]]; ok {
			std.note("--%s %s", name[1], where)
			return
		}
	}
}

var flagNames = regexp.MustCompile(`--([a-z][a-z-]*)`)

// Run serves until SIGTERM or an interrupt; a second one ends at once.
func (c *serveCmd) Run() error {
	if err := c.Validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	log := logger(c.LogLevel, c.LogFormat)
	for setting, a := range c.ancestors {
		log.Info("a setting is taken from names of the system before", "setting", setting, "names", strings.Join(a.Names, " "))
	}
	return server.Run(ctx, c.Serve, version(), log)
}

// logger writes to stderr.
func logger(level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // kong let only these through
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
