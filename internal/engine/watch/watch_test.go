package watch_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"crier/internal/engine/watch"
)

func TestChangesAreToldByKindAndCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s watch.Set
		defer s.Close()
		var keys, apps atomic.Int32
		gate := make(chan struct{})
		s.Add("key", func() { keys.Add(1); <-gate })
		s.Add("app", func() { apps.Add(1) })

		s.Changed("key")
		synctest.Wait() // the watcher is at the gate
		for range 100 {
			s.Changed("key")
		}
		s.Changed("nobody watches this")
		close(gate)
		synctest.Wait()
		if got := keys.Load(); got != 2 {
			t.Errorf("a change, then 100 while it was told: told %d times, want 2", got)
		}
		if got := apps.Load(); got != 0 {
			t.Errorf("the watcher of another kind was told %d times", got)
		}
		s.Changed("app")
		synctest.Wait()
		if got := apps.Load(); got != 1 {
			t.Errorf("told %d times, want 1", got)
		}
	})
}

func TestStopWaitsForTheCallUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s watch.Set
		defer s.Close()
		gate, stopped := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		stop := s.Add("key", func() { calls.Add(1); <-gate })
		s.Changed("key")
		synctest.Wait()
		go func() { stop(); close(stopped) }()
		select {
		case <-stopped:
			t.Error("stop returned while the function was running")
		default:
		}
		close(gate)
		<-stopped
		s.Changed("key")
		synctest.Wait()
		if got := calls.Load(); got != 1 {
			t.Errorf("told %d times, want only the one before stop", got)
		}
		stop() // twice is once
	})
}

func TestCloseEndsAllAndLaterCallsDoNothing(t *testing.T) {
	var s watch.Set
	var calls atomic.Int32
	for range 8 {
		s.Add("key", func() { calls.Add(1) })
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				s.Changed("key")
			}
		})
	}
	s.Close()
	after := calls.Load()
	wg.Wait()
	s.Changed("key")
	s.Add("key", func() { calls.Add(1) })()
	if got := calls.Load(); got != after {
		t.Errorf("told %d times after Close returned", got-after)
	}
	s.Close()
}
