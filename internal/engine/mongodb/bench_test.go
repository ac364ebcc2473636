//go:build mongodb

package mongodb_test

import (
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/enginetest"
	"crier/internal/engine/mongodb/mongotest"
)

func BenchmarkLog(b *testing.B) {
	enginetest.Bench(b, harness(mongotest.Find(b), engine.Fsync, true, engine.Fsync))
}
