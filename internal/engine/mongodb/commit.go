package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"crier/internal/engine"
)

// change makes a document of the log that is no block.
func (l *Log) change(kind string) *document {
	return &document{
		ID: l.chain.id(l.at + 1), Domain: l.domain, Kind: kind, At: l.e.now().UnixMicro(),
		Writer: bson.NewObjectID(), Epoch: l.epoch.String(),
	}
}

// commit inserts what build makes of the log as it is, again and again until
// no other node was faster. build is called with mu held; a nil document:
// nothing is to be done.
func (l *Log) commit(ctx context.Context, build func() (*document, error)) error {
	ctx, cancel := l.join(ctx)
	defer cancel()
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return l.ended(ctx.Err())
	}
	return l.ended(l.commitHolding(ctx, build))
}

func (l *Log) commitHolding(ctx context.Context, build func() (*document, error)) error {
	for tries := 0; ; tries++ {
		if tries > 1 {
			if err := pause(ctx, min(time.Duration(tries)*time.Millisecond, 20*time.Millisecond)); err != nil {
				return err
			}
		}
		l.mu.Lock()
		stale := l.e.now().Sub(l.confirmed) > staleAge || l.known != l.e.cuts.Load()
		l.mu.Unlock()
		if stale || tries > 0 {
			if err := l.reading.do(ctx); err != nil {
				return err
			}
		}
		l.mu.Lock()
		if l.closed || l.dropped {
			l.mu.Unlock()
			return engine.ErrClosed
		}
		d, err := build()
		durability := l.durability
		l.mu.Unlock()
		if err != nil || d == nil {
			return err
		}
		if err := l.put(ctx, d, durability); errors.Is(err, errTaken) {
			continue
		} else if err != nil {
			return err
		}
		return nil
	}
}

// put inserts a document and brings it into the view, or returns ErrUnknown if
// nobody knows whether it is there.
func (l *Log) put(ctx context.Context, d *document, durability engine.Durability) error {
	err := l.chain.insert(ctx, d, durability)
	if err != nil && !errors.Is(err, errTaken) && ctx.Err() == nil {
		lost := errors.Is(err, errLost)
		err = l.putAgain(ctx, d, durability, err)
		if lost && err != nil && !errors.Is(err, errTaken) {
			err = fmt.Errorf("%w: %w", engine.ErrUnknown, err)
		}
	}
	if errors.Is(err, errLost) && !errors.Is(err, engine.ErrUnknown) {
		err = fmt.Errorf("%w: %w", engine.ErrUnknown, err)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	err = l.apply(d)
	l.mu.Unlock()
	l.bell.ring()
	return err
}

// putAgain tries an insert that failed once more, if that may help. After a
// call of which nobody knows what became of it, the document may be there.
func (l *Log) putAgain(ctx context.Context, d *document, durability engine.Durability, failed error) error {
	var nobody topology.ServerSelectionError
	if !errors.Is(failed, engine.ErrUnavailable) || errors.As(failed, &nobody) {
		return failed
	}
	l.mu.Lock()
	at, writer := l.at, l.writer
	l.mu.Unlock()
	if at == d.number()-1 { // else somebody has the number
		there, err := l.isThere(ctx, at, writer)
		if err != nil || !there { // it is away, or was started anew and has less
			return failed
		}
	}
	for i := range d.Messages {
		d.Messages[i].Value = nil // if that is what the server does not take
	}
	err := l.chain.insert(ctx, d, durability)
	if errors.Is(err, errTaken) {
		var there document
		found, gerr := l.chain.get(ctx, d.number(), &there, lean)
		if gerr != nil {
			return gerr
		}
		if found && there.Writer == d.Writer {
			return nil
		}
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
