package mongodb_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/enginetest"
	"crier/internal/engine/mongodb"
	"crier/internal/engine/mongodb/mongotest"
)

// harness says how engines are opened. A crash takes the server with it, as
// far as its run's name goes, so that what asks for that is asked.
func harness(s *mongotest.Server, vouched engine.Durability, reopens bool, ds ...engine.Durability) enginetest.Harness {
	return enginetest.Harness{
		New: func(t testing.TB, now func() time.Time) enginetest.Store {
			url := s.Database(t)
			var runs atomic.Int64
			return enginetest.Store{
				Open: func(t testing.TB) engine.Engine {
					t.Helper()
					e, err := mongodb.Open(t.Context(), mongodb.Config{
						URL: url, Durability: vouched, Now: now,
						Run: func() string { return fmt.Sprint("run ", runs.Load()) },
					})
					if err != nil {
						t.Fatal(err)
					}
					return e
				},
				Crash: func(t testing.TB, e engine.Engine) {
					e.(*mongodb.Engine).Abandon()
					runs.Add(1)
				},
			}
		},
		Durabilities: ds,
		Clock:        true,
		Reopens:      reopens,
		Several:      true,
		Parallel:     true,
		Seeds:        5,
	}
}

// shared is the server of all tests of this package.
var shared mongotest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

func TestLog(t *testing.T) {
	t.Parallel()
	enginetest.RunLog(t, harness(shared.Find(t), engine.Fsync, true, engine.Fsync, engine.Async))
}

// TestLogNothingVouched: of a FerretDB of which nobody says how durable it is,
// no more is claimed than memory.
func TestLogNothingVouched(t *testing.T) {
	if testing.Short() {
		t.Skip("what is claimed differs, little else")
	}
	t.Parallel()
	enginetest.RunLog(t, harness(mongotest.Ferret(t), "", false, engine.Memory))
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	enginetest.RunRegistry(t, harness(shared.Find(t), engine.Fsync, true, engine.Fsync))
}
