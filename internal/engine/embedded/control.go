package embedded

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
)

const (
	controlDir = "control"
	// controlRewrite is how many bytes of changes are written before all
	// that is known is written anew, at least.
	controlRewrite = 1 << 20
)

// controlLog keeps what is known of every log beside its messages: epochs,
// trim marks, deleted topics. All of it is in memory, as [record.Control] has
// it, and changes are appended to a log of their own, which begins anew when
// it grew much larger than what it says. Its methods may be called
// concurrently.
type controlLog struct {
	logger *slog.Logger

	mu      sync.Mutex // guards the fields below
	log     *seglog.Log
	all     map[string]*record.Control // by directory
	buf     []byte
	written int // bytes since all was written
	whole   int // bytes of all, the last time it was written
	// doubts has the logs with a change that failed and may yet be found after
	// a crash, since the segment that makes it void could not be begun.
	doubts   map[string]bool
	doubtful atomic.Bool // there are some
}

func openControl(fsys seglog.FS, logger *slog.Logger) (*controlLog, error) {
	log, err := seglog.Open(fsys, controlDir, seglog.Options{SegmentSize: 16 << 20, Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("open the control log: %w", err)
	}
	c := &controlLog{logger: logger, log: log, all: map[string]*record.Control{}, doubts: map[string]bool{}}
	if err := c.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the control log: %w", err), log.Close())
	}
	return c, nil
}

func (c *controlLog) load() error {
	for _, d := range c.log.Recovery().Damage {
		c.logger.Error("the control log is damaged; marks of trimmed or deleted topics may be lost", "damage", &d)
	}
	r := c.log.NewReader(0)
	defer r.Close()
	for {
		rec, err := r.Next()
		if damage, ok := errors.AsType[*seglog.DamageError](err); ok {
			c.logger.Error("the control log is damaged; marks of trimmed or deleted topics may be lost", "damage", damage)
			continue
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.written += len(rec.Payload)
		if err := record.ApplyControl(c.all, rec.Payload); err != nil {
			c.logger.Error("record of the control log not understood", "sequence", rec.Seq, "error", err)
		}
	}
}

// get copies what is known of a log.
func (c *controlLog) get(dir string) record.Control {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.all[dir]; known != nil {
		return known.Clone()
	}
	return record.Control{}
}

// change writes changes to a log, durably if sync is set. If it fails nothing
// is changed.
func (c *controlLog) change(dir string, sync bool, changes func(dst []byte) []byte) error {
	return c.append(dir, sync, func(dst []byte) []byte { return changes(record.BeginChange(dst, dir)) })
}

// drop notes, durably, that a log is deleted.
func (c *controlLog) drop(dir string) error {
	return c.append(dir, true, func(dst []byte) []byte { return record.AppendDropped(dst, dir) })
}

// gone notes that nothing is left of a log.
func (c *controlLog) gone(dir string) error {
	return c.append(dir, false, func(dst []byte) []byte { return record.AppendGone(dst, dir) })
}

// dropped lists the logs that were deleted and may have files yet.
func (c *controlLog) dropped() (dirs []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for dir, known := range c.all {
		if known.Dropped {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// certain fails as long as a change of a log that failed may be found after a
// crash all the same: a log that went on would go on beside an epoch that has
// begun, or be deleted with all that it took.
func (c *controlLog) certain(dir string) error {
	if !c.doubtful.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.doubts[dir] {
		return nil
	}
	if err := c.rewrite(); c.doubts[dir] {
		return fmt.Errorf("write the control log anew: %w", err)
	}
	return nil
}

func (c *controlLog) append(dir string, sync bool, encode func(dst []byte) []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = encode(c.buf[:0])
	if _, err := c.log.Write(1, func(_ int, dst []byte) ([]byte, bool) { return append(dst, c.buf...), false }); err != nil {
		return fmt.Errorf("write the control log: %w", c.mend(err))
	}
	if sync {
		if err := c.log.Sync(); err != nil {
			c.doubts[dir] = true
			c.doubtful.Store(true)
			return fmt.Errorf("sync the control log: %w", c.mend(err))
		}
	}
	if err := record.ApplyControl(c.all, c.buf); err != nil {
		return err
	}
	c.written += len(c.buf)
	if c.written > max(controlRewrite, 4*c.whole) {
		if err := c.rewrite(); err != nil {
			c.logger.Warn("control log not written anew, it goes on growing", "error", err)
			c.written = 0
		}
	}
	return nil
}

// mend goes on after a failed sync. What was written without a sync may be
// gone, so that all that is known is written again.
func (c *controlLog) mend(err error) error {
	if _, ok := errors.AsType[*seglog.RollbackError](err); !ok {
		return err
	}
	return errors.Join(err, c.rewrite())
}

// rewrite writes all that is known into a new segment and removes the others.
func (c *controlLog) rewrite() error {
	if err := c.log.Roll(c.log.Tag()); err != nil {
		return err
	}
	clear(c.doubts)
	c.doubtful.Store(false)
	before := c.log.Written()
	dirs := slices.Sorted(maps.Keys(c.all))
	c.whole = 0
	if len(dirs) > 0 {
		_, err := c.log.Write(len(dirs), func(i int, dst []byte) ([]byte, bool) {
			was := len(dst)
			dst = c.all[dirs[i]].AppendWhole(dst, dirs[i])
			c.whole += len(dst) - was
			return dst, i+1 < len(dirs)
		})
		if err != nil {
			return err
		}
	}
	if err := c.log.Sync(); err != nil {
		return err
	}
	c.written = 0
	return c.log.RemoveBefore(before)
}

func (c *controlLog) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Close()
}
