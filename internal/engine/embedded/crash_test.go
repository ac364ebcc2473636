package embedded_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/message"
	"crier/internal/seglog/faultfs"
	"crier/internal/topic"
)

// world is what the outside knows of an engine that crashes again and again:
// what was acknowledged and what was rung.
type world struct {
	seed uint64
	dir  string
	fs   *faultfs.FS
	cfg  embedded.Config

	mu     sync.Mutex
	blocks map[string]*sent           // by the block's name
	seen   map[message.ID]string      // every id that was acknowledged or rung, with its data
	firm   map[string]map[uint64]bool // by domain: sequence numbers that must be there
	names  atomic.Uint64
}

// sent is a block that was tried.
type sent struct {
	domain string
	key    engine.Key
	drafts []message.Draft
	acked  bool
	first  message.ID
}

var crashDomains = map[string]engine.Durability{
	"fsync-1": engine.Fsync, "fsync-2": engine.Fsync, "fsync-3": engine.Fsync, "async-1": engine.Async, "Async-1": engine.Async,
}

// TestCrash kills engines and machines at random moments, with journal and
// without, with failing syncs and without, and looks at what is left: every
// block that was acknowledged as fsync is there, whole, in order, once, and
// nothing that was rung for such a domain is lost; no id ever names two
// messages.
func TestCrash(t *testing.T) {
	worlds := 60
	if testing.Short() {
		worlds = 15
	}
	dir := t.TempDir()
	for i := range worlds {
		seed := uint64(i)
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { crashWorld(t, dir, seed) }) {
			return
		}
	}
}

func crashWorld(t *testing.T, dir string, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		seed: seed, dir: dir, fs: faultfs.New(seed, 64+rnd.IntN(2)*448),
		blocks: map[string]*sent{}, seen: map[message.ID]string{}, firm: map[string]map[uint64]bool{},
	}
	w.cfg = embedded.Config{Dir: dir, SegmentSize: 4 << 10, JournalFrom: 1 + rnd.IntN(4)}
	for round := range 4 {
		e := w.open(t)
		w.check(t, e, fmt.Sprintf("round %d", round))
		w.live(t, e, rnd)
	}
	e := w.open(t)
	w.check(t, e, "at the end")
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	e = w.open(t)
	w.check(t, e, "after closing")
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func (w *world) open(t *testing.T) *embedded.Engine {
	t.Helper()
	cfg := w.cfg
	cfg.FS = w.fs
	e, err := embedded.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("seed %d: open: %v", w.seed, err)
	}
	return e
}

// live publishes from several sides until the crash.
func (w *world) live(t *testing.T, e *embedded.Engine, rnd *rand.Rand) {
	var ops, syncs atomic.Int64
	limit := int64(50 + rnd.IntN(600))
	failEvery := int64(0)
	if rnd.IntN(3) > 0 {
		failEvery = int64(2 + rnd.IntN(20))
	}
	dead := make(chan struct{})
	w.fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		switch op.Kind {
		case faultfs.Write, faultfs.Datasync, faultfs.SyncDir, faultfs.Truncate, faultfs.Create, faultfs.Rename, faultfs.Remove:
			n := ops.Add(1)
			if n == limit {
				close(dead)
			}
			if n >= limit {
				return faultfs.Fault{Err: errors.New("the machine is going down"), Short: int(op.Len / 2)}
			}
		}
		if (op.Kind == faultfs.Datasync || op.Kind == faultfs.Create || op.Kind == faultfs.SyncDir) && failEvery > 0 && syncs.Add(1)%failEvery == 0 {
			return faultfs.Fault{Err: syscall.EIO}
		}
		return faultfs.Fault{}
	})
	var wg sync.WaitGroup
	for domain, d := range crashDomains {
		l, err := e.Log(t.Context(), domain, d)
		if err != nil {
			if !errors.Is(err, engine.ErrUnavailable) {
				t.Errorf("seed %d: log: %v", w.seed, err)
			}
			continue
		}
		l.Listen(func(n engine.News) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, m := range n.Messages {
				w.saw(t, domain, m.ID, string(m.Data), d == engine.Fsync)
			}
		})
		for range 2 {
			seed := rnd.Uint64()
			wg.Go(func() { w.publish(t, l, domain, rand.New(rand.NewPCG(seed, 2)), dead) })
		}
	}
	wg.Wait()
	after := w.fs.Crash(faultfs.Losses[rnd.IntN(len(faultfs.Losses))])
	e.Abandon()
	w.fs = after
}

