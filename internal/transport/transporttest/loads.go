package transporttest

import (
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// loads are many messages, and readers of all speeds.
var loads = []scenario{
	{name: "a backlog while publishing goes on", tailBytes: tiny, run: backlog},
	{name: "a backlog in the tail while publishing goes on", run: backlog},
	{name: "resume again and again under load", is: resumes, tailBytes: 100_000, run: resumeUnderLoad},
	{name: "slow readers beside fast ones", is: connects, run: slowBesideFast},
	{name: "a reader that stopped beside fast ones", is: connects, run: stoppedBesideFast},
}

// pad makes texts of 200 bytes, so that thousands of them don't fit anywhere.
var pad = strings.Repeat("x", 190)

func numbered(from, n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("%09d.%s", from+i, pad)
	}
	return texts
}

// publishers publish n numbered texts to "a", ten at a time, with others to
// "b" in between, until the returned function is done.
func (e *Env) publishers(from, n int) (wait func()) {
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; i < n; i += 10 {
			e.Publish("a", numbered(from+i, min(10, n-i))...)
			e.Publish("b", "between")
			if i%100 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	})
	return all.Wait
}

func backlog(e *Env) {
	const history, live = 4000, 2000
	e.publishers(0, history)()
	all := []*ear{
		e.listen(Options{Patterns: []string{"a"}, Since: "earliest"}),
		e.listen(Options{Patterns: []string{"*", "a"}, Since: "earliest"}),
		e.listen(Options{Patterns: []string{"a"}, Since: "last:100"}),
	}
	wait := e.publishers(history, live)
	var readers sync.WaitGroup
	for i, l := range all {
		from := 0
		if i == 2 {
			from = history - 100
		}
		readers.Go(func() { l.countsUp(from, history+live) })
	}
	readers.Wait()
	wait()
}

// countsUp checks that exactly the numbered texts come, in order; others that
// come between are passed over. It returns how the last one was told.
func (a *ear) countsUp(from, to int) Event {
	var ev Event
	for want := from; want < to; {
		timer := time.AfterFunc(patience, a.Close)
		var err error
		ev, err = a.Next()
		timer.Stop()
		if err != nil || ev.Kind == End || ev.Kind == Gap {
			a.e.T.Errorf("after %d: %v, %v %+v", want, err, ev.Kind, ev.Gap)
			return ev
		}
		if ev.Kind != Message || string(ev.Message.Data) == "between" {
			continue
		}
		if got := string(ev.Message.Data); got != numbered(want, 1)[0] {
			a.e.T.Errorf("got %.12q, want number %d", got, want)
			return ev
		}
		want++
	}
	return ev
}

func resumeUnderLoad(e *Env) {
	const n = 3000
	e.publishers(0, 500)()
	wait := e.publishers(500, n-500)
	since := "earliest"
	for from := 0; from < n; {
		to := min(n, from+1+from%173)
		l := e.listen(Options{Patterns: []string{"a"}, Since: since})
		last := l.countsUp(from, to)
		l.Close()
		if e.T.Failed() {
			break
		}
		since, from = last.Message.ID.String(), to
	}
	wait()
}

func slowBesideFast(e *Env) {
	const n = 1000 // 200 KB: three minutes and more at 1 KiB a second
	slow := e.listen(Options{Patterns: []string{"a"}, Rate: 1024})
	fast := []*ear{e.listen(Options{Patterns: []string{"a"}}), e.listen(Options{Patterns: []string{"**"}})}
	synctest.Wait()
	began := time.Now()
	var readers sync.WaitGroup
	var slowTook time.Duration
	readers.Go(func() {
		slow.countsUp(0, n)
		slowTook = time.Since(began)
	})
	for _, l := range fast {
		readers.Go(func() {
			l.countsUp(0, n)
			if took := time.Since(began); took > time.Second {
				e.T.Errorf("a fast reader took %v", took)
			}
		})
	}
	e.publishers(0, n)()
	if took := time.Since(began); took > time.Second {
		e.T.Errorf("publishing took %v", took)
	}
	readers.Wait()
	if slowTook < 2*time.Minute {
		e.T.Errorf("the slow reader took only %v; it was to be slow", slowTook)
	}
}

func stoppedBesideFast(e *Env) {
	const n = 5000
	stopped := e.listen(Options{Patterns: []string{"a"}})
	fast := e.listen(Options{Patterns: []string{"a"}})
	var reader sync.WaitGroup
	began := time.Now()
	reader.Go(func() { fast.countsUp(0, n) })
	e.publishers(0, n)()
	reader.Wait()
	if took := time.Since(began); took > time.Second {
		e.T.Errorf("it took %v", took)
	}
	stopped.countsUp(0, n) // it is late, and has lost nothing
}
