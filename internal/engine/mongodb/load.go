package mongodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/message"
)

// partSize is how much of a checkpoint a document holds.
const partSize = 8 << 20

// errLeft: who read for others has left.
var errLeft = errors.New("the one that read has left")

// load makes the view out of what is in the chain, or begins the chain.
func (l *Log) load(ctx context.Context) error {
	for tries := 0; ; tries++ {
		err := l.loadOnce(ctx)
		if err == nil || !errors.Is(err, errStale) && !errors.Is(err, errTaken) || tries == 10 {
			if err != nil {
				err = fmt.Errorf("load: %w", err)
			}
			return err
		}
	}
}

// loading is a load under way.
type loading struct {
	l       *Log
	view    *memory.Log
	base    uint64 // the number of the checkpoint; what comes after it is applied
	at      uint64
	head    uint64
	epoch   message.Epoch
	run     string
	places  []place
	garbage int
}

func (l *Log) loadOnce(ctx context.Context) error {
	began := l.e.now()
	base, err := l.chain.newest(ctx, bson.E{Key: "kind", Value: bson.D{{Key: "$in", Value: bson.A{kindCheckpoint, kindDropped}}}})
	if err != nil {
		return err
	}
	var first document
	if base > 0 {
		found, err := l.chain.get(ctx, base, &first, lean)
		if err != nil {
			return err
		}
		if !found {
			return errStale
		}
	}
	cfg := memory.LogConfig{Now: l.e.cfg.Now}
	p := &loading{l: l, base: base}
	from := uint64(1)
	if first.Kind == kindCheckpoint {
		c, err := l.readCheckpoint(ctx, &first)
		if err != nil {
			return err
		}
		p.view = memory.NewReplica(cfg, c.Checkpoint)
		p.head, p.run = c.Trimmed, c.Run
		if err := l.chain.each(ctx, 1, lean, p.take); err != nil {
			return err
		}
		if p.at < base {
			return errStale
		}
	} else {
		from = base + 1
		p.at = base
		p.base = 0
		if err := p.begin(ctx, cfg, &first); err != nil {
			return err
		}
		if err := l.chain.each(ctx, from, lean, p.take); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.dropped {
		return engine.ErrClosed
	}
	old := l.view
	l.view, l.at, l.confirmed, l.head, l.epoch, l.runName, l.places, l.garbage = p.view, p.at, began, p.head, p.epoch, p.run, p.places, p.garbage
	l.blocks.clear()
	if old != nil {
		l.bell.note(l.head, nil, true)
		_ = old.Close()
	}
	return nil
}

// begin makes the first document of a domain's life, if it is not there: an
// epoch, above that of the life before.
func (p *loading) begin(ctx context.Context, cfg memory.LogConfig, before *document) error {
	l := p.l
	var d document
	found, err := l.chain.get(ctx, p.at+1, &d, lean)
	if err != nil {
		return err
	}
	if !found {
		var prev message.Epoch
		if before.Kind == kindDropped {
			if prev, err = before.epoch(); err != nil {
				return err
			}
		}
		run, err := l.e.run(ctx)
		if err != nil {
			return err
		}
		epoch := memory.NextEpoch(prev, l.e.now())
		d = document{
			ID: l.chain.id(p.at + 1), Domain: l.domain, Kind: kindEpoch, At: l.e.now().UnixMicro(),
			Writer: bson.NewObjectID(), Epoch: epoch.String(), Run: run,
		}
		if err := l.chain.insert(ctx, &d, l.durability); err != nil {
			return err
		}
	}
	epoch, err := d.epoch()
	if err != nil {
		return err
	}
	if d.Kind != kindEpoch {
		return d.corrupt("the first document's kind")
	}
	p.view = memory.NewReplica(cfg, memory.Checkpoint{Epochs: []engine.EpochRange{{Epoch: epoch, First: 1}}})
	p.view.Restored()
	p.epoch, p.run, p.at = epoch, d.Run, p.at+1
	return nil
}

// take takes the next document.
func (p *loading) take(raw bson.Raw) error {
	var d document
	if err := bson.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	n := d.number()
	if n <= p.at && n > p.base {
		return nil // the beginning
	}
	epoch, err := d.epoch()
	if err != nil {
		return err
	}
	if n > p.base && n != p.at+1 {
		return errStale // a newer checkpoint has come, and what was before it is gone
	}
	p.at = n
	switch {
	case d.Kind == kindBlock:
		return p.takeBlock(&d, epoch)
	case n == p.base:
		p.epoch = epoch
		p.view.Restored()
	case n < p.base:
		return nil // it is in the checkpoint
	case d.Kind == kindEpoch:
		p.view.ReplayEpoch(epoch)
		p.epoch, p.run = epoch, d.Run
	case d.Kind == kindTrim:
		p.view.ReplayTrim(uint64(d.UpTo), d.At)
	case d.Kind == kindForget:
		p.view.ReplayForget(d.Topic, d.At)
	case d.Kind == kindCheckpoint:
		p.garbage = -1
	case d.Kind == kindDropped:
		return errStale // newer than what was begun with
	default:
		return d.corrupt("its kind")
	}
	p.garbage++
	return nil
}

func (p *loading) takeBlock(d *document, epoch message.Epoch) error {
	outlines, err := d.outlines()
	if err != nil {
		return err
	}
	keys, err := d.keys()
	if err != nil {
		return err
	}
	p.view.Replay(message.ID{Epoch: epoch, Seq: uint64(d.First)}, d.At, outlines, keys)
	if len(outlines) > 0 {
		end := uint64(d.First) + uint64(len(outlines)) - 1
		if end > p.head {
			if uint64(d.First) > p.head+1 {
				return d.corrupt("its first number")
			}
			p.head = end
			p.places = append(p.places, place{uint64(d.First), d.number()})
		}
	}
	return nil
}

// checkpoint is what a checkpoint's parts hold.
type checkpoint struct {
	memory.Checkpoint
	Run string
}

// part is a piece of a checkpoint, in a collection of their own.
type part struct {
	ID   bson.ObjectID `bson:"_id"`
	Data []byte        `bson:"data"`
}

func (l *Log) readCheckpoint(ctx context.Context, d *document) (checkpoint, error) {
	var c checkpoint
	var data []byte
	for _, id := range d.Parts {
		var p part
		err := l.e.call(ctx, func(ctx context.Context) error {
			err := l.e.db.Collection("checkpoints").FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&p)
			if errors.Is(err, mongo.ErrNoDocuments) {
				return errStale
			}
			return err
		})
		if err != nil {
			return c, err
		}
		data = append(data, p.Data...)
	}
	if err := json.Unmarshal(data, &c); err != nil || len(c.Epochs) == 0 {
		return c, d.corrupt("the checkpoint")
	}
	return c, nil
}

