package mongodb_test

import (
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/enginetest"
)

func BenchmarkLog(b *testing.B) {
	enginetest.Bench(b, harness(shared.Find(b), engine.Fsync, true, engine.Fsync))
}
