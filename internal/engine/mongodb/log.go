package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/message"
	"crier/internal/topic"
)

// errStale: what this node knows of a chain is too old to go on from.
var errStale = errors.New("too far behind")

// Log is the log of a domain.
type Log struct {
	e      *Engine
	domain string
	chain  chain
	bell   bell
	queue  chan *request
	blocks cache

	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	// writing is held by whoever inserts; readers of the chain need reading.
	writing chan struct{}
	reading refresher
	tidying chan struct{} // holds one element when there is something to tidy

	mu         sync.Mutex // guards the fields below
	closed     bool
	dropped    bool
	durability engine.Durability
	view       *memory.Log
	at         uint64        // the number of the newest document that is in the view
	writer     bson.ObjectID // of that document
	known      int64         // engine.cuts when that document was seen to be there
	rolledBack bool          // the server has not all any more that it had; no epoch has begun since
	confirmed  time.Time     // when at was the newest of all
	head       uint64
	epoch      message.Epoch
	runName    string  // of the server, when the epoch began
	cuts       int64   // engine.cuts when the run was compared
	places     []place // of the blocks that have messages, in order
	spent      []spent // documents that a checkpoint stands for, now or when it comes
	covered    uint64  // up to here the newest checkpoint says what the documents came to
	garbage    int     // how many of the spent it does not cover
	cleaned    time.Time
	forgotten  []uint64 // numbers of messages whose data are yet to be erased
	hollow     []uint64 // numbers of trimmed blocks whose messages are yet to be erased
}

// place says where a block is.
type place struct {
	first, number uint64
	at            int64 // Unix microseconds
}

// spent is a document of which nothing is needed but what it did to the log.
type spent struct {
	number uint64
	by     uint64          // the number of the document that made it so
	at     int64           // when it was made; Unix microseconds
	parts  []bson.ObjectID // of a checkpoint
}

var _ engine.Log = (*Log)(nil)

func openLog(ctx context.Context, e *Engine, domain string, d engine.Durability) (*Log, error) {
	l := &Log{
		e: e, domain: domain, chain: newChain(e, "messages", domain), durability: d,
		queue: make(chan *request, 1024), writing: make(chan struct{}, 1), tidying: make(chan struct{}, 1),
	}
	l.bell.wake = make(chan struct{}, 1)
	l.life, l.end = context.WithCancel(e.life)
	l.reading.run = l.catchUp
	ctx, cancel := e.join(ctx)
	defer cancel()
	l.cuts = -1 // the run is compared before anything is appended
	if err := l.load(ctx); err != nil {
		l.end()
		return nil, err
	}
	if err := l.checkRun(ctx); err != nil {
		l.end()
		return nil, err
	}
	l.tasks.Go(l.appendAll)
	l.tasks.Go(l.poll)
	l.tasks.Go(l.tidyAll)
	return l, nil
}

// apply brings a document of the chain into the view, if it is the next one.
// The caller holds mu.
func (l *Log) apply(d *document) error {
	if d.number() != l.at+1 {
		if d.number() <= l.at {
			return nil
		}
		return errStale
	}
	if d.Domain != l.domain {
		return d.corrupt("its domain")
	}
	epoch, err := d.epoch()
	if err != nil {
		return err
	}
	var carried []message.Message
	changed := true
	switch d.Kind {
	case kindBlock:
		outlines, err := d.outlines()
		if err != nil {
			return err
		}
		keys, err := d.keys()
		if err != nil {
			return err
		}
		if uint64(d.First) != l.head+1 {
			return d.corrupt("its first number")
		}
		l.view.Replay(message.ID{Epoch: epoch, Seq: uint64(d.First)}, d.At, outlines, keys)
		l.head += uint64(len(outlines))
		l.places = append(l.places, place{uint64(d.First), d.number(), d.At})
		changed = false
		if l.bell.heard() && (d.made != nil || d.Messages != nil) {
			if carried, err = d.messages(); err != nil {
				return err
			}
		}
	case kindEpoch:
		l.view.ReplayEpoch(epoch)
		l.epoch, l.runName, l.rolledBack = epoch, d.Run, false
		l.spend(d)
	case kindTrim:
		l.view.ReplayTrim(uint64(d.UpTo), d.At)
		l.spend(d)
		l.pass(d)
	case kindForget:
		l.view.ReplayForget(d.Topic, d.At)
		l.blocks.clear()
		l.spend(d)
	case kindCheckpoint:
		l.cover(d)
		l.spend(d)
		changed = false
	case kindDropped:
		l.dropped = true
	default:
		return d.corrupt("its kind")
	}
	l.at, l.writer = d.number(), d.Writer
	l.bell.note(l.head, carried, changed)
	return nil
}