// writeCheckpoint puts a checkpoint into the chain, unless others go on
// faster: then the next one will do.
func (l *Log) writeCheckpoint(ctx context.Context) (number uint64, err error) {
	l.mu.Lock()
	d := l.change(kindCheckpoint)
	c := checkpoint{Checkpoint: l.view.Checkpoint(ctx), Run: l.runName}
	durability := l.durability
	l.mu.Unlock()
	data, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	parts := l.e.db.Collection("checkpoints")
	for len(data) > 0 {
		p := part{ID: bson.NewObjectIDFromTimestamp(time.Now()), Data: data[:min(len(data), partSize)]}
		data = data[len(p.Data):]
		if err := l.e.call(ctx, func(ctx context.Context) error {
			_, err := parts.InsertOne(ctx, p)
			return err
		}); err != nil {
			return 0, err
		}
		d.Parts = append(d.Parts, p.ID)
	}
	if err := l.put(ctx, d, durability); err != nil {
		l.deleteParts(ctx, d.Parts)
		return 0, err
	}
	return d.number(), nil
}

func (l *Log) deleteParts(ctx context.Context, parts []bson.ObjectID) {
	for _, id := range parts {
		_ = l.e.call(ctx, func(ctx context.Context) error { // what is left over harms nobody
			_, err := l.e.db.Collection("checkpoints").DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
			return err
		})
	}
}
