package embedded

import (
	"log/slog"
	"time"

	"crier/internal/seglog"
)

// Config is what an engine needs to know. Only Dir is needed.
type Config struct {
	Dir    string           // the data directory; made if it is not there
	Logger *slog.Logger     // nil: none
	Now    func() time.Time // nil: time.Now

	// MaxKeys bounds the idempotency keys that a log remembers; 0: 500,000
	// (some 40 MB of memory).
	MaxKeys int
	// MaxMarks is for how many topics without messages it is known exactly
	// what was trimmed; 0: 100,000.
	MaxMarks int
	// SegmentSize is the size to which the segments of a log grow as the log
	// does; 0: 64 MiB.
	SegmentSize int64
	// JournalFrom is how many domains with unsynced messages make one sync
	// of the journal better than one sync for each; 0: 5.
	JournalFrom int

	// FS replaces the file system below Dir, for tests with faults; the
	// lock and the registry stay in Dir. nil: Dir itself.
	FS seglog.FS
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxKeys <= 0 {
		c.MaxKeys = 500_000
	}
	if c.MaxMarks <= 0 {
		c.MaxMarks = 100_000
	}
	if c.SegmentSize <= 0 {
		c.SegmentSize = 64 << 20
	}
	if c.JournalFrom <= 0 {
		c.JournalFrom = 5
	}
	return c
}
