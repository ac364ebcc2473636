package memory_test

import (
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/enginetest"
	"crier/internal/engine/memory"
)

func harness() enginetest.Harness {
	return enginetest.Harness{
		New: func(_ testing.TB, now func() time.Time) enginetest.Store {
			return enginetest.Store{Open: func(testing.TB) engine.Engine {
				return memory.New(memory.Config{Now: now})
			}}
		},
		Durabilities: []engine.Durability{engine.Memory},
		Clock:        true,
		Seeds:        60,
	}
}

func TestLog(t *testing.T) { enginetest.RunLog(t, harness()) }

func TestRegistry(t *testing.T) { enginetest.RunRegistry(t, harness()) }

func BenchmarkEngine(b *testing.B) { enginetest.Bench(b, harness()) }
