package mongodb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"crier/internal/engine"
)

// Documents of a chain are old after oldAge: only then they may be deleted. A
// node that has not heard for staleAge that it knows the newest document asks
// for it before it inserts, so that nobody takes the place of one that was
// deleted. What lies between is for clocks that differ.
const (
	oldAge   = 15 * time.Minute
	staleAge = 2 * time.Minute
)

// callTime bounds a call of the server; longTime one that may have to go
// through much.
const (
	callTime = 10 * time.Second
	longTime = 2 * time.Minute
)

// atOnce is how many documents are written or deleted by one call.
const atOnce = 64

// errTaken: another node's document has the number.
var errTaken = errors.New("the number is taken")

// errLost: a call was made, and its answer did not come.
var errLost = errors.New("the answer was lost")

// chain is a row of documents with consecutive numbers from 1, which several
// nodes lengthen: whoever inserts a number first has it. It knows no more than
// the numbers. Numbers are in the documents' ids, as ObjectIDs: six bytes that
// stand for the chain's name, six of the number. So the next one is found by
// its id alone, which is what every server has an index for.
type chain struct {
	e      *Engine
	coll   *mongo.Collection
	prefix [6]byte
}

func newChain(e *Engine, collection, name string) chain {
	sum := sha256.Sum256([]byte(name))
	c := chain{e: e, coll: e.db.Collection(collection)}
	copy(c.prefix[:], sum[:])
	return c
}

// id gives the id of a number.
func (c *chain) id(n uint64) bson.ObjectID {
	var id bson.ObjectID
	copy(id[:], c.prefix[:])
	binary.BigEndian.PutUint16(id[6:], uint16(n>>32))
	binary.BigEndian.PutUint32(id[8:], uint32(n))
	return id
}

// number is the reverse of id.
func number(id bson.ObjectID) uint64 {
	return uint64(binary.BigEndian.Uint16(id[6:]))<<32 | uint64(binary.BigEndian.Uint32(id[8:]))
}

// among selects the numbers of a range, of documents that are as said.
func (c *chain) among(from, to uint64, more ...bson.E) bson.D {
	return append(bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: c.id(from)}, {Key: "$lte", Value: c.id(to)}}}}, more...)
}

// last is the greatest number.
const last = 1<<48 - 1

// get reads the document of a number, if there is one.
func (c *chain) get(ctx context.Context, n uint64, into any, fields bson.D) (bool, error) {
	found := false
	err := c.e.call(ctx, func(ctx context.Context) error {
		err := c.coll.FindOne(ctx, c.byID(n), options.FindOne().SetProjection(fields)).Decode(into)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return nil
		}
		found = err == nil
		return err
	})
	return found, err
}

// newest returns the number of the newest document that is as said; 0: none.
func (c *chain) newest(ctx context.Context, more ...bson.E) (uint64, error) {
	n := uint64(0)
	err := c.e.callLong(ctx, func(ctx context.Context) error {
		var d struct {
			ID bson.ObjectID `bson:"_id"`
		}
		err := c.coll.FindOne(ctx, c.among(1, last, more...),
			options.FindOne().SetSort(bson.D{{Key: "_id", Value: -1}}).SetProjection(bson.D{{Key: "_id", Value: 1}})).Decode(&d)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return nil
		}
		n = number(d.ID)
		return err
	})
	return n, err
}

// reached returns a number such that its document is there, or from is 1, and
// the next one was not there at a moment since the call. The document before
// from is there.
func (c *chain) reached(ctx context.Context, from uint64) (uint64, error) {
	there, not := from-1, uint64(0)
	for step := uint64(1); not == 0 || there+1 < not; step *= 2 {
		n := there + step
		if not != 0 {
			n = there + (not-there)/2
		}
		var d struct {
			ID bson.ObjectID `bson:"_id"`
		}
		found, err := c.get(ctx, n, &d, bson.D{{Key: "_id", Value: 1}})
		if err != nil {
			return 0, err
		}
		if found {
			there = n
		} else {
			not = n
		}
	}
	return there, nil
}

