package mongodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"crier/internal/engine"
)

// A checkpoint comes when so many documents would go with it, or so many
// blocks are trimmed.
const (
	checkpointAfter = 256
	sweepTime       = time.Minute
	eraseAtOnce     = 500 // blocks
)

// Trim enforces retention: a document says up to where messages are gone, and
// the blocks below lose their messages.
func (l *Log) Trim(ctx context.Context, r engine.Retention) error {
	ctx, cancel := l.join(ctx)
	defer cancel()
	if err := l.trim(ctx, r); err != nil {
		return fmt.Errorf("trim: %w", l.ended(err))
	}
	return nil
}

func (l *Log) trim(ctx context.Context, r engine.Retention) error {
	v, err := l.seen(ctx)
	if err != nil {
		return err
	}
	if s, err := v.State(ctx); err != nil || v.Outside(r) > s.Trimmed {
		if err != nil {
			return err
		}
		err = l.commit(ctx, func() (*document, error) {
			s, err := l.view.State(ctx)
			if err != nil {
				return nil, err
			}
			upTo := l.view.Outside(r)
			if upTo <= s.Trimmed {
				return nil, nil
			}
			d := l.change(kindTrim)
			d.UpTo = int64(upTo)
			return d, nil
		})
		if err != nil {
			return err
		}
	}
	return l.sweep(ctx)
}

// sweep takes away what is trimmed: at once the messages of whole blocks, and
// now and then, behind a checkpoint, documents that are old.
func (l *Log) sweep(ctx context.Context) error {
	l.mu.Lock()
	s, err := l.view.State(ctx)
	if err != nil {
		l.mu.Unlock()
		return err
	}
	gone := 0 // blocks that lie below the mark
	for gone < len(l.places) && l.end1(gone) <= s.Trimmed {
		gone++
	}
	numbers := make([]uint64, gone)
	for i := range numbers {
		numbers[i] = l.places[i].number
	}
	if gone > 0 {
		l.places = slices.Clone(l.places[gone:])
	}
	now := l.e.now()
	due := l.garbage >= checkpointAfter || l.garbage > 0 && now.Sub(l.swept) > sweepTime && !l.swept.IsZero()
	if l.swept.IsZero() || due {
		l.swept = now
	}
	l.mu.Unlock()
	if gone > 0 {
		if err := l.hollow(ctx, numbers); err != nil {
			return err
		}
	}
	if !due {
		return nil
	}
	return l.clean(ctx, now)
}

// end1 is the last number of a block. The caller holds mu.
func (l *Log) end1(i int) uint64 {
	if i+1 < len(l.places) {
		return l.places[i+1].first - 1
	}
	return l.head
}

// hollow takes the messages out of blocks; their index stays until a checkpoint
// stands for it. A few are named one by one, since
// FerretDB looks at all documents for anything but an id.
func (l *Log) hollow(ctx context.Context, numbers []uint64) error {
	unset := bson.D{{Key: "$unset", Value: bson.D{{Key: "messages", Value: ""}}}}
	return l.e.callLong(ctx, func(ctx context.Context) error {
		if len(numbers) > 64 {
			_, err := l.chain.coll.UpdateMany(ctx,
				l.chain.among(numbers[0], numbers[len(numbers)-1], bson.E{Key: "kind", Value: kindBlock}), unset)
			return err
		}
		for _, n := range numbers {
			if _, err := l.chain.coll.UpdateOne(ctx, bson.D{{Key: "_id", Value: l.chain.id(n)}}, unset); err != nil {
				return err
			}
		}
		return nil
	})
}

