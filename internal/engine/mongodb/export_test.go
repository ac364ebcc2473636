package mongodb

import "context"

// Abandon has nothing of the engine reach the server any more, as kill -9
// would: what is under way ends first.
func (e *Engine) Abandon() {
	e.gate.Lock()
	e.abandoned = true
	e.gate.Unlock()
	_ = e.Close()
}

// Hold keeps a log from inserting anything until it is released.
func (l *Log) Hold() (release func()) {
	l.writing <- struct{}{}
	return func() { <-l.writing }
}

// Checkpoint writes a checkpoint and deletes what is old of what it stands
// for.
func (l *Log) Checkpoint(ctx context.Context) error { return l.checkpoint(ctx) }
