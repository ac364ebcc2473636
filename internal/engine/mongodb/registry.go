package mongodb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"crier/internal/engine"
	"crier/internal/engine/watch"
)

// fact is a document of the registry's chain: a change of an entry or of a
// lease. Its number is the entry's version, or the token of a lease that was
// taken. What a later change of the same replaces is deleted when it is old.
type fact struct {
	ID     bson.ObjectID `bson:"_id"`
	At     int64         `bson:"at"`
	Writer bson.ObjectID `bson:"writer"`
	Kind   []byte        `bson:"kind,omitempty"`
	Name   []byte        `bson:"name"`
	Value  []byte        `bson:"value,omitempty"`
	Gone   bool          `bson:"gone,omitempty"` // the entry or lease is no more
	Lease  bool          `bson:"lease,omitempty"`
	Holder []byte        `bson:"holder,omitempty"`
	Token  int64         `bson:"token,omitempty"`
	Until  int64         `bson:"until,omitempty"` // Unix microseconds
}

func (f *fact) number() uint64 { return number(f.ID) }

// subject is what a fact is about.
func (f *fact) subject() string {
	if f.Lease {
		return "l" + string(f.Name)
	}
	return "e" + string(f.Kind) + "\x00" + string(f.Name)
}

// Registry is the registry of an engine. Its methods may be called
// concurrently.
type Registry struct {
	e       *Engine
	chain   chain
	reading refresher
	writing chan struct{}
	watches watch.Set
	watched chan struct{} // holds one element when somebody began to watch

	mu        sync.Mutex // guards the fields below
	closed    bool
	at        uint64
	confirmed time.Time
	kinds     map[string][]engine.Entry // by name
	leases    map[string]engine.Lease
	latest    map[string]uint64 // of each subject, the number of its newest fact
	replaced  []replaced        // what can be deleted when it is old, in order
	watching  int
}

type replaced struct {
	number uint64
	at     int64
}

var _ engine.Registry = (*Registry)(nil)

func openRegistry(ctx context.Context, e *Engine) (*Registry, error) {
	r := &Registry{e: e, chain: newChain(e, "registry", "registry"), writing: make(chan struct{}, 1), watched: make(chan struct{}, 1)}
	r.reading.run = r.catchUp
	if err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("read the registry: %w", err)
	}
	if err := r.showAll(ctx); err != nil {
		return nil, fmt.Errorf("write apps and clients: %w", err)
	}
	e.tasks.Go(r.poll)
	return r, nil
}

// load reads all facts that are left.
func (r *Registry) load(ctx context.Context) error {
	fresh := &Registry{kinds: map[string][]engine.Entry{}, leases: map[string]engine.Lease{}, latest: map[string]uint64{}}
	began := r.e.now()
	err := r.chain.each(ctx, 1, last, whole, func(raw bson.Raw) error {
		var f fact
		if err := bson.Unmarshal(raw, &f); err != nil {
			return fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
		}
		fresh.apply(&f)
		return nil
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return engine.ErrClosed
	}
	if fresh.at < r.at { // facts are never taken back
		return fmt.Errorf("%w: the registry ends at %d, it was at %d", engine.ErrCorrupt, fresh.at, r.at)
	}
	for kind := range r.kinds {
		r.watches.Changed(kind)
	}
	r.kinds, r.leases, r.latest, r.replaced = fresh.kinds, fresh.leases, fresh.latest, fresh.replaced
	r.at, r.confirmed = fresh.at, began
	for kind := range r.kinds {
		r.watches.Changed(kind)
	}
	return nil
}

// apply brings a fact into what is known. The caller holds mu.
func (r *Registry) apply(f *fact) {
	r.at = f.number()
	s := f.subject()
	if before := r.latest[s]; before != 0 {
		r.replaced = append(r.replaced, replaced{before, f.At})
	}
	r.latest[s] = f.number()
	if f.Gone {
		delete(r.latest, s)
		r.replaced = append(r.replaced, replaced{f.number(), f.At})
	}
	if f.Lease {
		if f.Gone {
			delete(r.leases, string(f.Name))
			return
		}
		r.leases[string(f.Name)] = engine.Lease{
			Name: string(f.Name), Holder: string(f.Holder), Token: uint64(f.Token), Until: time.UnixMicro(f.Until).UTC(),
		}
		return
	}
	kind := string(f.Kind)
	i, there := r.find(kind, string(f.Name))
	e := engine.Entry{Kind: kind, Name: string(f.Name), Value: f.Value, Version: engine.Version(f.number())}
	switch {
	case f.Gone && there:
		r.kinds[kind] = slices.Delete(r.kinds[kind], i, i+1)
	case f.Gone:
	case there:
		r.kinds[kind][i] = e
	default:
		r.kinds[kind] = slices.Insert(r.kinds[kind], i, e)
	}
	r.watches.Changed(kind)
}

// find returns where an entry is or belongs among those of its kind.
func (r *Registry) find(kind, name string) (int, bool) {
	return slices.BinarySearchFunc(r.kinds[kind], name, func(e engine.Entry, name string) int {
		return strings.Compare(e.Name, name)
	})
}

// catchUp reads the chain to its end. Calls of it come one at a time.
func (r *Registry) catchUp(ctx context.Context) error {
	for {
		r.mu.Lock()
		next, confirmed, closed := r.at+1, r.confirmed, r.closed
		r.mu.Unlock()
		if closed {
			return engine.ErrClosed
		}
		began := r.e.now()
		if began.Sub(confirmed) > staleAge {
			newest, err := r.chain.newest(ctx)
			if err != nil {
				return err
			}
			r.mu.Lock()
			same := r.at >= newest
			if same {
				r.confirmed = began
			}
			r.mu.Unlock()
			if !same {
				if err := r.load(ctx); err != nil {
					return err
				}
			}
			continue
		}
		var f fact
		found, err := r.chain.get(ctx, next, &f, whole)
		if err != nil {
			return err
		}
		r.mu.Lock()
		if r.at == next-1 {
			if found {
				r.apply(&f)
			} else {
				r.confirmed = began
			}
		}
		r.mu.Unlock()
		if !found {
			return nil
		}
	}
}

// poll asks for changes of other nodes while somebody watches.
func (r *Registry) poll() {
	for {
		select {
		case <-r.watched:
		case <-r.e.life.Done():
			return
		}
		for r.isWatched() {
			wait := 4 * pollTime
			ctx, cancel := context.WithTimeout(r.e.life, callTime)
			if r.reading.do(ctx) != nil {
				wait *= 5
			}
			cancel()
			if pause(r.e.life, wait) != nil {
				return
			}
		}
	}
}

func (r *Registry) isWatched() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.watching > 0
}

