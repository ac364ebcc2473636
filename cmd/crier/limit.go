package main

import (
	"context"
	"fmt"
	"io"

	"crier/internal/bench/limit"
)

// limitCmd is the process that crier bench --reference starts.
type limitCmd struct {
	Together bool `help:"Put all that waits for a subscriber into one write."`
}

// Run serves until standard input ends, that is with the process that started it.
func (c *limitCmd) Run(ctx context.Context, std *streams) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with standard input, or the process
		defer cancel()
		_, _ = io.Copy(io.Discard, std.in)
	}()
	return limit.Run(ctx, limit.Config{Together: c.Together}, func(address string) { fmt.Fprintln(std.out, address) })
}
