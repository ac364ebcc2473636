package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// sliceLen is how many records a call looks at or changes before it lets
// others have the lock.
const sliceLen = 2048

// LogConfig says how a log begins; the zero value is an empty log in a new
// epoch.
type LogConfig struct {
	Now     func() time.Time // nil: time.Now
	Rand    func() uint16    // the random bytes of epochs; nil: crypto/rand
	MaxKeys int              // idempotency keys to remember; 0: DefaultMaxKeys

	// Epoch is the one that begins with the log. Zero: one is drawn, above
	// the last of Epochs.
	Epoch message.Epoch
	// Epochs are earlier lives of the domain, oldest first. The sequence
	// goes on above the last one's end; what they held is gone, which
	// readers with a cursor in them are told (a gap, reason epoch).
	Epochs []engine.EpochRange
}

// Log is one domain's log in RAM. Its methods may be called concurrently, but
// not from within a function given to Listen; State is the exception.
type Log struct {
	now    func() time.Time
	random func() uint16
	bell   bell

	expiry atomic.Int64 // Unix microseconds at which something next expires; math.MaxInt64: nothing does
	// changed says that the next ring has News.Changed.
	changed atomic.Bool

	mu        sync.RWMutex // guards the fields below
	closed    bool
	hist      history
	index     index
	keys      keys
	ttl       deadlines
	trimmed   uint64
	changes   uint64
	epochs    []engine.EpochRange
	bytes     int64
	count     int64
	restoring bool // a replica that is being made
}

var _ engine.Log = (*Log)(nil)

// NewLog makes a log. It needs no goroutine.
func NewLog(cfg LogConfig) *Log {
	l := &Log{now: cfg.Now, random: cfg.Rand, keys: keys{max: cfg.MaxKeys}, ttl: deadlines{}}
	if l.now == nil {
		l.now = time.Now
	}
	if l.keys.max <= 0 {
		l.keys.max = DefaultMaxKeys
	}
	var prev message.Epoch
	var floor loss
	if n := len(cfg.Epochs); n > 0 {
		last := cfg.Epochs[n-1]
		prev, l.trimmed = last.Epoch, last.Last
		floor = loss{seq: last.Last, why: message.NewEpoch}
	}
	if cfg.Epoch.IsZero() {
		cfg.Epoch = nextEpoch(prev, l.now(), l.random)
	}
	l.index = newIndex(floor)
	l.hist = history{first: l.trimmed + 1, head: l.trimmed}
	l.epochs = slices.Clone(cfg.Epochs)
	l.beginEpoch(cfg.Epoch)
	l.expiry.Store(never)
	return l
}

// beginEpoch adds a line to the table of epochs.
func (l *Log) beginEpoch(e message.Epoch) {
	l.epochs = append(l.epochs, engine.EpochRange{Epoch: e, First: l.hist.head + 1, Last: l.hist.head})
	if over := len(l.epochs) - engine.MaxEpochs; over > 0 {
		l.epochs = slices.Delete(l.epochs, 0, over)
	}
}

// epoch returns the present epoch.
func (l *Log) epoch() message.Epoch {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs[len(l.epochs)-1].Epoch
}

// Append stores a block of 1 to [engine.MaxBlock] drafts. The context counts
// until the block is stored, which nothing delays.
func (l *Log) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	if n := len(b.Drafts); n == 0 || n > engine.MaxBlock {
		return engine.Receipt{}, fmt.Errorf("append: a block has 1 to %d messages, got %d", engine.MaxBlock, n)
	}
	if err := ctx.Err(); err != nil {
		return engine.Receipt{}, fmt.Errorf("append: %w", err)
	}
	r, err := l.commit(b)
	if err != nil {
		return engine.Receipt{}, fmt.Errorf("append: %w", err)
	}
	if !r.Repeated {
		l.ring()
	}
	return r, nil
}