func (w *world) publish(t *testing.T, l engine.Log, domain string, rnd *rand.Rand, dead chan struct{}) {
	for {
		select {
		case <-dead:
			return
		default:
		}
		number := w.names.Add(1)
		name := fmt.Sprintf("b%d", number)
		s := &sent{domain: domain, drafts: make([]message.Draft, 1+rnd.IntN(4))}
		for i := range s.drafts {
			pad := strings.Repeat(".", rnd.IntN(120))
			s.drafts[i] = message.Draft{Topic: "t/" + name[len(name)-1:], Data: fmt.Appendf(nil, "%s %d %d %s", name, i, len(s.drafts), pad)}
		}
		if rnd.IntN(2) == 0 {
			binary.LittleEndian.PutUint64(s.key.Hash[:], number)
			s.key.Hash[15], s.key.Body[0] = 1, 1
		}
		w.mu.Lock()
		w.blocks[name] = s
		w.mu.Unlock()
		if rnd.IntN(12) == 0 {
			_, _ = l.BeginEpoch(t.Context())
		}
		r, err := l.Append(t.Context(), engine.Block{Drafts: s.drafts, Key: s.key})
		if err != nil {
			if !errors.Is(err, engine.ErrUnavailable) {
				t.Errorf("seed %d: append: %v", w.seed, err)
				return
			}
			continue
		}
		w.mu.Lock()
		s.acked, s.first = true, r.First
		for i := range s.drafts {
			w.saw(t, domain, r.ID(i), string(s.drafts[i].Data), r.Durability == engine.Fsync)
		}
		w.mu.Unlock()
		if rnd.IntN(8) == 0 {
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Microsecond) // lets batches differ
		}
	}
}

// saw notes an id that the outside was told. The caller holds mu.
func (w *world) saw(t *testing.T, domain string, id message.ID, data string, firm bool) {
	key := id
	if was, ok := w.seen[key]; ok && was != domain+" "+data {
		t.Errorf("seed %d: id %s of %s names %q and %q", w.seed, id, domain, was, data)
	}
	w.seen[key] = domain + " " + data
	if firm {
		if w.firm[domain] == nil {
			w.firm[domain] = map[uint64]bool{}
		}
		w.firm[domain][id.Seq] = true
	}
}

// check compares what the engine has with what the outside knows.
func (w *world) check(t *testing.T, e *embedded.Engine, when string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for domain, d := range crashDomains {
		l, err := e.Log(t.Context(), domain, d)
		if err != nil {
			t.Fatalf("seed %d, %s: log of %s: %v", w.seed, when, domain, err)
		}
		w.checkLog(t, l, domain, when)
	}
	for name, s := range w.blocks {
		if s.key.IsZero() || !s.acked || crashDomains[s.domain] != engine.Fsync {
			continue
		}
		l, _ := e.Log(t.Context(), s.domain, engine.Fsync)
		r, err := l.Append(t.Context(), engine.Block{Drafts: s.drafts, Key: s.key})
		if err != nil || !r.Repeated || r.First != s.first || r.N != len(s.drafts) {
			t.Errorf("seed %d, %s: the key of %s gives %+v, %v; want the first receipt, %s", w.seed, when, name, r, err, s.first)
		}
	}
}

func (w *world) checkLog(t *testing.T, l engine.Log, domain, when string) {
	t.Helper()
	there := map[uint64]bool{}
	blocks := map[string]int{}
	next, part := uint64(1), 0
	for after := uint64(0); ; {
		p, err := l.Read(t.Context(), engine.Query{After: after, Filter: topic.NewFilter(topic.All()), Limit: 50})
		if err != nil {
			t.Fatalf("seed %d, %s: read %s: %v", w.seed, when, domain, err)
		}
		if p.Lost != 0 {
			t.Errorf("seed %d, %s: %s lost up to %d", w.seed, when, domain, p.Lost)
		}
		for _, m := range p.Messages {
			if m.ID.Seq != next {
				t.Fatalf("seed %d, %s: %s has %d after %d", w.seed, when, domain, m.ID.Seq, next-1)
			}
			next++
			there[m.ID.Seq] = true
			if was, ok := w.seen[m.ID]; ok && was != domain+" "+string(m.Data) {
				t.Errorf("seed %d, %s: %s was %q, it is %q now", w.seed, when, m.ID, was, m.Data)
			}
			var name string
			var i, n int
			if _, err := fmt.Sscanf(string(m.Data), "%s %d %d", &name, &i, &n); err != nil || i != part {
				t.Fatalf("seed %d, %s: %s: message %d is %q, want part %d of its block", w.seed, when, domain, m.ID.Seq, m.Data, part)
			}
			if part++; part == n {
				part = 0
				blocks[name]++
			}
		}
		if p.Next == after {
			break
		}
		after = p.Next
	}
	if part != 0 {
		t.Errorf("seed %d, %s: %s ends in the middle of a block", w.seed, when, domain)
	}
	for name, n := range blocks {
		if n > 1 {
			t.Errorf("seed %d, %s: block %s is %d times in %s", w.seed, when, name, n, domain)
		}
	}
	for seq := range w.firm[domain] {
		if !there[seq] {
			t.Errorf("seed %d, %s: %s has lost message %d", w.seed, when, domain, seq)
		}
	}
}