// some reads the documents of a few numbers side by side. Those that are not
// there are nil.
func (c *chain) some(ctx context.Context, from, to uint64, fields bson.D) ([]*document, error) {
	all := make([]*document, to-from+1)
	errs := make([]error, len(all))
	var tasks sync.WaitGroup
	for i := range all {
		tasks.Go(func() {
			var d document
			found, err := c.get(ctx, from+uint64(i), &d, fields)
			if found {
				all[i] = &d
			}
			errs[i] = err
		})
	}
	tasks.Wait()
	return all, errors.Join(errs...)
}

// each gives the documents of a range, in order. The server has longTime for
// each piece of them.
func (c *chain) each(ctx context.Context, from, to uint64, fields bson.D, fn func(raw bson.Raw) error) error {
	return c.e.attempt(ctx, func(ctx context.Context) error {
		first, cancel := context.WithTimeout(ctx, longTime)
		defer cancel()
		cur, err := c.coll.Find(first, c.among(from, to), options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetProjection(fields))
		if err != nil {
			return err
		}
		defer cur.Close(context.WithoutCancel(ctx))
		next := func() bool {
			ctx, cancel := context.WithTimeout(ctx, longTime)
			defer cancel()
			return cur.Next(ctx)
		}
		for next() {
			if err := fn(cur.Current); err != nil {
				return err
			}
		}
		return cur.Err()
	})
}

// insert puts a document in its place, or returns errTaken.
func (c *chain) insert(ctx context.Context, doc any, d engine.Durability) error {
	err := c.e.call(ctx, func(ctx context.Context) error {
		coll := c.coll.Clone(options.Collection().SetWriteConcern(concern(d)))
		_, err := coll.InsertOne(ctx, doc)
		return err
	})
	if mongo.IsDuplicateKeyError(err) {
		return errTaken
	}
	return err
}

// concern is what a durability asks of the server for each write.
func concern(d engine.Durability) *writeconcern.WriteConcern {
	journal := d == engine.Fsync
	switch d {
	case engine.Fsync, engine.Async:
		return &writeconcern.WriteConcern{W: "majority", Journal: &journal}
	}
	return &writeconcern.WriteConcern{W: 1}
}

// write changes documents, each by its id alone, some at once and in no order.
// Ranges would read better, but there are servers that look through all of a
// collection for them.
func (c *chain) write(ctx context.Context, models []mongo.WriteModel) error {
	for some := range slices.Chunk(models, atOnce) {
		err := c.e.callLong(ctx, func(ctx context.Context) error {
			_, err := c.coll.BulkWrite(ctx, some, options.BulkWrite().SetOrdered(false))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// byID selects the document of a number.
func (c *chain) byID(n uint64) bson.D { return bson.D{{Key: "_id", Value: c.id(n)}} }

// call runs a call of the server, and says of what kind its error is.
func (e *Engine) call(ctx context.Context, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return e.attempt(ctx, fn)
}

// callLong is call for what may take long.
func (e *Engine) callLong(ctx context.Context, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, longTime)
	defer cancel()
	return e.attempt(ctx, fn)
}

// attempt runs something with the server, and says of what kind its error is.
func (e *Engine) attempt(ctx context.Context, fn func(ctx context.Context) error) error {
	e.gate.RLock() // a crash, which only tests make, waits for what is under way
	defer e.gate.RUnlock()
	if e.abandoned {
		return fmt.Errorf("%w: abandoned", engine.ErrUnavailable)
	}
	err := fn(ctx)
	if err == nil || mongo.IsDuplicateKeyError(err) {
		return err
	}
	var server mongo.ServerError
	var write mongo.WriteException
	switch {
	case e.life.Err() != nil:
		return fmt.Errorf("%w: %w", engine.ErrClosed, err)
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case errors.Is(err, engine.ErrCorrupt), errors.Is(err, errStale), errors.Is(err, engine.ErrDurability):
		return err
	case errors.As(err, &write) && write.WriteConcernError != nil: // it is written, and perhaps will not stay
		return fmt.Errorf("%w: %w: %w", engine.ErrUnavailable, errLost, err)
	case errors.As(err, &server) && !mongo.IsNetworkError(err) && !mongo.IsTimeout(err):
		return fmt.Errorf("%w: the server says: %w", engine.ErrUnavailable, err)
	}
	e.cuts.Add(1)
	var nobody topology.ServerSelectionError
	if errors.As(err, &nobody) {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w: %w", engine.ErrUnavailable, errLost, err)
}
