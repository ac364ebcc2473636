package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

func modelCases() []testCase {
	return []testCase{
		{name: "random operations", run: randomOperations,
			rule: "whatever is done, the log answers as the model does (see model.go); the operations of the failing run are printed"},
	}
}

const defaultSeeds = 20

func randomOperations(b *lab) {
	seeds := b.h.Seeds
	if seeds == 0 {
		seeds = defaultSeeds
		if testing.Short() {
			seeds /= 4
		}
	}
	for seed := range uint64(seeds) {
		r := newRun(b, seed)
		err := r.all()
		if err != nil {
			b.Fatalf("seed %d: %v\noperations:\n%s", seed, err, strings.Join(r.done, "\n"))
		}
	}
}

// run is one random run: a log, the model of it, and what was done.
type run struct {
	b      *lab
	rnd    *rand.Rand
	engine engine.Engine
	domain string
	log    engine.Log
	model  *model
	ttl    bool // messages with a time to live, and no retention by bytes, which may count them
	keys   []keyedBlock
	done   []string
}

// keyedBlock is a block that was appended under a key.
type keyedBlock struct {
	key     engine.Key
	n       int
	receipt engine.Receipt
}

func newRun(b *lab, seed uint64) *run {
	r := &run{
		b: b, rnd: rand.New(rand.NewPCG(seed, 7)), engine: b.engine(),
		domain: fmt.Sprintf("seed-%d", seed), model: &model{clock: b.clock},
		ttl: b.h.Clock && seed%2 == 1,
	}
	r.log = b.domain(r.engine, r.domain)
	return r
}