// clean writes a checkpoint and deletes what is old before it.
func (l *Log) clean(ctx context.Context, now time.Time) error {
	select {
	case l.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	n, err := l.writeCheckpoint(ctx)
	<-l.writing
	if errors.Is(err, errTaken) {
		return nil // another time
	}
	if err != nil {
		return err
	}
	old := bson.E{Key: "at", Value: bson.D{{Key: "$lt", Value: now.Add(-oldAge).UnixMicro()}}}
	var before []document
	err = l.chain.each(ctx, 1, bson.D{{Key: "messages", Value: 0}, {Key: "index", Value: 0}, {Key: "keys", Value: 0}}, func(raw bson.Raw) error {
		var d document
		if err := bson.Unmarshal(raw, &d); err != nil {
			return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
		}
		if d.Kind == kindCheckpoint && d.number() < n && d.At < now.Add(-oldAge).UnixMicro() {
			before = append(before, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range before {
		l.deleteParts(ctx, d.Parts)
	}
	err = l.chain.deleteAmong(ctx, 1, n-1, old, bson.E{Key: "kind", Value: bson.D{{Key: "$ne", Value: kindBlock}}})
	if err != nil {
		return err
	}
	return l.chain.deleteAmong(ctx, 1, n-1, old,
		bson.E{Key: "kind", Value: kindBlock}, bson.E{Key: "messages", Value: bson.D{{Key: "$exists", Value: false}}})
}

// Forget deletes a topic's history: a document says so, and the data go soon.
func (l *Log) Forget(ctx context.Context, topicName string) error {
	ctx, cancel := l.join(ctx)
	defer cancel()
	if err := l.forgetTopic(ctx, topicName); err != nil {
		return fmt.Errorf("forget topic: %w", l.ended(err))
	}
	return nil
}

func (l *Log) forgetTopic(ctx context.Context, name string) error {
	if err := l.fresh(ctx); err != nil {
		return err
	}
	var numbers []uint64
	err := l.commit(ctx, func() (*document, error) {
		if !l.view.HasTopic(name) {
			numbers = nil
			return nil, nil
		}
		numbers = l.view.Numbers(name)
		d := l.change(kindForget)
		d.Topic = name
		return d, nil
	})
	if err != nil {
		return err
	}
	if len(numbers) > 0 {
		l.mu.Lock()
		l.forgotten = append(l.forgotten, numbers...)
		l.mu.Unlock()
		select {
		case l.erasing <- struct{}{}:
		default:
		}
	}
	return nil
}

// eraseAll takes the data of what was forgotten out of the blocks, until the
// log is closed. The document that says so hides them already; what is not
// done when the process ends stays until retention takes the block.
func (l *Log) eraseAll() {
	for {
		select {
		case <-l.erasing:
		case <-l.life.Done():
			return
		}
		l.mu.Lock()
		numbers := l.forgotten
		l.forgotten = nil
		l.mu.Unlock()
		if err := l.erase(l.life, numbers); err != nil && l.life.Err() == nil {
			l.e.logger().Warn("data of a deleted topic stay in the database until retention takes them", "domain", l.domain, "error", err)
		}
	}
}

// erase takes the data of messages out of their blocks.
func (l *Log) erase(ctx context.Context, numbers []uint64) error {
	var models []mongo.WriteModel
	for i := 0; i < len(numbers); {
		l.mu.Lock()
		at, found := l.block(numbers[i])
		next, more := l.after(at)
		l.mu.Unlock()
		if !found {
			i++ // its block is trimmed
			continue
		}
		var unset bson.D
		for i < len(numbers) && (!more || numbers[i] < next.first) {
			field := fmt.Sprintf("messages.%d.", numbers[i]-at.first)
			unset = append(unset, bson.E{Key: field + "data", Value: ""}, bson.E{Key: field + "value", Value: ""})
			i++
		}
		models = append(models, mongo.NewUpdateOneModel().
			SetFilter(bson.D{{Key: "_id", Value: l.chain.id(at.number)}}).
			SetUpdate(bson.D{{Key: "$unset", Value: unset}}))
		if len(models) == eraseAtOnce || i == len(numbers) {
			err := l.e.callLong(ctx, func(ctx context.Context) error {
				_, err := l.chain.coll.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
				return err
			})
			if err != nil {
				return err
			}
			models = nil
		}
	}
	return nil
}

// after gives the place of the block behind another. The caller holds mu.
func (l *Log) after(p place) (place, bool) {
	i, found := slices.BinarySearchFunc(l.places, p.first, func(p place, seq uint64) int { return cmp.Compare(p.first, seq) })
	if !found || i+1 >= len(l.places) {
		return place{}, false
	}
	return l.places[i+1], true
}