// Start implements [engine.Starter]: appending never waits.
func (l *Log) Start(b engine.Block, done func(engine.Receipt, error)) bool {
	done(l.Append(context.Background(), b))
	return true
}

// commit gives the block its place in the log.
func (l *Log) commit(b engine.Block) (engine.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return engine.Receipt{}, engine.ErrClosed
	}
	now := l.now().UTC().Truncate(time.Microsecond)
	at := now.UnixMicro()
	if !b.Key.IsZero() {
		if r, ok, err := l.keys.find(b.Key, at); ok || err != nil {
			return r, err
		}
	}
	epoch := &l.epochs[len(l.epochs)-1]
	first := message.ID{Epoch: epoch.Epoch, Seq: l.hist.head + 1}
	for i := range b.Drafts {
		l.push(&b.Drafts[i], len(b.Drafts) > 1, epoch.Epoch, at)
	}
	epoch.Last = l.hist.head
	l.index.flush()
	if !b.Key.IsZero() {
		l.keys.add(b.Key, first, len(b.Drafts), at)
	}
	return engine.Receipt{First: first, N: len(b.Drafts), Time: now, Durability: engine.Memory}, nil
}

// push stores one message as head+1; shared says that it came with others.
func (l *Log) push(d *message.Draft, shared bool, epoch message.Epoch, at int64) {
	size := int64(len(d.Data) + len(d.Topic))
	seq := l.hist.head + 1
	ts := l.index.add(d.Topic, seq, size)
	if ts.meta == nil || *ts.meta != metaOf(d) {
		ts.meta = metaOf(d).clone()
	}
	r := record{topic: ts, data: lean(d.Data, shared), meta: ts.meta, at: at, epoch: epoch}
	if d.TTL > 0 {
		r.expires = at + d.TTL.Microseconds()
		l.ttl.add(deadline{at: r.expires, seq: seq})
		l.expiry.Store(l.ttl.next())
	}
	l.hist.push(r)
	l.bytes += size
	l.count++
}

// State returns what is true at the moment. It may be called from within a
// function given to Listen.
func (l *Log) State(ctx context.Context) (engine.State, error) {
	if err := l.begin(ctx); err != nil {
		return engine.State{}, fmt.Errorf("state: %w", err)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return engine.State{}, engine.ErrClosed
	}
	return engine.State{
		Head: l.hist.head, Trimmed: l.trimmed, Changes: l.changes,
		Epochs: slices.Clone(l.epochs), Bytes: l.bytes, Count: l.count,
	}, nil
}

// begin is what every call that reads begins with: what has expired by now is
// gone.
func (l *Log) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.expire()
	return nil
}

// BeginEpoch begins a new epoch, in which the sequence goes on.
func (l *Log) BeginEpoch(ctx context.Context) (message.Epoch, error) {
	if err := ctx.Err(); err != nil {
		return message.Epoch{}, fmt.Errorf("begin epoch: %w", err)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return message.Epoch{}, fmt.Errorf("begin epoch: %w", engine.ErrClosed)
	}
	e := nextEpoch(l.epochs[len(l.epochs)-1].Epoch, l.now(), l.random)
	l.beginEpoch(e)
	l.changes++
	l.changed.Store(true)
	l.mu.Unlock()
	l.ring()
	return e, nil
}

// Durability is [engine.Memory].
func (l *Log) Durability() engine.Durability { return engine.Memory }

// SetDurability takes [engine.Memory] only.
func (l *Log) SetDurability(ctx context.Context, d engine.Durability) error {
	if err := checkDurability(d); err != nil {
		return fmt.Errorf("set durability: %w", err)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return fmt.Errorf("set durability: %w", engine.ErrClosed)
	}
	return ctx.Err()
}

// Close ends the log and lets go of its messages. It returns once no listener
// is running any more; a second Close does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	l.hist, l.index, l.keys, l.ttl = history{}, newIndex(loss{}), keys{}, deadlines{}
	l.expiry.Store(never)
	l.mu.Unlock()
	l.bell.close()
	return nil
}
