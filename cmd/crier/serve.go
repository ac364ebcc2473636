package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"crier/internal/config"
	"crier/internal/server"
)

// serveCmd is crier serve: settings in, a server until a signal.
type serveCmd struct {
	config.Serve
}

// BeforeResolve has the configuration file stand behind flags and environment.
func (c *serveCmd) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	path := os.Getenv("CRIER_CONFIG")
	for _, p := range ctx.Path {
		if p.Flag != nil && p.Flag.Name == "config" {
			path = ctx.FlagValue(p.Flag).(string)
		}
	}
	if path == "" {
		return nil
	}
	known := map[string]bool{}
	for _, f := range trace.Node().Flags {
		known[f.Name] = f.Name != "config" && f.Name != "help"
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	defer file.Close()
	settings, err := config.ReadFile(file, func(name string) bool { return known[name] })
	if err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
		for _, name := range f.Envs {
			if _, set := os.LookupEnv(name); set {
				return nil, nil // the environment is stronger
			}
		}
		values := settings[f.Name]
		if len(values) == 0 {
			return nil, nil
		}
		return strings.Join(values, ","), nil
	}))
	return nil
}

// Run serves until SIGTERM or an interrupt; a second one ends at once.
func (c *serveCmd) Run() error {
	if err := c.Validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return server.Run(ctx, c.Serve, version(), logger(c.LogLevel, c.LogFormat))
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
