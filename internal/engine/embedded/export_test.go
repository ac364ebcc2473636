package embedded

import (
	"context"

	"crier/internal/engine"
	"crier/internal/seglog"
)

// FileSystem is what the engine works on.
func (e *Engine) FileSystem() seglog.FS { return e.fs }

// Abandon ends the engine as kill -9 would. Its file system must let nothing
// through any more, because its goroutines still run for a moment.
func (e *Engine) Abandon() {
	_ = e.registry.Close()
	_ = e.lock.Close()
	go func() { _ = e.Close() }()
}

// AppendQueued appends a block as one that was queued as fsync before its log
// became async.
func AppendQueued(ctx context.Context, opened engine.Log, b engine.Block) (engine.Receipt, error) {
	l := opened.(*Log)
	size, err := checkBlock(b)
	if err != nil {
		return engine.Receipt{}, err
	}
	r := l.request(b, size, nil)
	if err := l.engine.commit.submit(ctx, r); err != nil {
		return engine.Receipt{}, err
	}
	<-r.done
	return r.end()
}

// PassJournal has the journal look now for what it can give up.
func (e *Engine) PassJournal() error { return e.journal.pass() }
