package transporttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/transport"
)

// endings are why a connection ends, and why it does not.
var endings = []scenario{
	{name: "the peer goes", run: peerGoes},
	{name: "drain", run: drain},
	{name: "credential ends", run: credentialEnds},
	{name: "kicked", is: connects, run: kicked},
	{name: "domain is deleted", run: domainDeleted},
	{name: "ended while it takes nothing", is: connects, run: endedWhileStuck},
	{name: "takes nothing", is: stalls, run: takesNothing},
	{name: "takes nothing, and then all of a slow store", is: stalls, tailBytes: tiny, run: slowStore},
	{name: "the engine is away", run: engineAway},
}

func (e *Env) wantOpen(conns, subscriptions int) {
	e.T.Helper()
	synctest.Wait()
	if c, s := e.Table.Len(), e.Domain.Subscriptions(); c != conns || s != subscriptions {
		e.T.Fatalf("%d connections and %d subscriptions are open, want %d and %d", c, s, conns, subscriptions)
	}
}

func peerGoes(e *Env) {
	var all []*ear
	for range 5 {
		all = append(all, e.listen(Options{Patterns: []string{"a", "b/*"}}))
	}
	e.Publish("a", "x")
	for _, l := range all {
		l.hears("x")
		l.Close()
	}
	time.Sleep(2 * time.Second)
	e.wantOpen(0, 0)
	if n := e.Ended("stalled") + e.Ended("draining") + e.Ended("kicked"); n != 0 {
		e.T.Fatalf("%d connections ended for reasons of the server", n)
	}
}

func drain(e *Env) {
	var all []*ear
	for range 20 {
		all = append(all, e.listen(Options{Patterns: []string{"a"}}))
	}
	e.Publish("a", "before")
	for _, l := range all {
		l.hears("before")
	}
	var done sync.WaitGroup
	began := time.Now()
	done.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Table.Drain(ctx, 5*time.Second); err != nil {
			e.T.Error(err)
		}
	})
	for _, l := range all {
		l.ends("draining")
	}
	done.Wait()
	if took := time.Since(began); took > 15*time.Second {
		e.T.Errorf("draining took %v", took)
	}
	e.wantOpen(0, 0)
}

func credentialEnds(e *Env) {
	a, b := e.listen(Options{Patterns: []string{"a"}}), e.listen(Options{Patterns: []string{"**"}})
	e.Publish("a", "x")
	a.hears("x")
	b.hears("x")
	began := time.Now()
	e.Revoke(errors.New("key was revoked"))
	a.ends("credential")
	b.ends("credential")
	if took := time.Since(began); took > time.Second {
		e.T.Errorf("it took %v", took)
	}
	time.Sleep(10 * time.Second)
	e.wantOpen(0, 0)
}

func kicked(e *Env) {
	a, b := e.listen(Options{Patterns: []string{"a"}}), e.listen(Options{Patterns: []string{"b"}})
	for _, c := range e.Table.List("", 10, nil) {
		if views := c.Subscriptions(); len(views) == 1 && len(views[0].Patterns) == 1 && views[0].Patterns[0] == "a" {
			c.End(transport.ErrKicked)
		}
	}
	a.ends("kicked")
	e.Publish("b", "x")
	b.hears("x")
	time.Sleep(10 * time.Second)
	e.wantOpen(1, 1)
}

func domainDeleted(e *Env) {
	if _, err := e.Hub.CreateDomain(e.T.Context(), "other", hub.Settings{}); err != nil {
		e.T.Fatal(err)
	}
	l := e.listen(Options{Patterns: []string{"a"}, Domain: "other"})
	synctest.Wait()
	if err := e.Hub.DropDomain(e.T.Context(), "other"); err != nil {
		e.T.Fatal(err)
	}
	l.ends("domain")
	time.Sleep(10 * time.Second)
	e.wantOpen(0, 0)
}

// fill publishes more than connections take without being read.
func (e *Env) fill(topicName string) {
	for range 100 {
		e.Publish(topicName, strings.Repeat("x", 10_000))
	}
	synctest.Wait()
}

func endedWhileStuck(e *Env) {
	l := e.listen(Options{Patterns: []string{"a"}})
	e.fill("a")
	e.wantOpen(1, 1)
	e.Revoke(errors.New("key was revoked"))
	time.Sleep(10 * time.Second)
	e.wantOpen(0, 0)
	if n := e.Ended("credential"); n != 1 {
		e.T.Errorf("%d connections counted as ended for their credential, want 1", n)
	}
	for l.next().Kind != End { // it finds what was on its way
	}
}

func takesNothing(e *Env) {
	stuck := e.listen(Options{Patterns: []string{"a"}})
	other := e.listen(Options{Patterns: []string{"b"}})
	e.fill("a")
	stall := e.driver.Traits().Stall
	time.Sleep(stall / 2)
	e.Publish("b", "x")
	other.hears("x")
	e.wantOpen(2, 2)
	time.Sleep(stall)
	e.wantOpen(1, 1)
	if n := e.Ended("stalled"); n != 1 {
		e.T.Errorf("%d connections counted as stalled, want 1", n)
	}
	stuck.Close()
}

// slowStore: a peer that was slow once is not given up for the store's being
// slow afterwards.
func slowStore(e *Env) {
	stall := e.driver.Traits().Stall
	const large, small = 100, 10_000
	for range large {
		e.Publish("a", strings.Repeat("x", 10_000))
	}
	for i := range small / 500 {
		texts := make([]string, 500)
		for j := range texts {
			texts[j] = fmt.Sprint(500*i + j)
		}
		e.Publish("a", texts...)
	}
	l := e.listen(Options{Patterns: []string{"a"}, Since: "earliest"})
	synctest.Wait()
	time.Sleep(stall / 2) // it is full
	e.EngineSlow(stall / 3)
	l.messages(large)
	for i := range small {
		l.hears(fmt.Sprint(i))
	}
	time.Sleep(2 * stall)
	e.wantOpen(1, 1)
}

func engineAway(e *Env) {
	e.Publish("a", "1")
	l := e.listen(Options{Patterns: []string{"a"}, Since: "earliest"})
	l.hears("1")
	e.EngineAway(true)
	if _, err := e.Domain.Publish(e.T.Context(), engine.Block{}); !errors.Is(err, engine.ErrUnavailable) {
		e.T.Fatal(err)
	}
	time.Sleep(5 * time.Minute)
	if connects(e.driver.Traits()) {
		e.wantOpen(1, 1)
	}
	e.EngineAway(false)
	for i := range 5 {
		e.Publish("a", fmt.Sprint(i))
	}
	l.hears("0", "1", "2", "3", "4")
}