// all does 60 operations, and asks one question after each and all at the end.
func (r *run) all() error {
	steps := []struct {
		weight int
		do     func() (string, error)
	}{
		{40, r.append}, {6, r.appendKeyed}, {5, r.repeat}, {6, r.forget}, {8, r.trimByAge}, {6, r.trimByBytes},
		{8, r.advance}, {3, r.beginEpoch}, {4, r.reopen}, {3, r.crash},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	for range 60 {
		n := r.rnd.IntN(total)
		for _, s := range steps {
			if n -= s.weight; n < 0 {
				what, err := s.do()
				if what != "" {
					r.done = append(r.done, what)
				}
				if err == nil {
					err = r.ask()
				}
				if err != nil {
					return err
				}
				break
			}
		}
	}
	for range 60 {
		if err := r.ask(); err != nil {
			return err
		}
	}
	r.b.close(r.engine)
	return nil
}

func (r *run) drafts() []message.Draft {
	topics := someTopics()
	ds := make([]message.Draft, 1+r.rnd.IntN(4))
	if r.rnd.IntN(10) == 0 {
		ds = make([]message.Draft, 1+r.rnd.IntN(300))
	}
	for i := range ds {
		ds[i] = draft(topics[r.rnd.IntN(len(topics))], strings.Repeat("x", r.rnd.IntN(30)))
		if r.ttl && r.rnd.IntN(3) == 0 {
			ds[i].TTL = time.Duration(1+r.rnd.IntN(8)) * time.Second
		}
	}
	return ds
}

func (r *run) append() (string, error) {
	ds := r.drafts()
	receipt, err := r.log.Append(r.b.Context(), engine.Block{Drafts: slices.Clone(ds)})
	what := fmt.Sprintf("append %d: %d, %v", len(ds), receipt.First.Seq, err)
	if err == nil && (receipt.First.Seq != r.model.head()+1 || receipt.N != len(ds) || receipt.Repeated) {
		err = fmt.Errorf("receipt %+v for %d messages after %d", receipt, len(ds), r.model.head())
	}
	if err == nil {
		r.model.appended(receipt, ds)
	}
	return what, err
}

func (r *run) appendKeyed() (string, error) {
	ds := r.drafts()
	k := key(fmt.Sprintf("k%d", len(r.keys)), "x")
	receipt, err := r.log.Append(r.b.Context(), engine.Block{Drafts: slices.Clone(ds), Key: k})
	if err == nil {
		r.model.appended(receipt, ds)
		r.keys = append(r.keys, keyedBlock{k, len(ds), receipt})
	}
	return fmt.Sprintf("append %d under a key: %d, %v", len(ds), receipt.First.Seq, err), err
}

// repeat uses an old key again. A run lasts less than KeyLife.
func (r *run) repeat() (string, error) {
	if len(r.keys) == 0 {
		return "", nil
	}
	old := r.keys[r.rnd.IntN(len(r.keys))]
	other := old.key
	other.Body[0]++
	if _, err := r.log.Append(r.b.Context(), engine.Block{Drafts: drafts("a", 1), Key: other}); !errors.Is(err, engine.ErrKeyReused) {
		return "", fmt.Errorf("another body under a key: %v", err)
	}
	got, err := r.log.Append(r.b.Context(), engine.Block{Drafts: drafts("a", old.n), Key: old.key})
	if err == nil && (!got.Repeated || got.First != old.receipt.First || got.N != old.n || !got.Time.Equal(old.receipt.Time)) {
		err = fmt.Errorf("receipt of a repeat %+v, of the first %+v", got, old.receipt)
	}
	return fmt.Sprintf("repeat %d", old.receipt.First.Seq), err
}

func (r *run) forget() (string, error) {
	topics := someTopics()
	name := topics[r.rnd.IntN(len(topics))]
	r.model.forget(name)
	return "forget " + name, r.log.Forget(r.b.Context(), name)
}

func (r *run) trimByAge() (string, error) {
	if !r.b.h.Clock {
		return "", nil
	}
	ret := engine.Retention{Before: r.b.clock.Now().Add(-time.Duration(r.rnd.IntN(12)) * time.Second)}
	r.model.trim(ret)
	return "trim what is older than " + ret.Before.Format(time.TimeOnly), r.log.Trim(r.b.Context(), ret)
}

func (r *run) trimByBytes() (string, error) {
	if r.ttl {
		return "", nil
	}
	ret := engine.Retention{Bytes: r.rnd.Int64N(r.model.bytes() + 100)}
	r.model.trim(ret)
	return fmt.Sprintf("trim to %d bytes", ret.Bytes), r.log.Trim(r.b.Context(), ret)
}

func (r *run) advance() (string, error) {
	r.b.clock.Advance(time.Duration(r.rnd.IntN(5000)) * time.Millisecond)
	return "now it is " + r.b.clock.Now().Format(time.TimeOnly), nil
}

func (r *run) beginEpoch() (string, error) {
	_, err := r.log.BeginEpoch(r.b.Context())
	return "begin epoch", err
}

func (r *run) reopen() (string, error) {
	if !r.b.h.Reopens || r.b.d == engine.Memory {
		return "", nil
	}
	r.b.close(r.engine)
	return "reopen", r.again()
}

func (r *run) crash() (string, error) {
	if !r.b.h.Reopens || r.b.d == engine.Memory || r.b.store.Crash == nil {
		return "", nil
	}
	r.b.crash(r.engine)
	return "crash", r.again()
}

func (r *run) again() error {
	r.engine = r.b.engine()
	r.log = r.b.domain(r.engine, r.domain)
	return nil
}

// ask asks a random question and compares the answer.
func (r *run) ask() error {
	ctx, f := r.b.Context(), someFilter(r.rnd)
	switch r.rnd.IntN(6) {
	case 0:
		s, err := r.log.State(ctx)
		if err == nil {
			err = r.model.checkState(s)
		}
		return wrap(err, "state")
	case 1:
		n := r.rnd.IntN(30)
		after, head, err := r.log.Last(ctx, f, n)
		if err == nil {
			err = r.model.checkLast(f, n, after, head)
		}
		return wrap(err, "last %d of %s", n, f)
	case 2:
		seq, err := r.log.Complete(ctx, f)
		if err == nil {
			err = r.model.checkComplete(f, seq)
		}
		return wrap(err, "complete %s", f)
	case 3:
		limit, after := 1+r.rnd.IntN(10), []string{"", "a", "b"}[r.rnd.IntN(3)]
		infos, err := r.log.Topics(ctx, f, after, limit)
		if err == nil {
			err = r.model.checkTopics(f, after, limit, infos)
		}
		return wrap(err, "topics of %s after %q, limit %d", f, after, limit)
	}
	q := engine.Query{Filter: f, Limit: r.rnd.IntN(30), MaxBytes: r.rnd.IntN(3) * 100, After: r.rnd.Uint64N(r.model.head() + 2)}
	if r.rnd.IntN(4) == 0 {
		q.UpTo = q.After + r.rnd.Uint64N(50)
	}
	p, err := r.log.Read(ctx, q)
	if err == nil {
		err = r.model.checkPage(q, p)
	}
	return wrap(err, "read %s after %d, up to %d, limit %d, max bytes %d", f, q.After, q.UpTo, q.Limit, q.MaxBytes)
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
