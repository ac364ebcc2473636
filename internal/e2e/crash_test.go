package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crier/client"
	"crier/internal/topic"
)

// ordeal is a server that is killed again and again while it is used.
type ordeal struct {
	server      *server
	rng         *rand.Rand
	ledgers     []*ledger
	subscribers []*subscriber
	acks        map[string]*atomic.Int64 // by domain
	stop        chan struct{}            // closed to end the publishers
	publishing  sync.WaitGroup
	subscribing sync.WaitGroup
}

// TestKilledAtRandomMoments kills the server with publishers and subscribers
// at work, starts it on the same data directory, has everybody go on, and does
// so again. In the end every acknowledged message is stored once, in order,
// under the id that its publisher was told, and every subscriber got exactly
// what is stored. One domain syncs by itself, one is async, and some are as
// many as share a journal.
func TestKilledAtRandomMoments(t *testing.T) {
	seed := number(t, "CRIER_SEED", rand.IntN(1<<31))
	crashes := number(t, "CRIER_CRASHES", 5)
	if testing.Short() {
		crashes = min(crashes, 2)
	}
	t.Logf("CRIER_SEED=%d CRIER_CRASHES=%d", seed, crashes)
	o := &ordeal{
		server: startServer(t, "--drain", "0s"), rng: rand.New(rand.NewPCG(uint64(seed), 0)),
		acks: map[string]*atomic.Int64{}, stop: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { // before the server's own
		cancel()
		o.publishing.Wait()
		o.subscribing.Wait()
		for _, l := range o.ledgers {
			l.report(t)
		}
	})
	o.populate(t, ctx)
	loaded := 0
	for i := range crashes {
		if i%4 == 3 {
			o.killAtStart(t)
		} else {
			o.killUnderLoad(t)
			loaded++
		}
		o.server = o.server.restart(t)
	}
	o.awaitLoad(t, 1)
	close(o.stop)
	o.publishing.Wait()
	o.finish(t)
	for _, l := range o.ledgers {
		o.judge(t, l)
	}
	o.checkEpochs(t, "main", 0)
	o.checkEpochs(t, "quick", loaded)
}

// number reads a setting of the test.
func number(t *testing.T, env string, otherwise int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s is no number", env, text)
	}
	return n
}

// populate makes domains, and puts everybody to work.
func (o *ordeal) populate(t *testing.T, ctx context.Context) {
	t.Helper()
	all := []string{"**"}
	o.domain(t, ctx, "main", "", []work{(*publisher).keyed, (*publisher).keyed, (*publisher).bare, (*publisher).batches, (*publisher).session})
	o.subscribe(t, ctx, "sse", overSSE, all)
	o.subscribe(t, ctx, "ws", overWebSocket, all)
	o.subscribe(t, ctx, "raw", overRawWebSocket, []string{"load/*"})
	o.subscribe(t, ctx, "ndjson", overNDJSON, []string{"load/main-0", "load/main-3", "load/end"})
	o.subscribe(t, ctx, "pages", overPages, []string{"load/main-2", "load/**"})
	o.domain(t, ctx, "quick", "async", []work{(*publisher).keyed, (*publisher).bare, (*publisher).batches})
	o.subscribe(t, ctx, "sse", overSSE, []string{"load/quick-0", "load/end"})
	o.subscribe(t, ctx, "ws", overWebSocket, all)
	o.subscribe(t, ctx, "pages", overPages, all)
	listeners := []func(*subscriber, context.Context) error{overSSE, overWebSocket, overNDJSON, overRawWebSocket, overPages, overSSE}
	for i, listen := range listeners {
		o.domain(t, ctx, fmt.Sprintf("many%d", i), "", []work{(*publisher).keyed})
		o.subscribe(t, ctx, "one", listen, all)
	}
}

type work func(*publisher, context.Context, <-chan struct{})