// Get returns an entry as it is now.
func (r *Registry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	if err := checkEntry(ctx, kind, name, nil); err != nil {
		return engine.Entry{}, err
	}
	if err := r.fresh(ctx); err != nil {
		return engine.Entry{}, fmt.Errorf("get %s %q: %w", kind, name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return engine.Entry{}, engine.ErrClosed
	}
	i, ok := r.find(kind, name)
	if !ok {
		return engine.Entry{}, fmt.Errorf("%s %q: %w", kind, name, engine.ErrNotFound)
	}
	return copyOf(r.kinds[kind][i]), nil
}

// List returns entries as they are now.
func (r *Registry) List(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
	if err := r.fresh(ctx); err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, engine.ErrClosed
	}
	i, ok := r.find(kind, after)
	if ok {
		i++
	}
	entries := r.kinds[kind][i:]
	entries = slices.Clone(entries[:min(len(entries), cmp.Or(max(limit, 0), 1000))])
	for i := range entries {
		entries[i] = copyOf(entries[i])
	}
	return entries, nil
}

// Put writes an entry.
func (r *Registry) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	if err := checkEntry(ctx, kind, name, value); err != nil {
		return 0, err
	}
	value = bytes.Clone(value)
	f, err := r.commit(ctx, func(f *fact) (bool, error) {
		f.Kind, f.Name, f.Value = []byte(kind), []byte(name), value
		_, err := r.mayChange(kind, name, expect, fence)
		return true, err
	})
	if err != nil {
		return 0, fmt.Errorf("put %s %q: %w", kind, name, err)
	}
	r.show(ctx, kind, name)
	return engine.Version(f.number()), nil
}

// Delete removes an entry.
func (r *Registry) Delete(ctx context.Context, kind, name string, expect engine.Version, fence *engine.Lease) error {
	if err := checkEntry(ctx, kind, name, nil); err != nil {
		return err
	}
	_, err := r.commit(ctx, func(f *fact) (bool, error) {
		f.Kind, f.Name, f.Gone = []byte(kind), []byte(name), true
		there, err := r.mayChange(kind, name, expect, fence)
		if !there && (err == nil || errors.Is(err, engine.ErrConflict)) {
			err = engine.ErrNotFound
		}
		return true, err
	})
	if err != nil {
		return fmt.Errorf("delete %s %q: %w", kind, name, err)
	}
	r.show(ctx, kind, name)
	return nil
}

// mayChange says whether an entry is there and as expected, and the fence
// holds. The caller holds mu.
func (r *Registry) mayChange(kind, name string, expect engine.Version, fence *engine.Lease) (there bool, err error) {
	if fence != nil && !r.holds(*fence) {
		return false, engine.ErrLeaseLost
	}
	i, there := r.find(kind, name)
	version := engine.Version(0)
	if there {
		version = r.kinds[kind][i].Version
	}
	if expect != engine.AnyVersion && expect != version {
		err = fmt.Errorf("%w: expected version %d, it is at %d", engine.ErrConflict, expect, version)
	}
	return there, err
}