// A node that has read so many documents, one after the other, and is not at
// the end finds out where it is, so that others who go on do not keep it
// reading for ever. Then it reads some side by side, or very many in a row.
const (
	farBehind  = 16
	sideBySide = 4
	veryMany   = 1024
)

// catchUp reads the chain to the end that it has at a moment since the call.
// Calls of it come one at a time.
func (l *Log) catchUp(ctx context.Context) error {
	defer l.bell.ring()
	if err := l.verify(ctx); err != nil {
		return err
	}
	end := uint64(0) // 0: not known
	var knownAt time.Time
	for read := 0; ; read++ {
		fields := lean
		if l.bell.heard() {
			fields = whole
		}
		l.mu.Lock()
		next, confirmed, over := l.at+1, l.confirmed, l.closed || l.dropped
		if end != 0 && next > end {
			l.confirmed = knownAt
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		if over {
			return engine.ErrClosed
		}
		began := l.e.now()
		if began.Sub(confirmed) > staleAge && end == 0 {
			if err := l.confirm(ctx, next-1); err != nil {
				return err
			}
			continue
		}
		if end == 0 && read >= farBehind {
			var err error
			if end, err = l.chain.reached(ctx, next); err != nil {
				return err
			}
			knownAt = began
			continue
		}
		if end > next+veryMany {
			if err := l.chain.each(ctx, next, end, fields, l.take); err != nil {
				return err
			}
			l.mu.Lock()
			stuck := l.at < next
			l.mu.Unlock()
			if stuck {
				return errStale
			}
			continue
		}
		ds, err := l.chain.some(ctx, next, max(next, min(end, next+sideBySide-1)), fields)
		if err != nil {
			return err
		}
		for _, d := range ds {
			l.mu.Lock()
			switch {
			case d != nil:
				err = l.apply(d)
			case end != 0:
				err = errStale
			case l.at == next-1:
				l.confirmed = began
			}
			l.mu.Unlock()
			if err != nil || d == nil {
				return err
			}
		}
		if end != 0 {
			l.bell.ring()
		}
	}
}

// take brings the next document into the view.
func (l *Log) take(raw bson.Raw) error {
	var d document
	if err := bson.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	defer l.bell.ring()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.apply(&d)
}

// verify sees to it, after a connection was lost, that the server has what this
// node knows of: one that was started anew may have less, and others may have
// gone on from there. Then everything is loaded again.
func (l *Log) verify(ctx context.Context) error {
	cuts := l.e.cuts.Load()
	l.mu.Lock()
	at, writer, known, over := l.at, l.writer, l.known == cuts, l.closed || l.dropped
	l.mu.Unlock()
	if known || over {
		return nil
	}
	there, err := l.isThere(ctx, at, writer)
	if err != nil {
		return err
	}
	if !there {
		return l.load(ctx)
	}
	l.mu.Lock()
	l.known = cuts
	l.mu.Unlock()
	return nil
}

// isThere reports whether a document is there, and of that writer.
func (l *Log) isThere(ctx context.Context, n uint64, writer bson.ObjectID) (bool, error) {
	var d document
	found, err := l.chain.get(ctx, n, &d, bson.D{{Key: "writer", Value: 1}})
	return found && d.Writer == writer, err
}

// confirm finds out whether a number is the newest still, or loads everything
// again.
func (l *Log) confirm(ctx context.Context, at uint64) error {
	began := l.e.now()
	newest, err := l.chain.newest(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	same := l.at >= newest
	if same {
		l.confirmed = began
	}
	l.mu.Unlock()
	if same {
		return nil
	}
	return l.load(ctx)
}

// fresh brings the view up to what was committed before the call.
func (l *Log) fresh(ctx context.Context) error {
	ctx, cancel := l.join(ctx)
	defer cancel()
	return l.ended(l.reading.do(ctx))
}

// join gives a context that ends with the caller's and with the log.
func (l *Log) join(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// ended says ErrClosed for whatever happens to a log that is closed.
func (l *Log) ended(err error) error {
	if err != nil && (l.life.Err() != nil || l.isDropped()) {
		return engine.ErrClosed
	}
	return err
}

func (l *Log) isDropped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// seen gives the view after it was brought up to date.
func (l *Log) seen(ctx context.Context) (*memory.Log, error) {
	if err := l.fresh(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.dropped {
		return nil, engine.ErrClosed
	}
	return l.view, nil
}

// Last finds the newest n that match.
func (l *Log) Last(ctx context.Context, f topic.Filter, n int) (after, head uint64, err error) {
	v, err := l.seen(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("last: %w", err)
	}
	after, head, err = v.Last(ctx, f, n)
	return after, head, l.ended(err)
}

// Complete says after which number nothing that matches is gone.
func (l *Log) Complete(ctx context.Context, f topic.Filter) (uint64, error) {
	v, err := l.seen(ctx)
	if err != nil {
		return 0, fmt.Errorf("complete: %w", err)
	}
	seq, err := v.Complete(ctx, f)
	return seq, l.ended(err)
}

// State asks the chain for its end.
func (l *Log) State(ctx context.Context) (engine.State, error) {
	v, err := l.seen(ctx)
	if err != nil {
		return engine.State{}, fmt.Errorf("state: %w", err)
	}
	s, err := v.State(ctx)
	return s, l.ended(err)
}

// Topics lists topics.
func (l *Log) Topics(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error) {
	v, err := l.seen(ctx)
	if err != nil {
		return nil, fmt.Errorf("topics: %w", err)
	}
	infos, err := v.Topics(ctx, f, after, limit)
	return infos, l.ended(err)
}

// Durability is what Append promises.
func (l *Log) Durability() engine.Durability {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durability
}

// SetDurability changes what Append promises from the next block on.
func (l *Log) SetDurability(ctx context.Context, d engine.Durability) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("set durability: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.dropped {
		return fmt.Errorf("set durability: %w", engine.ErrClosed)
	}
	if err := l.e.checkDurability(d); err != nil {
		return fmt.Errorf("set durability: %w", err)
	}
	l.durability = d
	return nil
}

// Listen has fn called when there is news, one call at a time.
func (l *Log) Listen(fn func(engine.News)) (stop func()) { return l.bell.listen(fn) }

// close ends the log; it returns once nothing of it runs any more.
func (l *Log) close() error {
	l.mu.Lock()
	l.closed = true
	view := l.view
	l.mu.Unlock()
	l.end()
	l.tasks.Wait()
	l.bell.close()
	return view.Close()
}

// block gives the place of the block that has a number. The caller holds mu.
func (l *Log) block(seq uint64) (place, bool) {
	i, found := slices.BinarySearchFunc(l.places, seq, func(p place, seq uint64) int { return cmp.Compare(p.first, seq) })
	if !found {
		i--
	}
	if i < 0 {
		return place{}, false
	}
	return l.places[i], true
}
