package transport_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"crier/internal/transport"
)

type toldOwner chan error

func (o toldOwner) End(cause error) {
	select {
	case o <- cause:
	default:
	}
}

// Whenever a connection is ended while it is given to an owner, either its
// context says so or the owner is told.
func TestEndWhileDetaching(t *testing.T) {
	table := transport.NewTable(0, nil, nil)
	for i := range 20_000 {
		c, err := table.Open(context.Background(), transport.Info{Transport: "sse"})
		if err != nil {
			t.Fatal(err)
		}
		told := make(toldOwner, 1)
		var both sync.WaitGroup
		var ready, begin atomic.Bool
		both.Go(func() {
			ready.Store(true)
			for !begin.Load() {
			}
			c.End(transport.ErrKicked)
		})
		for !ready.Load() {
			runtime.Gosched()
		}
		begin.Store(true)
		for range i % 50 { // so that all interleavings have their chance
			begin.Load()
		}
		c.Detach(told)
		both.Wait()
		select {
		case cause := <-told:
			if !errors.Is(cause, transport.ErrKicked) {
				t.Fatalf("told %v", cause)
			}
		default:
			t.Fatal("the owner was not told")
		}
		c.Release()
	}
}
