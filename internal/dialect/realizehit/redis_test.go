package realizehit_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"crier/internal/dialect/redistest"
	"crier/internal/engine/memory"
)

// fresh is a name that nobody else at a shared Redis uses.
func fresh() string { return "t" + strings.ToLower(rand.Text()) }

// TestTwoNodesOneRedis has nodes with a log each: what is posted to one, or
// published in Redis, reaches the sockets of both, once.
func TestTwoNodesOneRedis(t *testing.T) {
	addr := redistest.Addr(t)
	other := newBackend(t, addr)
	a, b := startNode(t, nodeOptions{redis: addr}).ready(), startNode(t, nodeOptions{redis: addr}).ready()
	name := fresh()
	exact, wild := fmt.Sprintf(`{"%s":"x"}`, name), fmt.Sprintf(`{"%s":"*"}`, name)
	exactID, wildID := idOf(t, exact), idOf(t, wild)
	onA, onB, both := a.socket(), b.socket(), a.socket()
	onA.subscribe(exact)
	onB.subscribe(exact)
	both.subscribe(exact)
	both.subscribe(wild)

	all := func(payload string) {
		t.Helper()
		onA.wants(exactID + payload)
		onB.wants(exactID + payload)
		got := map[string]bool{both.read(): true, both.read(): true}
		if !got["4"+exactID+payload] || !got["4"+wildID+payload] {
			t.Fatalf("%v came, want %s by both subscriptions", got, payload)
		}
	}
	for _, payload := range []string{`"one"`, `{"a":[1,2,"é"]}`, `null`, `"one"`, `"one"`} {
		other.publish(name+":x", payload)
		all(payload)
		a.posts(exact, payload)
		all(payload)
		b.posts(exact, payload)
		all(payload)
	}
	other.publish(name+":x", "no JSON")
	all(`"no JSON"`)

	// Only the pattern with a star.
	other.publish(name+":y", "1")
	both.wants(wildID + "1")
	// What Redis matches beyond the pattern, or is no pattern, is dropped.
	for _, channel := range []string{name + ":y|zoo:1", name + ":*", name + ":", name + ":a b"} {
		other.publish(channel, "2")
	}
	other.publish(name+":z", "3")
	both.wants(wildID + "3")
	for _, s := range []*socket{onA, onB, both} {
		s.quiet()
	}
}