// Watch has fn called after changes; see [engine.Registry].
func (r *Registry) Watch(kind string, fn func()) (stop func()) {
	stopWatch := r.watches.Add(kind, fn)
	r.mu.Lock()
	r.watching++
	r.mu.Unlock()
	select {
	case r.watched <- struct{}{}:
	default:
	}
	var once sync.Once
	return func() {
		stopWatch()
		once.Do(func() {
			r.mu.Lock()
			r.watching--
			r.mu.Unlock()
		})
	}
}

// commit inserts the fact that build makes, again and again until no other
// node was faster. build is called with mu held, after the chain was read to
// its end.
func (r *Registry) commit(ctx context.Context, build func(f *fact) (bool, error)) (*fact, error) {
	ctx, cancel := r.e.join(ctx)
	defer cancel()
	select {
	case r.writing <- struct{}{}:
		defer func() { <-r.writing }()
	case <-ctx.Done():
		return nil, r.ended(ctx.Err())
	}
	for tries := 0; ; tries++ {
		if tries > 1 {
			if err := pause(ctx, min(time.Duration(tries)*time.Millisecond, 20*time.Millisecond)); err != nil {
				return nil, r.ended(err)
			}
		}
		if err := r.reading.do(ctx); err != nil {
			return nil, r.ended(err)
		}
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return nil, engine.ErrClosed
		}
		f := &fact{ID: r.chain.id(r.at + 1), At: r.e.now().UnixMicro(), Writer: bson.NewObjectID()}
		some, err := build(f)
		r.mu.Unlock()
		if err != nil || !some {
			return nil, err
		}
		err = r.put(ctx, f)
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return nil, r.ended(err)
		}
		r.clean(ctx)
		return f, nil
	}
}

// put inserts a fact; after a call of which nobody knows what became of it,
// it tries the same once more.
func (r *Registry) put(ctx context.Context, f *fact) error {
	err := r.chain.insert(ctx, f, engine.Fsync)
	if err != nil && !errors.Is(err, errTaken) && ctx.Err() == nil {
		err = r.chain.insert(ctx, f, engine.Fsync)
		if errors.Is(err, errTaken) {
			var there fact
			found, gerr := r.chain.get(ctx, f.number(), &there, whole)
			if gerr != nil {
				return gerr
			}
			if found && there.Writer == f.Writer {
				err = nil
			}
		}
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at+1 == f.number() {
		r.apply(f)
	}
	return nil
}

// clean deletes some of what was replaced long ago, the oldest first, so that
// nothing that was replaced outlives what replaced it. The newest fact stays.
func (r *Registry) clean(ctx context.Context) {
	old := r.e.now().Add(-oldAge).UnixMicro()
	for range 16 {
		r.mu.Lock()
		if len(r.replaced) == 0 || r.replaced[0].at >= old || r.replaced[0].number == r.at {
			r.mu.Unlock()
			return
		}
		n := r.replaced[0].number
		r.mu.Unlock()
		err := r.e.call(ctx, func(ctx context.Context) error {
			_, err := r.chain.coll.DeleteOne(ctx, bson.D{{Key: "_id", Value: r.chain.id(n)}})
			return err
		})
		if err != nil {
			r.e.logger().DebugContext(ctx, "an old fact of the registry is left over", "error", err)
			return // another time; nothing behind it goes before it
		}
		r.mu.Lock()
		if len(r.replaced) > 0 && r.replaced[0].number == n { // it was not loaded again meanwhile
			r.replaced = r.replaced[1:]
		}
		r.mu.Unlock()
	}
}

func (r *Registry) fresh(ctx context.Context) error {
	ctx, cancel := r.e.join(ctx)
	defer cancel()
	return r.ended(r.reading.do(ctx))
}

// ended says ErrClosed for whatever happens to a registry that is closed.
func (r *Registry) ended(err error) error {
	if err != nil && r.e.life.Err() != nil {
		return engine.ErrClosed
	}
	return err
}

func (r *Registry) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.watches.Close()
}

func copyOf(e engine.Entry) engine.Entry {
	e.Value = bytes.Clone(e.Value)
	return e
}

// checkEntry enforces the limits of an entry.
func checkEntry(ctx context.Context, kind, name string, value []byte) error {
	for _, field := range []struct{ what, s string }{{"kind", kind}, {"name", name}} {
		if n := len(field.s); n == 0 || n > engine.MaxEntryName {
			return fmt.Errorf("registry: %s is %d bytes long, it must be 1 to %d", field.what, n, engine.MaxEntryName)
		}
	}
	if len(value) > engine.MaxEntryValue {
		return fmt.Errorf("registry: value of %s %q is %d bytes long, the limit is %d", kind, name, len(value), engine.MaxEntryValue)
	}
	return ctx.Err()
}
