package mongodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/message"
)

// Bounds of a document, for which a server takes 16 MiB. A block of one call
// may fill one alone; what several calls put together is less, so that nobody
// waits long for others' bytes.
const (
	maxBytes      = 15 << 20 // of what one call appends
	groupBytes    = 2 << 20  // of what is put together
	groupMessages = 2000
	valueBytes    = 4 << 20 // in a block of more, messages are not stored parsed as well
	overhead      = 96      // of a message, beside its strings, which come twice
)

// request is an Append that waits.
type request struct {
	ctx  context.Context
	b    engine.Block
	size int
	done chan struct{}

	receipt engine.Receipt
	err     error
	in      bool // it is in the document under way
}

// Append stores a block. What waits goes into one document together.
func (l *Log) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	if n := len(b.Drafts); n == 0 || n > engine.MaxBlock {
		return engine.Receipt{}, fmt.Errorf("append: a block has 1 to %d messages, got %d", engine.MaxBlock, n)
	}
	r := &request{ctx: ctx, b: b, done: make(chan struct{})}
	for i := range b.Drafts {
		d := &b.Drafts[i]
		r.size += len(d.Data) + 2*len(d.Topic) + len(d.ContentType) + len(d.Type) + len(d.App) + overhead
	}
	if r.size > maxBytes {
		return engine.Receipt{}, fmt.Errorf("append: a block of %d bytes does not fit a document of MongoDB; it takes %d", r.size, maxBytes)
	}
	if err := ctx.Err(); err != nil {
		return engine.Receipt{}, fmt.Errorf("append: %w", err)
	}
	select {
	case l.queue <- r:
	case <-ctx.Done():
		return engine.Receipt{}, fmt.Errorf("append: %w", ctx.Err())
	case <-l.life.Done():
		return engine.Receipt{}, fmt.Errorf("append: %w", engine.ErrClosed)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return engine.Receipt{}, fmt.Errorf("append: %w", ctx.Err())
	case <-l.life.Done():
		select { // it may be done all the same
		case <-r.done:
		default:
			return engine.Receipt{}, fmt.Errorf("append: %w", engine.ErrClosed)
		}
	}
	if r.err != nil {
		return engine.Receipt{}, fmt.Errorf("append: %w", r.err)
	}
	return r.receipt, nil
}

// appendAll appends what waits, until the log is closed.
func (l *Log) appendAll() {
	var held *request // what did not fit the group before
	for {
		if held == nil {
			select {
			case held = <-l.queue:
			case <-l.life.Done():
				return
			}
		}
		group := []*request{held}
		size, n := held.size, len(held.b.Drafts)
		held = nil
	gather:
		for size < groupBytes && n < groupMessages {
			select {
			case r := <-l.queue:
				if size+r.size > maxBytes {
					held = r
					break gather
				}
				group = append(group, r)
				size, n = size+r.size, n+len(r.b.Drafts)
			default:
				break gather
			}
		}
		l.appendGroup(group, size)
	}
}

// errCut: the connection was lost since the server's run was looked at.
var errCut = fmt.Errorf("%w: the connection was lost", engine.ErrUnavailable)

// appendGroup commits a group and answers each of it.
func (l *Log) appendGroup(group []*request, size int) {
	var err error
	for range 3 {
		err = l.checkRun(l.life)
		if err == nil {
			err = l.commit(l.life, func() (*document, error) {
				if l.cuts != l.e.cuts.Load() {
					return nil, errCut
				}
				return l.makeBlock(group, size)
			})
		}
		if !errors.Is(err, errCut) {
			break
		}
	}
	err = l.ended(err)
	if errors.Is(err, context.Canceled) {
		err = engine.ErrClosed
	}
	for _, r := range group {
		if r.in || r.err == nil && !r.receipt.Repeated {
			r.err = err
			if err != nil {
				r.receipt = engine.Receipt{}
			}
		}
		close(r.done)
	}
}

