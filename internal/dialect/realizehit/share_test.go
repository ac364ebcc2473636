package realizehit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/dialect/realizehit"
)

// A node that listens learns that it does not any more, also if its lease ran
// out before it heard that another has it; and so does one that waits to listen
// again.
func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := realizehit.NewLease()
		l.Until(time.Now().Add(time.Second))
		lost := l.Lost()
		time.Sleep(2 * time.Second) // the registry is away
		l.Until(time.Time{})        // another has it
		select {
		case <-lost:
		default:
			t.Error("it listens on")
		}
		l.Until(time.Now().Add(time.Second))
		time.Sleep(2 * time.Second)
		again := make(chan bool)
		go func() { again <- l.Await(t.Context()) }()
		synctest.Wait()
		l.Until(time.Now().Add(time.Second))
		if !<-again {
			t.Error("it does not listen again")
		}
	})
}
