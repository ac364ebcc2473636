package seglog

import (
	"errors"
	"fmt"
)

// Sync makes everything durable that was written when it began. If that
// fails, everything that is not synced yet is taken out of the log (also what
// was written meanwhile): a [RollbackError].
func (l *Log) Sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.closed {
		return ErrClosed
	}
	s := l.active
	if s == nil {
		return nil // what was in it is synced or taken back
	}
	l.tail.Lock() // a write that is shown is told by Written as well then
	end, last := s.mark()
	l.tail.Unlock()
	if last == l.synced.Load() {
		return nil
	}
	if !l.ready {
		l.tail.Lock()
		defer l.tail.Unlock()
		return l.note(l.prepare())
	}
	if err := l.file.Datasync(); err != nil {
		l.tail.Lock()
		defer l.tail.Unlock()
		return l.note(l.giveUp(err))
	}
	l.setSynced(end, last)
	return nil
}

// giveUp ends the active segment after a failed sync, cut at the last place
// known to be durable. The file is never synced again: the system may have
// dropped what it could not write and would then report success. The next
// segment's header says where this one ends, so that it does not matter
// whether the truncation lasts. The caller holds both locks. It returns nil if
// nothing was taken back.
func (l *Log) giveUp(cause error) error {
	s, synced := l.active, l.synced.Load()
	l.state.Lock()
	end := l.syncedEnd
	l.state.Unlock()
	lost := l.written.Load() - synced
	s.cut(end, synced)
	l.written.Store(synced)
	l.leave(end)
	l.log.Error("sync failed, segment given up", "dir", l.dir, "segment", s.number,
		"kept_to", synced, "taken_back", lost, "err", cause)
	if lost == 0 {
		return nil
	}
	l.rolled = &RollbackError{To: synced, Err: fmt.Errorf("sync segment %016x: %w", s.number, cause)}
	return l.rolled
}

// leave closes the active segment's file, cut at end if that is possible.
func (l *Log) leave(end int64) {
	s := l.active
	if err := l.file.Truncate(end); err != nil {
		l.log.Debug("segment not truncated", "dir", l.dir, "segment", s.number, "err", err)
	}
	if err := l.file.Close(); err != nil {
		l.log.Debug("segment not closed", "dir", l.dir, "segment", s.number, "err", err)
	}
	l.active, l.file, l.ready = nil, nil, false
	l.ended(s)
}

// abandon ends a segment behind whose end a failed write may have left
// something. What was written before is synced first, while that can still be
// believed. It returns the error for the caller of Write.
func (l *Log) abandon(s *segment, cause error) error {
	if _, ok := errors.AsType[*allocateError](cause); ok {
		return l.note(cause) // nothing was written: the segment goes on
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.tail.Lock()
	defer l.tail.Unlock()
	if l.active != s || l.closed {
		return l.note(cause) // ended meanwhile
	}
	end, last := s.mark()
	if last != l.synced.Load() {
		if err := l.file.Datasync(); err != nil {
			return l.note(l.giveUp(errors.Join(cause, err)))
		}
		l.setSynced(end, last)
	}
	s.cut(end, last)
	l.leave(end)
	l.log.Warn("write failed, segment ended", "dir", l.dir, "segment", s.number, "err", cause)
	return l.note(cause)
}
