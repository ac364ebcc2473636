package mongodb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"crier/internal/engine"
)

// A checkpoint comes when it would stand for so many documents, or after a
// time if for any.
const (
	checkpointAfter = 256
	checkpointTime  = time.Minute
)

// hollowAtOnce is how many blocks lose their messages by one call.
const hollowAtOnce = 16

// Trim enforces retention: a document says up to where messages are gone. The
// blocks below lose their messages soon.
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
	s, err := v.State(ctx)
	if err != nil {
		return err
	}
	if v.Outside(r) > s.Trimmed {
		var made *document
		err = l.commit(ctx, func() (*document, error) {
			made = nil
			s, err := l.view.State(ctx)
			if err != nil {
				return nil, err
			}
			upTo := l.view.Outside(r)
			if upTo <= s.Trimmed {
				return nil, nil
			}
			made = l.change(kindTrim)
			made.UpTo = int64(upTo)
			return made, nil
		})
		if err != nil {
			return err
		}
		if made != nil {
			l.hollowOf(made)
		}
	}
	return l.clean(ctx)
}

// spend notes a document that did what it had to. The caller holds mu.
func (l *Log) spend(d *document) {
	l.spent = append(l.spent, spent{number: d.number(), by: d.number(), at: d.At, parts: d.Parts})
	if d.Kind != kindCheckpoint {
		l.garbage++
	}
}

// pass notes the blocks that a trim leaves no messages of. The caller holds mu.
func (l *Log) pass(trim *document) {
	n := 0
	for n < len(l.places) && l.endOf(n) <= uint64(trim.UpTo) {
		p := l.places[n]
		l.spent = append(l.spent, spent{number: p.number, by: trim.number(), at: p.at})
		n++
	}
	if n > 0 {
		l.places = slices.Clone(l.places[n:])
		l.garbage += n
	}
}

// endOf is the last number of a block. The caller holds mu.
func (l *Log) endOf(i int) uint64 {
	if i+1 < len(l.places) {
		return l.places[i+1].first - 1
	}
	return l.head
}

// cover notes a checkpoint, whose writer deletes what is old of what it stands
// for. The caller holds mu.
func (l *Log) cover(checkpoint *document) {
	l.covered = max(l.covered, uint64(checkpoint.Covers))
	l.spent = slices.DeleteFunc(l.spent, func(s spent) bool { return s.deletedWith(checkpoint) })
	l.count()
}

// count counts the garbage: not checkpoints, or there would be another for
// each. The caller holds mu.
func (l *Log) count() {
	l.garbage = 0
	for _, s := range l.spent {
		if s.by > l.covered && s.parts == nil {
			l.garbage++
		}
	}
}

// deletedWith says whether the writer of a checkpoint deletes a document.
func (s spent) deletedWith(checkpoint *document) bool {
	return s.by <= uint64(checkpoint.Covers) && s.at < checkpoint.At-oldAge.Microseconds()
}

// clean writes a checkpoint if one is due, and deletes what is old of what it
// stands for.
func (l *Log) clean(ctx context.Context) error {
	now := l.e.now()
	l.mu.Lock()
	due := l.garbage >= checkpointAfter || l.garbage > 0 && now.Sub(l.cleaned) > checkpointTime && !l.cleaned.IsZero()
	if l.cleaned.IsZero() || due {
		l.cleaned = now
	}
	l.mu.Unlock()
	if !due {
		return nil
	}
	return l.checkpoint(ctx)
}

// checkpoint writes a checkpoint and deletes what is old of what it stands
// for.
func (l *Log) checkpoint(ctx context.Context) error {
	old, err := l.writeCheckpoint(ctx)
	if err != nil {
		return err
	}
	if err := l.delete(ctx, old); err != nil {
		l.mu.Lock()
		l.spent = append(l.spent, old...) // another time
		l.mu.Unlock()
		return err
	}
	return nil
}

// delete deletes spent documents.
func (l *Log) delete(ctx context.Context, old []spent) error {
	models := make([]mongo.WriteModel, len(old))
	for i, s := range old {
		if err := l.deleteParts(ctx, s.parts); err != nil {
			return err
		}
		models[i] = mongo.NewDeleteOneModel().SetFilter(l.chain.byID(s.number))
	}
	return l.chain.write(ctx, models)
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
		l.tidy()
	}
	return nil
}

// hollowOf has the blocks that a trim of this node left no messages of lose
// their data soon. Those that are old are left to the next checkpoint, with
// which they go as they are.
func (l *Log) hollowOf(trim *document) {
	l.mu.Lock()
	for _, s := range slices.Backward(l.spent) {
		if s.by < trim.number() {
			break
		}
		if s.by == trim.number() && s.number != s.by && s.at >= trim.At-oldAge.Microseconds() {
			l.hollow = append(l.hollow, s.number)
		}
	}
	l.mu.Unlock()
	l.tidy()
}

func (l *Log) tidy() {
	select {
	case l.tidying <- struct{}{}:
	default:
	}
}

// tidyAll takes the data of what was deleted and trimmed out of the blocks,
// until the log is closed. The documents that say so hide them already; what
// is not done when the process ends goes with the block, by retention and a
// checkpoint.
func (l *Log) tidyAll() {
	for {
		select {
		case <-l.tidying:
		case <-l.life.Done():
			return
		}
		l.mu.Lock()
		forgotten, hollow := l.forgotten, l.hollow
		l.forgotten, l.hollow = nil, nil
		l.mu.Unlock()
		if err := l.erase(l.life, forgotten); err != nil && l.life.Err() == nil {
			l.e.logger().Warn("data of a deleted topic stay in the database until retention takes them", "domain", l.domain, "error", err)
		}
		if err := l.empty(l.life, hollow); err != nil && l.life.Err() == nil {
			l.e.logger().Warn("data of trimmed messages stay in the database until their documents are deleted", "domain", l.domain, "error", err)
		}
	}
}

// empty takes the messages out of blocks; their index stays until a checkpoint
// stands for it.
func (l *Log) empty(ctx context.Context, numbers []uint64) error {
	unset := bson.D{{Key: "$unset", Value: bson.D{{Key: "messages", Value: ""}}}}
	for some := range slices.Chunk(numbers, hollowAtOnce) {
		models := make([]mongo.WriteModel, len(some))
		for i, n := range some {
			models[i] = mongo.NewUpdateOneModel().SetFilter(l.chain.byID(n)).SetUpdate(unset)
		}
		if err := l.chain.write(ctx, models); err != nil {
			return err
		}
	}
	return nil
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
			SetFilter(l.chain.byID(at.number)).
			SetUpdate(bson.D{{Key: "$unset", Value: unset}}))
	}
	return l.chain.write(ctx, models)
}

// after gives the place of the block behind another. The caller holds mu.
func (l *Log) after(p place) (place, bool) {
	i, found := slices.BinarySearchFunc(l.places, p.first, func(p place, seq uint64) int { return cmp.Compare(p.first, seq) })
	if !found || i+1 >= len(l.places) {
		return place{}, false
	}
	return l.places[i+1], true
}
