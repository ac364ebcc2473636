package embedded

import "crier/internal/seglog"

// FileSystem is what the engine works on.
func (e *Engine) FileSystem() seglog.FS { return e.fs }

// Abandon ends the engine as kill -9 would. Its file system must let nothing
// through any more, because its goroutines still run for a moment.
func (e *Engine) Abandon() {
	_ = e.registry.Close()
	_ = e.lock.Close()
	go func() { _ = e.Close() }()
}