// domain makes a domain with publishers.
func (o *ordeal) domain(t *testing.T, ctx context.Context, name, durability string, works []work) {
	t.Helper()
	if name != "main" {
		o.server.manage(t, "POST", "/v1/domains", fmt.Sprintf(`{"name":%q%s}`, name, prefixed(`,"durability":"`, durability, `"`)), nil)
	}
	l := newLedger(name)
	o.ledgers = append(o.ledgers, l)
	o.acks[name] = new(atomic.Int64)
	o.employ(t, ctx, works)
}

// employ adds publishers to the newest domain.
func (o *ordeal) employ(t *testing.T, ctx context.Context, works []work) {
	t.Helper()
	l := o.ledgers[len(o.ledgers)-1]
	for _, work := range works {
		p := &publisher{
			name: fmt.Sprintf("%s-%d", l.domain, l.publishers), ledger: l, client: o.server.dial(t), acks: o.acks[l.domain],
			rng: rand.New(rand.NewPCG(o.rng.Uint64(), 0)),
		}
		l.publishers++
		o.publishing.Go(func() { work(p, ctx, o.stop) })
	}
}

func prefixed(before, s, after string) string {
	if s == "" {
		return ""
	}
	return before + s + after
}

// subscribe adds a subscriber to the newest domain.
func (o *ordeal) subscribe(t *testing.T, ctx context.Context, name string, listen func(*subscriber, context.Context) error, patterns []string) {
	t.Helper()
	l := o.ledgers[len(o.ledgers)-1]
	s := &subscriber{
		name: name + " in " + l.domain, server: o.server.api, patterns: patterns, ledger: l, client: o.server.dial(t),
		rng: rand.New(rand.NewPCG(o.rng.Uint64(), 0)), listen: listen,
	}
	o.subscribers = append(o.subscribers, s)
	o.subscribing.Go(func() { s.run(ctx) })
}

// awaitLoad waits until n more messages of each of the larger domains, and one
// of the others, were acknowledged.
func (o *ordeal) awaitLoad(t *testing.T, n int64) {
	t.Helper()
	for name, acks := range o.acks {
		want := acks.Load() + 1
		if !strings.HasPrefix(name, "many") {
			want += n - 1
		}
		for began := time.Now(); acks.Load() < want; pause(t.Context(), time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatalf("no more messages of %s are acknowledged", name)
			}
		}
	}
}

// killUnderLoad kills at a random moment after the server has begun to do its
// work again.
func (o *ordeal) killUnderLoad(t *testing.T) {
	t.Helper()
	o.awaitLoad(t, 1+o.rng.Int64N(100))
	pause(t.Context(), time.Duration(o.rng.Int64N(int64(30*time.Millisecond))))
	o.server.kill()
}

// killAtStart kills a server while it starts, perhaps before it listens.
func (o *ordeal) killAtStart(t *testing.T) {
	t.Helper()
	o.awaitLoad(t, 1)
	o.server.kill()
	o.server = o.server.relaunch(t)
	pause(t.Context(), time.Duration(o.rng.Int64N(int64(300*time.Millisecond))))
	o.server.kill()
}

// finish publishes each domain's last message, and waits until everybody has
// it.
func (o *ordeal) finish(t *testing.T) {
	t.Helper()
	c := o.server.dial(t)
	for _, l := range o.ledgers {
		r, err := c.Publish(t.Context(), client.Draft{Domain: l.domain, Topic: "load/end", Data: []byte(payload(lastWord))})
		if err != nil {
			t.Fatal(err)
		}
		l.acknowledge(lastWord, r.ID)
	}
	for _, s := range o.subscribers {
		for began := time.Now(); ; pause(t.Context(), 5*time.Millisecond) {
			got, done := s.state()
			if done {
				break
			}
			if time.Since(began) > patience {
				t.Errorf("%s got %d messages and not the last one", s.name, len(got))
				break
			}
		}
	}
}

