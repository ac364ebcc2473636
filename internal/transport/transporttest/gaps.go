package transporttest

import (
	"strings"
	"testing/synctest"
	"time"

	"crier/internal/hub"
	"crier/internal/message"
)

// gaps are what a client is told when history is gone, and what it is not.
var gaps = []scenario{
	{name: "a topic was forgotten", is: resumes, run: forgotten},
	{name: "a cursor of another log", is: resumes, run: otherLog},
	{name: "a cursor ahead of the log", is: resumes, run: aheadOfTheLog},
	{name: "retention while away", is: resumes, run: retentionWhileAway},
	{name: "a gap waits for the engine", is: resumes, tailBytes: tiny, run: gapWaits},
	{name: "retention behind a reader that stopped", is: connects, tailBytes: tiny, run: retentionBehindAReader},
}

// gap checks that a gap comes next; false: the transport has ended with it
// and cannot tell what follows.
func (a *ear) gap(reason message.Reason, after string, resumed message.ID) (goesOn bool) {
	a.e.T.Helper()
	ev := a.beyond()
	if !a.e.driver.Traits().Gaps {
		if ev.Kind != End || a.e.driver.Traits().Goodbyes && ev.Reason != "gap" {
			a.e.T.Fatalf("got %v %q, want the end for a gap", ev.Kind, ev.Reason)
		}
		return false
	}
	if ev.Kind != Gap || ev.Gap.Reason != reason || ev.Gap.After != after || ev.Gap.Resumed != resumed {
		a.e.T.Fatalf("got %v %+v, want the gap %s after %s, resumed at %v", ev.Kind, ev.Gap, reason, after, resumed)
	}
	if a.e.driver.Traits().Places && ev.Cursor != resumed {
		a.e.T.Fatalf("the gap moves the cursor to %v, want %v", ev.Cursor, resumed)
	}
	return true
}

func forgotten(e *Env) {
	first := e.Publish("keep", "k1")
	gone := e.Publish("gone", "g1", "g2")
	e.Publish("keep", "k2")
	if err := e.Domain.Forget(e.T.Context(), "gone"); err != nil {
		e.T.Fatal(err)
	}
	since := first.First.String()
	e.listen(Options{Patterns: []string{"keep"}, Since: since}).hears("k2") // it lost nothing

	l := e.listen(Options{Patterns: []string{"gone", "keep"}, Since: since})
	if !l.gap(message.Deleted, since, gone.ID(1)) {
		return
	}
	l.hears("k2")
	e.Publish("gone", "g3")
	l.hears("g3")
	l.Close()
	again := e.listen(Options{Patterns: []string{"gone"}, Since: gone.ID(1).String()})
	again.hears("g3")
}

func otherLog(e *Env) {
	r := e.Publish("a", "1", "2")
	stranger := message.ID{Epoch: message.Epoch{Began: 7, Rand: 7}, Seq: 2}.String()
	oldest := r.First
	oldest.Seq--
	l := e.listen(Options{Patterns: []string{"a"}, Since: stranger})
	if l.gap(message.NewEpoch, stranger, oldest) {
		l.hears("1", "2")
	}
}

func aheadOfTheLog(e *Env) {
	r := e.Publish("a", "1", "2")
	ahead := r.ID(1)
	ahead.Seq += 5
	l := e.listen(Options{Patterns: []string{"a"}, Since: ahead.String()})
	if l.gap(message.NewEpoch, ahead.String(), r.ID(1)) {
		e.Publish("a", "3")
		l.hears("3")
	}
}

// shortHistory has main keep ten seconds of history.
func (e *Env) shortHistory() {
	e.T.Helper()
	if err := e.Hub.ConfigureDomain(e.T.Context(), hub.Main, func(s *hub.Settings) error {
		s.RetentionAge = 10 * time.Second
		return nil
	}); err != nil {
		e.T.Fatal(err)
	}
}

func retentionWhileAway(e *Env) {
	e.shortHistory()
	first := e.Publish("a", "1")
	old := e.Publish("a", "2", "3")
	time.Sleep(time.Minute)
	e.Publish("a", "4")
	l := e.listen(Options{Patterns: []string{"a"}, Since: first.First.String()})
	if l.gap(message.Retention, first.First.String(), old.ID(1)) {
		l.hears("4")
	}
	e.listen(Options{Patterns: []string{"a"}, Since: old.ID(1).String()}).hears("4")
}

// gapWaits: the engine goes away when a cursor turned out to be of another
// log, before that can be told; nobody may be told to resume past it.
func gapWaits(e *Env) {
	r := e.Publish("a", numbered(0, 1000)...)
	oldest := r.First
	oldest.Seq--
	stranger := message.ID{Epoch: message.Epoch{Began: 7, Rand: 7}, Seq: 2}.String()
	synctest.Wait()
	e.engine.goes.Store(true)
	time.AfterFunc(5*time.Minute, func() { e.EngineAway(false) })
	l := e.listen(Options{Patterns: []string{"a"}, Since: stranger})
	for {
		ev := l.next()
		if ev.Kind == Heartbeat {
			if !ev.Cursor.IsZero() {
				e.T.Fatalf("told to resume at %v, before the gap was", ev.Cursor)
			}
			continue
		}
		if e.driver.Traits().Gaps && (ev.Kind != Gap || ev.Gap.Resumed != oldest) {
			e.T.Fatalf("got %v %+v, want the gap", ev.Kind, ev.Gap)
		}
		if !e.driver.Traits().Gaps && ev.Kind != End {
			e.T.Fatalf("got %v, want the end for the gap", ev.Kind)
		}
		break
	}
	if e.driver.Traits().Gaps {
		l.countsUp(0, 1000)
	}
}

func retentionBehindAReader(e *Env) {
	e.shortHistory()
	l := e.listen(Options{Patterns: []string{"a"}, Since: "earliest"})
	// More than the connection holds, so that the rest stays in the log,
	// where it ends.
	big := strings.Repeat("x", 10_000)
	for range 100 {
		e.Publish("a", big)
	}
	time.Sleep(time.Minute)
	last := e.Publish("a", "last")
	for {
		switch ev := l.beyond(); {
		case ev.Kind == Message && string(ev.Message.Data) == "last":
			e.T.Fatal("what was between is gone, and it was not told")
		case ev.Kind == Gap:
			if ev.Gap.Reason != message.Retention || ev.Gap.Resumed.Seq != last.First.Seq-1 {
				e.T.Fatalf("gap %+v, want retention up to before %v", ev.Gap, last.First)
			}
			l.hears("last")
			return
		case ev.Kind == End:
			if e.driver.Traits().Gaps {
				e.T.Fatalf("ended: %q", ev.Reason)
			}
			return
		}
	}
}
