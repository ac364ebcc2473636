package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"crier/internal/bench/limit"
)

// TestMain is the tests, or the limit that they start.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != LimitCommand {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := limit.Run(ctx, limit.Config{Together: len(os.Args) > 2}, func(address string) { fmt.Println(address) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