// TestOthersHearWhatIsPosted listens in Redis as another program does.
func TestOthersHearWhatIsPosted(t *testing.T) {
	addr := redistest.Addr(t)
	other := newBackend(t, addr)
	a := startNode(t, nodeOptions{redis: addr}).ready()
	name := fresh()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	heard := make(chan string, 10)
	conn, release := other.Dedicate()
	defer release()
	conn.SetPubSubHooks(hooks(func(channel, payload string) {
		if channel != "crier:own" || strings.Contains(payload, name) {
			heard <- channel + " " + payload
		}
	}))
	if err := conn.Do(ctx, conn.B().Subscribe().Channel("crier:own", "a:1|"+name+":x").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	a.posts(fmt.Sprintf(`{"%s":"x","a":1}`, name), `{ "b" : 1 }`)
	next := func() string {
		select {
		case s := <-heard:
			return s
		case <-ctx.Done():
			t.Fatal("nothing is heard")
			return ""
		}
	}
	if own := next(); !strings.HasPrefix(own, "crier:own ") || !strings.HasSuffix(own, " a:1|"+name+":x") {
		t.Errorf("announced as %q", own)
	}
	if got, want := next(), "a:1|"+name+`:x {"b":1}`; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// TestOnlyWhatIsWanted counts what a node is subscribed to in Redis.
func TestOnlyWhatIsWanted(t *testing.T) {
	addr := redistest.Addr(t)
	other := newBackend(t, addr)
	a := startNode(t, nodeOptions{redis: addr}).ready()
	name := fresh()
	pattern, channel := fmt.Sprintf(`{"%s":"x"}`, name), name+":x"
	first, second := a.socket(), a.socket()
	if n := other.listeners(channel); n != 0 {
		t.Fatalf("%d listen before anybody wants it", n)
	}
	first.subscribe(pattern)
	if n := other.listeners(channel); n != 1 { // once it is answered
		t.Fatalf("%d listen", n)
	}
	second.subscribe(pattern)
	first.unsubscribe(pattern)
	second.quiet()
	if n := other.listeners(channel); n != 1 {
		t.Fatalf("%d listen while one socket wants it", n)
	}
	_ = second.c.CloseNow() // which leaves all its subscriptions
	eventually(t, "the last to leave is unsubscribed", func() bool { return other.listeners(channel) == 0 })

	native := a.native("realizehit/" + name + "/x")
	eventually(t, "a native subscription is a want", func() bool { return other.listeners(channel) == 1 })
	other.publish(channel, `"native"`)
	eventually(t, "it hears", func() bool { _, lag := native.Position(); return lag > 0 || cursorMoved(native) })
	native.Close()
	eventually(t, "it is unsubscribed", func() bool { return other.listeners(channel) == 0 })

	wild := a.native("realizehit/" + name + "/*")
	defer wild.Close()
	eventually(t, "a pattern is subscribed to", func() bool { return other.publish(name+":y", "1") == 1 })
}

// TestSharedLog has two nodes on one log: one listens, for the wants of both;
// when it goes the other does.
func TestSharedLog(t *testing.T) {
	addr := redistest.Addr(t)
	other := newBackend(t, addr)
	eng := memory.New(memory.Config{})
	t.Cleanup(func() { _ = eng.Close() })
	a := startNode(t, nodeOptions{redis: addr, engine: eng}).ready()
	b := startNode(t, nodeOptions{redis: addr, engine: eng}).ready()
	name := fresh()
	pattern := fmt.Sprintf(`{"%s":"x"}`, name)
	id := idOf(t, pattern)
	onA, onB := a.socket(), b.socket()
	onB.subscribe(pattern)
	if n := other.publish(name+":x", "1"); n != 1 {
		t.Fatalf("%d connections hear what one of two nodes wants", n)
	}
	onB.wants(id + "1")
	onA.subscribe(pattern)
	for i := range 20 {
		payload := fmt.Sprint(i)
		switch i % 3 {
		case 0:
			if n := other.publish(name+":x", payload); n != 1 {
				t.Fatalf("%d connections hear it", n)
			}
		case 1:
			a.posts(pattern, payload)
		case 2:
			b.posts(pattern, payload)
		}
		onA.wants(id + payload)
		onB.wants(id + payload)
	}
	onA.quiet()
	onB.quiet()
	_ = onA.c.CloseNow()
	a.close() // whichever of them listens
	eventually(t, "the other listens", func() bool { return other.listeners(name+":x") == 1 && b.redis.Check(t.Context()) == nil })
	other.publish(name+":x", `"still"`)
	onB.wants(id + `"still"`)
	onB.quiet()
}

// TestOthersAreToldAtOnce subscribes at the node that does not listen: the one
// that does tells it as soon as that is in force, and not when it next looks by
// itself.
func TestOthersAreToldAtOnce(t *testing.T) {
	addr := redistest.Addr(t)
	eng := memory.New(memory.Config{})
	t.Cleanup(func() { _ = eng.Close() })
	o := nodeOptions{redis: addr, engine: eng, lease: time.Minute} // each looks every 15 s by itself
	startNode(t, o).ready()
	onB := startNode(t, o).ready().socket()
	for range 5 {
		began := time.Now()
		onB.subscribe(fmt.Sprintf(`{"%s":"x"}`, fresh()))
		if took := time.Since(began); took > 2*time.Second { // it is answered after 3 s in any case
			t.Fatalf("it took %v", took)
		}
	}
}

// TestRedisAway has Redis go and come back: sockets stay, what is posted
// meanwhile is delivered here and published later, and what others publish
// afterwards is heard.
func TestRedisAway(t *testing.T) {
	addr := redistest.Addr(t)
	other := newBackend(t, addr)
	g := redistest.NewProxy(t, addr)
	g.Set(redistest.Away)
	a := startNode(t, nodeOptions{redis: g.Addr})
	far := startNode(t, nodeOptions{redis: addr}).ready()
	if err := a.redis.Check(t.Context()); err == nil || a.redis.Connected() {
		t.Fatal("it says that Redis is there")
	}
	name := fresh()
	pattern := fmt.Sprintf(`{"%s":"x"}`, name)
	id := idOf(t, pattern)
	onA, onFar := a.socket(), far.socket()
	onA.subscribe(pattern) // works within the node
	onFar.subscribe(pattern)
	a.posts(pattern, `"early"`)
	onA.wants(id + `"early"`)
	for round := range 3 {
		g.Set(redistest.Through)
		if round == 0 {
			onFar.wants(id + `"early"`)
		} else {
			onFar.wants(id + fmt.Sprintf(`"away %d"`, round-1))
		}
		eventually(t, "Redis is heard again", func() bool { return a.redis.Check(t.Context()) == nil && other.listeners(name+":x") == 2 })
		other.publish(name+":x", fmt.Sprint(round))
		onA.wants(id + fmt.Sprint(round))
		onFar.wants(id + fmt.Sprint(round))
		onA.quiet()
		g.Set(redistest.Away)
		eventually(t, "it is not ready", func() bool { return a.redis.Check(t.Context()) != nil })
		a.posts(pattern, fmt.Sprintf(`"away %d"`, round))
		onA.wants(id + fmt.Sprintf(`"away %d"`, round))
	}
}

// TestSilentRedis has a Redis that accepts connections and says nothing, from
// the start and after a while.
func TestSilentRedis(t *testing.T) {
	addr := redistest.Addr(t)
	other := newBackend(t, addr)
	g := redistest.NewProxy(t, addr)
	g.Set(redistest.Mute)
	a := startNode(t, nodeOptions{redis: g.Addr})
	check := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return a.redis.Check(ctx)
	}
	if check() == nil {
		t.Fatal("a silent Redis is good from the start")
	}
	g.Set(redistest.Through)
	eventually(t, "Redis is heard", func() bool { return check() == nil })
	name := fresh()
	pattern := fmt.Sprintf(`{"%s":"x"}`, name)
	s := a.socket()
	s.subscribe(pattern)
	g.Set(redistest.Mute)
	began := time.Now()
	if err := check(); err == nil {
		t.Fatal("a silent Redis is good")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it was found out after %v", took)
	}
	g.Set(redistest.Through)
	eventually(t, "Redis is heard again", func() bool { return check() == nil && other.listeners(name+":x") == 1 })
	other.publish(name+":x", "1")
	s.wants(idOf(t, pattern) + "1")
}