// makeBlock makes the document of those of a group that have not been
// appended before. The caller holds mu.
func (l *Log) makeBlock(group []*request, size int) (*document, error) {
	now := l.e.now()
	d := l.change(kindBlock)
	d.At = now.UnixMicro()
	d.First = int64(l.head + 1)
	seen := map[[16]byte]*request{}
	at := l.head
	for _, r := range group {
		r.in, r.err, r.receipt = false, nil, engine.Receipt{}
		if r.err = r.ctx.Err(); r.err != nil {
			continue
		}
		if k := r.b.Key; !k.IsZero() {
			if first := seen[k.Hash]; first != nil {
				if first.b.Key.Body != k.Body {
					r.err = engine.ErrKeyReused
					continue
				}
				r.receipt, r.in = first.receipt, true
				r.receipt.Repeated = true
				continue
			}
			receipt, known, err := l.view.FindKey(k, now)
			if known || err != nil {
				r.receipt, r.err = receipt, err
				r.receipt.Durability = l.durability
				continue
			}
			seen[k.Hash] = r
			d.Keys = appendKey(d.Keys, memory.KeyUse{Key: k, Offset: int(at - l.head), N: len(r.b.Drafts)})
		}
		r.in = true
		r.receipt = engine.Receipt{
			First: message.ID{Epoch: l.epoch, Seq: at + 1}, N: len(r.b.Drafts), Time: now, Durability: l.durability,
		}
		for i := range r.b.Drafts {
			m := r.b.Drafts[i].Commit(r.receipt.ID(i), now)
			d.made = append(d.made, m)
			d.Index = appendOutline(d.Index, &m)
			d.Messages = append(d.Messages, store(&m, size <= valueBytes))
		}
		at += uint64(len(r.b.Drafts))
	}
	if len(d.made) == 0 {
		return nil, nil
	}
	d.Count = int32(len(d.made))
	return d, nil
}

// checkRun begins an epoch if the server has not all that it had, or was
// started anew and may have taken back what this log had acknowledged.
func (l *Log) checkRun(ctx context.Context) error {
	cuts := l.e.cuts.Load()
	l.mu.Lock()
	same := l.cuts == cuts
	synced := l.durability == engine.Fsync
	l.mu.Unlock()
	if same {
		return nil
	}
	run, err := l.e.run(ctx)
	if err != nil {
		return err
	}
	if err := l.fresh(ctx); err != nil {
		return err
	}
	err = l.commit(ctx, func() (*document, error) {
		if !l.rolledBack && (synced || sameRun(l.runName, run)) {
			return nil, nil
		}
		return l.newEpoch(run), nil
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.cuts = cuts
	l.mu.Unlock()
	return nil
}

// newEpoch makes the document of an epoch. The caller holds mu.
func (l *Log) newEpoch(run string) *document {
	d := l.change(kindEpoch)
	d.Epoch = memory.NextEpoch(l.epoch, time.UnixMicro(d.At)).String()
	d.Run = run
	return d
}

// BeginEpoch begins an epoch, in which the sequence goes on.
func (l *Log) BeginEpoch(ctx context.Context) (message.Epoch, error) {
	run, err := l.e.run(ctx)
	if err != nil {
		return message.Epoch{}, fmt.Errorf("begin epoch: %w", l.ended(err))
	}
	if err := l.fresh(ctx); err != nil {
		return message.Epoch{}, fmt.Errorf("begin epoch: %w", err)
	}
	var made *document
	err = l.commit(ctx, func() (*document, error) {
		made = l.newEpoch(run)
		return made, nil
	})
	if err != nil {
		return message.Epoch{}, fmt.Errorf("begin epoch: %w", err)
	}
	epoch, err := made.epoch()
	return epoch, err
}

// drop ends the domain: a document says so, and what is before it goes.
func (l *Log) drop(ctx context.Context) error {
	var all []spent
	err := l.commit(ctx, func() (*document, error) {
		all = slices.Clone(l.spent)
		for _, p := range l.places {
			all = append(all, spent{number: p.number})
		}
		return l.change(kindDropped), nil
	})
	if err != nil {
		return err
	}
	return l.delete(ctx, all)
}
