package embedded

import (
	"crier/internal/engine"
)

var _ engine.Starter = (*Log)(nil)

// Start implements [engine.Starter]. With durability fsync the committer has
// the block then; with async it is appended at once, if that is a write at the
// end of an open file and nobody else is at it.
func (l *Log) Start(b engine.Block, done func(engine.Receipt, error)) bool {
	size, err := checkBlock(b)
	if err != nil {
		return false // Append says why
	}
	if l.fsync.Load() {
		r := l.request(b, size, done)
		if l.engine.commit.trySubmit(r) {
			return true
		}
		r.forget()
		return false
	}
	if !l.writeMu.TryLock() {
		return false
	}
	defer l.writeMu.Unlock()
	if l.closed || l.fsync.Load() || !l.mended() || l.engine.control.doubtful.Load() || l.seg.Tag() != l.tag() || l.large() || !l.seg.Fits(int64(size)) {
		return false
	}
	one := [1]*request{l.request(b, size, done)}
	if err := l.write(one[:], false, nil); err != nil {
		l.answer(one[:], err)
		return true
	}
	l.publish(one[:])
	if l.added > 0 {
		l.engine.syncer.mark(l)
	}
	return true
}

func (l *Log) request(b engine.Block, size int, done func(engine.Receipt, error)) *request {
	r := l.engine.requests.Get().(*request)
	r.log, r.block, r.size, r.tell = l, b, size, done
	return r
}

// forget gives a request back that is over, or was never begun.
func (r *request) forget() {
	pool := &r.log.engine.requests
	*r = request{done: r.done}
	pool.Put(r)
}