// judge compares a domain's history with what everybody was told.
func (o *ordeal) judge(t *testing.T, l *ledger) {
	t.Helper()
	var history []stored
	c := o.server.dial(t)
	for m, err := range c.History(t.Context(), client.PageOptions{Domain: l.domain, Topics: []string{"**"}}) {
		if err != nil {
			t.Fatalf("history of %s: %v", l.domain, err)
		}
		name, err := nameOf(m.Data)
		if err != nil {
			t.Errorf("%s: message %s: %v", l.domain, m.ID, err)
		}
		history = append(history, stored{m.ID, m.Topic, name})
	}
	l.checkHistory(t, history)
	t.Logf("%s: %d messages stored, %d acknowledged, %d not known", l.domain, len(history), len(l.acked), len(l.unsure))
	for _, s := range o.subscribers {
		if s.ledger != l {
			continue
		}
		filter := filterOf(t, s.patterns)
		var want []string
		for _, m := range history {
			if filter.Match(m.topic) {
				want = append(want, m.id)
			}
		}
		if got, _ := s.state(); !slices.Equal(got, want) {
			t.Errorf("%s: %s", s.name, firstDifference(got, want))
		}
	}
}

func filterOf(t *testing.T, texts []string) topic.Filter {
	t.Helper()
	patterns := make([]topic.Pattern, len(texts))
	for i, text := range texts {
		p, err := topic.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns[i] = p
	}
	return topic.NewFilter(patterns...)
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i == len(got):
			return fmt.Sprintf("got %d messages of %d; the first that is missing is %s", len(got), len(want), want[i])
		case i == len(want):
			return fmt.Sprintf("got %d messages, %d are stored; the first too many is %s", len(got), len(want), got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("message %d is %s, want %s", i+1, got[i], want[i])
		}
	}
	return "no difference"
}

// checkEpochs looks at the ends of a domain's epochs. Each time that async was
// stopped uncleanly a new one began, else none. Cursors at an epoch's end are
// good, beyond it and of epochs that never were they are a gap.
func (o *ordeal) checkEpochs(t *testing.T, domain string, least int) {
	t.Helper()
	var view struct {
		Epochs []struct {
			Epoch       string
			First, Last uint64
		}
	}
	o.server.manage(t, "GET", "/v1/domains/"+domain, "", &view)
	n := len(view.Epochs)
	if least == 0 && n != 1 || n < least+1 {
		t.Errorf("%s has %d epochs, want %d", domain, n, least+1)
		return
	}
	c := o.server.dial(t)
	head := view.Epochs[n-1].Last
	// look reads one message after a cursor, and wants a gap resumed at a
	// sequence number, or none.
	look := func(epoch string, seq, resumed uint64, gap bool) {
		t.Helper()
		cursor := fmt.Sprintf("%s%012x", epoch, seq)
		page, err := c.Page(t.Context(), client.PageOptions{Domain: domain, Topics: []string{"**"}, Since: cursor, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if (page.Gap != nil) != gap {
			t.Errorf("%s: cursor %s: gap %v, want one: %t", domain, cursor, page.Gap, gap)
			return
		}
		if gap {
			at, err := placeOf(page.Gap.Resumed)
			if err != nil || at.seq != resumed || page.Gap.Reason != client.Epoch || page.Gap.After != cursor {
				t.Errorf("%s: cursor %s: %v (after %s), %v; want it resumed at %d because of the epoch", domain, cursor, page.Gap, page.Gap.After, err, resumed)
			}
		}
		if resumed == head {
			return
		}
		if len(page.Messages) != 1 {
			t.Errorf("%s: after cursor %s are %d messages", domain, cursor, len(page.Messages))
		} else if at, err := placeOf(page.Messages[0].ID); err != nil || at.seq != resumed+1 {
			t.Errorf("%s: cursor %s goes on with %s, %v, want %d", domain, cursor, page.Messages[0].ID, err, resumed+1)
		}
	}
	for i, e := range view.Epochs {
		if i > 0 && e.First != view.Epochs[i-1].Last+1 {
			t.Errorf("%s: epoch %s begins at %d, the one before ended at %d", domain, e.Epoch, e.First, view.Epochs[i-1].Last)
		}
		look(e.Epoch, e.Last, e.Last, false)
		look(e.Epoch, e.Last+1, e.Last, true)
	}
	look("00000001ffff", head/2, 0, true)
}
