package mongodb

import (
	"context"
	"encoding/hex"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"crier/internal/engine"
)

// shown are the kinds of entries that are to be seen in collections of their
// own, a document for each under its id: for those who look into the database.
// The registry's chain is the truth; these follow it after each change, and
// when an engine is opened.
var shown = map[string]string{"app": "apps", "client": "clients"}

// shownEntry is such a document.
type shownEntry struct {
	ID      bson.ObjectID `bson:"_id"`
	Version int64         `bson:"version"`
	Data    []byte        `bson:"data"`            // the entry's bytes
	Value   any           `bson:"value,omitempty"` // what they say
}

func shownID(name string) (id bson.ObjectID, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	copy(id[:], b)
	return id, true
}

// show writes what an entry is now. If that fails it is written another time.
// Who changes it meanwhile writes as well, and perhaps before this one: it
// looks once more.
func (r *Registry) show(ctx context.Context, kind, name string) {
	collection, ok := shown[kind]
	id, isID := shownID(name)
	if !ok || !isID {
		return
	}
	e := r.entry(kind, name)
	for {
		err := r.showOne(ctx, r.e.db.Collection(collection), id, e)
		if err == nil {
			err = r.fresh(ctx)
		}
		if err != nil {
			r.e.logger().WarnContext(ctx, "a collection is behind the registry until the next start", "collection", collection, "id", name, "error", err)
			return
		}
		now := r.entry(kind, name)
		if now.Version == e.Version {
			return
		}
		e = now
	}
}

// entry gives an entry as it is known, or one of version 0.
func (r *Registry) entry(kind, name string) engine.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, there := r.find(kind, name); there {
		return copyOf(r.kinds[kind][i])
	}
	return engine.Entry{}
}

// showOne writes an entry, or deletes it if its version is 0.
func (r *Registry) showOne(ctx context.Context, coll *mongo.Collection, id bson.ObjectID, e engine.Entry) error {
	byID := bson.D{{Key: "_id", Value: id}}
	if e.Version == 0 {
		return r.e.call(ctx, func(ctx context.Context) error {
			_, err := coll.DeleteOne(ctx, byID)
			return err
		})
	}
	d := shownEntry{ID: id, Version: int64(e.Version), Data: e.Value}
	if v, ok := parseValue(e.Value); ok {
		d.Value = v
	}
	// One that is newer stays: the insert behind the update fails for its id.
	older := append(byID, bson.E{Key: "version", Value: bson.D{{Key: "$lt", Value: d.Version}}})
	err := r.e.call(ctx, func(ctx context.Context) error {
		_, err := coll.ReplaceOne(ctx, older, d, options.Replace().SetUpsert(true))
		return err
	})
	if mongo.IsDuplicateKeyError(err) {
		return nil
	}
	return err
}

// showAll brings the collections up to what the registry says.
func (r *Registry) showAll(ctx context.Context) error {
	for kind, collection := range shown {
		coll := r.e.db.Collection(collection)
		there := map[bson.ObjectID]int64{}
		err := r.e.callLong(ctx, func(ctx context.Context) error {
			cur, err := coll.Find(ctx, bson.D{}, options.Find().SetProjection(bson.D{{Key: "version", Value: 1}}))
			if err != nil {
				return err
			}
			defer cur.Close(context.WithoutCancel(ctx))
			for cur.Next(ctx) {
				var d shownEntry
				if cur.Decode(&d) != nil {
					continue // it is not Crier's
				}
				if d.Version > 0 { // else it is not Crier's
					there[d.ID] = d.Version
				}
			}
			return cur.Err()
		})
		if err != nil {
			return err
		}
		r.mu.Lock()
		entries := append([]engine.Entry(nil), r.kinds[kind]...)
		r.mu.Unlock()
		for _, e := range entries {
			id, ok := shownID(e.Name)
			if !ok {
				continue
			}
			if there[id] < int64(e.Version) {
				if err := r.showOne(ctx, coll, id, e); err != nil {
					return err
				}
			}
			delete(there, id)
		}
		for id := range there {
			if err := r.gone(ctx, kind, coll, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone deletes the document of an entry that is not there, unless another node
// has made it meanwhile.
func (r *Registry) gone(ctx context.Context, kind string, coll *mongo.Collection, id bson.ObjectID) error {
	_, err := r.Get(ctx, kind, id.Hex())
	if err == nil {
		return nil
	}
	return r.showOne(ctx, coll, id, engine.Entry{})
}
