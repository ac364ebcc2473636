package mongodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
	l        *Log
	view     *memory.Log
	base     uint64 // what the documents up to here came to, the checkpoint says
	restored bool   // what comes is behind base
	at       uint64
	writer   bson.ObjectID // of the document at
	before   uint64        // the newest document that the log knew
	was      bson.ObjectID // the writer of that one, as it is now
	head     uint64
	epoch    message.Epoch
	run      string
	places   []place
	spent    []spent
}

func (l *Log) loadOnce(ctx context.Context) error {
	began, cuts := l.e.now(), l.e.cuts.Load()
	l.mu.Lock()
	before, again := l.at, l.view != nil
	l.mu.Unlock()
	newest, err := l.chain.newest(ctx, bson.E{Key: "kind", Value: bson.D{{Key: "$in", Value: bson.A{kindCheckpoint, kindDropped}}}})
	if err != nil {
		return err
	}
	var first document
	if newest > 0 {
		found, err := l.chain.get(ctx, newest, &first, lean)
		if err != nil {
			return err
		}
		if !found {
			return errStale
		}
	}
	if again && first.Kind == kindDropped && newest > before { // this log is of the life before
		l.mu.Lock()
		l.dropped = true
		l.mu.Unlock()
		return engine.ErrClosed
	}
	cfg := memory.LogConfig{Now: l.e.cfg.Now}
	p := &loading{l: l, before: before}
	if first.Kind == kindCheckpoint {
		c, err := l.readCheckpoint(ctx, &first)
		if err != nil {
			return err
		}
		p.view = memory.NewReplica(cfg, c.Checkpoint)
		p.base, p.head, p.run, p.epoch = uint64(first.Covers), c.Trimmed, c.Run, c.Epochs[len(c.Epochs)-1].Epoch
	} else {
		p.base = newest
		if err := p.begin(ctx, cfg, &first); err != nil {
			return err
		}
	}
	if err := l.chain.each(ctx, 1, last, lean, p.take); err != nil {
		return err
	}
	if p.at < newest {
		return errStale
	}
	s, err := p.view.State(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.dropped {
		return engine.ErrClosed
	}
	if l.at != before && p.at < l.at {
		return errStale // it was brought further meanwhile
	}
	if p.epoch == l.epoch && (p.at < before || !p.was.IsZero() && p.was != l.writer) && l.at == before {
		l.rolledBack = true
	}
	if l.view != nil {
		l.bell.note(p.head, nil, true)
	}
	l.view, l.at, l.confirmed, l.head, l.epoch, l.runName = p.view, p.at, began, p.head, p.epoch, p.run
	l.writer, l.known = p.writer, cuts
	l.places, l.spent, l.covered, l.garbage = p.places, p.spent, p.base, 0
	l.pass(&document{ID: l.chain.id(l.at), UpTo: int64(s.Trimmed)})
	l.count()
	l.blocks.clear()
	return nil
}

// begin makes the first document of a domain's life, if it is not there: an
// epoch, above that of the life before.
func (p *loading) begin(ctx context.Context, cfg memory.LogConfig, before *document) error {
	l := p.l
	var d document
	found, err := l.chain.get(ctx, p.base+1, &d, lean)
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
			ID: l.chain.id(p.base + 1), Domain: l.domain, Kind: kindEpoch, At: l.e.now().UnixMicro(),
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
	p.restored, p.at, p.writer = true, p.base+1, d.Writer
	p.epoch, p.run = epoch, d.Run
	return nil
}

// take takes the next document.
func (p *loading) take(raw bson.Raw) error {
	var d document
	if err := bson.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	n := d.number()
	epoch, err := d.epoch()
	if err != nil {
		return err
	}
	if n == p.before {
		p.was = d.Writer
	}
	if n <= p.base {
		if d.Kind == kindBlock && !p.restored {
			return p.takeBlock(&d, epoch)
		}
		p.spend(&d)
		return nil
	}
	if !p.restored {
		p.restored, p.at = true, p.base
		p.view.Restored()
	}
	if n == p.base+1 && n == p.at { // the beginning
		p.spend(&d)
		return nil
	}
	if n != p.at+1 {
		return errStale // a newer checkpoint has come, and what was before it is gone
	}
	p.at, p.writer = n, d.Writer
	switch d.Kind {
	case kindBlock:
		return p.takeBlock(&d, epoch)
	case kindEpoch:
		p.view.ReplayEpoch(epoch)
		p.epoch, p.run = epoch, d.Run
	case kindTrim:
		p.view.ReplayTrim(uint64(d.UpTo), d.At)
	case kindForget:
		p.view.ReplayForget(d.Topic, d.At)
	case kindCheckpoint:
	case kindDropped:
		return errStale // newer than what was begun with
	default:
		return d.corrupt("its kind")
	}
	p.spend(&d)
	return nil
}

func (p *loading) spend(d *document) {
	p.spent = append(p.spent, spent{number: d.number(), by: d.number(), at: d.At, parts: d.Parts})
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
	if len(outlines) == 0 {
		return d.corrupt("its index")
	}
	end := uint64(d.First) + uint64(len(outlines)) - 1
	if end > p.head && uint64(d.First) > p.head+1 {
		// Or what lies between was trimmed and deleted while this was read.
		return fmt.Errorf("%w: %w", errStale, d.corrupt("its first number"))
	}
	p.view.Replay(message.ID{Epoch: epoch, Seq: uint64(d.First)}, d.At, outlines, keys)
	p.head = max(p.head, end)
	p.places = append(p.places, place{uint64(d.First), d.number(), d.At})
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

// writeCheckpoint puts a checkpoint of the log as it is into the chain. Others
// may go on meanwhile: it says up to which document it goes. It returns what
// is to be deleted with it.
func (l *Log) writeCheckpoint(ctx context.Context) (old []spent, err error) {
	l.mu.Lock()
	covers := l.at
	c := checkpoint{Checkpoint: l.view.Checkpoint(ctx), Run: l.runName}
	l.mu.Unlock()
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var ids []bson.ObjectID
	for some := range slices.Chunk(data, partSize) {
		p := part{ID: bson.NewObjectID(), Data: some}
		if err := l.e.call(ctx, func(ctx context.Context) error {
			_, err := l.e.db.Collection("checkpoints").InsertOne(ctx, p)
			return err
		}); err != nil {
			return nil, err
		}
		ids = append(ids, p.ID)
	}
	late := false
	// If this fails the parts stay: nobody knows whether the document is there.
	err = l.commit(ctx, func() (*document, error) {
		if late = covers < l.covered; late {
			return nil, nil // with another's, what this one needs may be deleted already
		}
		d := l.change(kindCheckpoint)
		d.Covers, d.Parts = int64(covers), ids
		old = nil
		for _, s := range l.spent {
			if s.deletedWith(d) {
				old = append(old, s)
			}
		}
		return d, nil
	})
	if late {
		return nil, l.deleteParts(ctx, ids)
	}
	return old, err
}

func (l *Log) deleteParts(ctx context.Context, ids []bson.ObjectID) error {
	for _, id := range ids {
		err := l.e.call(ctx, func(ctx context.Context) error {
			_, err := l.e.db.Collection("checkpoints").DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
