package qri_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/access"
	"crier/internal/dialect/qri"
	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/transport/transporttest"
)

// bubble runs a test in fake time.
func bubble(t *testing.T, o options, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, o)
		defer func() {
			r.stop()
			time.Sleep(time.Second) // for which the HTTP server lingers
		}()
		test(t, r)
	})
}

// TestStream holds a stream to its bytes.
func TestStream(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		first := r.publish("other", "before").ID(0)
		l := r.listen("p=123&s=2008521774")
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*", "X-Accel-Buffering": "no",
		} {
			if got := l.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		l.expect(event(first, "Tick"))
		topic := qri.Topic("123", "2008521774")
		said := r.publish(topic, "200ok", "two\nlines\r\nand\rmore\n", "")
		l.expect(event(said.ID(0), "200ok"),
			"id: "+said.ID(1).String()+"\ndata: two\ndata: lines\ndata: and\ndata: more\ndata: \n\n",
			event(said.ID(2), ""))
		// A type is left out, and binary data go as they are.
		typed, err := r.domain.Publish(t.Context(), engine.Block{Drafts: []message.Draft{
			{Topic: topic, Data: []byte("typed"), Type: "sports"}, {Topic: topic, Data: []byte{0xff, 1}, Binary: true},
		}})
		if err != nil {
			t.Fatal(err)
		}
		l.expect(event(typed.ID(0), "typed"), event(typed.ID(1), "\xff\x01"))
	})
}

// TestTick: at once, and then every 30 seconds; the place is that of the
// listener, also past what was not for it.
func TestTick(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		l := r.listen("p=a&s=b")
		began := time.Now()
		tick := l.block()
		l.expect(tick)
		first := time.Since(began)
		if first < 15*time.Second || first > 30*time.Second {
			t.Errorf("the second Tick came after %v, want 15 to 30 s", first)
		}
		last := r.publish("other", "x", "y").ID(1)
		for i := range 5 {
			before := time.Now()
			l.expect(event(last, "Tick"))
			if d := time.Since(before); d != 30*time.Second {
				t.Errorf("Tick %d came after %v", i, d)
			}
		}
	})
}

// TestTicksAreSpread: peers that came together do not tick together.
func TestTicksAreSpread(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		var when []time.Duration
		at := make(chan time.Duration)
		const peers = 200
		began := time.Now()
		for i := range peers {
			l := r.listen(fmt.Sprintf("p=%d&s=b", i))
			go func() {
				l.block()
				l.block()
				at <- time.Since(began)
			}()
		}
		for range peers {
			when = append(when, <-at)
		}
		slices.Sort(when)
		for i := 20; i < peers; i++ {
			if when[i]-when[i-20] < 200*time.Millisecond {
				t.Fatalf("20 Ticks of %d within %v", peers, when[i]-when[i-20])
			}
		}
	})
}

// TestTickWhileReplaying: history that takes long is no reason not to tick,
// with the place that was reached.
func TestTickWhileReplaying(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		topic := qri.Topic("a", "b")
		text := strings.Repeat("x", 64<<10)
		first := r.publish(topic, "first").ID(0)
		for range 60 {
			r.publish(topic, text)
		}
		l := r.listen("p=a&s=b", "Last-Event-ID", first.String())
		l.expect(event(first, "Tick"))
		last, ticks := "", 0
		for n := 0; n < 60; {
			block := l.block()
			id := block[:28]
			if strings.HasSuffix(block, "data: Tick\n\n") {
				ticks++
				if id != last {
					t.Errorf("Tick has %q, the last message %q", id, last)
				}
				continue
			}
			last = id
			n++
			time.Sleep(2 * time.Second) // a slow reader
		}
		if ticks < 3 {
			t.Errorf("%d Ticks in two minutes of replay", ticks)
		}
	})
}

// TestCapability: both of the pair must be right, and a wrong one disturbs
// nobody.
func TestCapability(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		right, also := r.listen("p=1&s=2"), r.listen("s=2&p=1&r=0.123")
		wrong, swapped := r.listen("p=1&s=3"), r.listen("p=2&s=1")
		odd := r.listen("p=a%2Fb&s=*")
		for _, l := range []*listener{right, also, wrong, swapped, odd} {
			l.block()
		}
		a := r.publish(qri.Topic("1", "2"), "yes").ID(0)
		b := r.publish(qri.Topic("a/b", "*"), "odd").ID(0)
		right.expect(event(a, "yes"))
		also.expect(event(a, "yes"))
		odd.expect(event(b, "odd"))
		wrong.expect(event(b, "Tick"))
		swapped.expect(event(b, "Tick"))
	})
}

// TestResume: by header, by the polyfill's query, and with ids that mean
// nothing here.
func TestResume(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		topic := qri.Topic("1", "2")
		said := r.publish(topic, "one", "two", "three")
		for name, l := range map[string]*listener{
			"header": r.listen("p=1&s=2", "Last-Event-ID", said.ID(0).String()),
			"query":  r.listen("p=1&s=2&r=5&lastEventId=" + said.ID(0).String()),
			"both":   r.listen("p=1&s=2&lastEventId="+said.ID(2).String(), "Last-Event-ID", said.ID(0).String()),
		} {
			t.Log(name)
			l.expect(event(said.ID(0), "Tick"), event(said.ID(1), "two"), event(said.ID(2), "three"))
		}
		// An id of the ancestor's kind is a gap, of which an EventSource sees
		// nothing, and then comes what there is.
		l := r.listen("p=1&s=2", "Last-Event-ID", "5d1a8bc2f1e00")
		l.expect(event(message.ID{}, "Tick"))
		gap := l.block()
		if !strings.Contains(gap, "\nevent: crier-gap\ndata: {\"after\":\"5d1a8bc2f1e00\",") || !strings.Contains(gap, `"epoch"`) {
			t.Errorf("gap %q", gap)
		}
		l.expect(event(said.ID(0), "one"), event(said.ID(1), "two"))
		// One that is gone is told too; the place while it is not is the
		// listener's own.
		if err := r.domain.Forget(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		last := r.publish(topic, "four").ID(0)
		l = r.listen("p=1&s=2", "Last-Event-ID", said.ID(0).String())
		l.expect(event(said.ID(0), "Tick"))
		if gap := l.block(); !strings.Contains(gap, `"reason":"deleted"`) || !strings.HasPrefix(gap, "id: "+said.ID(2).String()) {
			t.Errorf("gap %q", gap)
		}
		l.expect(event(last, "four"))
	})
}

// TestNotices: at connect after the Tick, at once when they change, with each
// Tick, and the changes that were missed.
func TestNotices(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		l := r.listen("p=1&s=2")
		place := r.publish("x", "x").ID(0)
		set := func(typ, text string) message.ID {
			if _, err := r.notices.Set(t.Context(), typ, text); err != nil {
				t.Fatal(err)
			}
			place.Seq++
			return place
		}
		l.block()
		first := set("102", "We restart at noon")
		l.expect(event(first, "102We restart at noon"))
		second := set("099", "two\nlines")
		lines := "id: " + second.String() + "\ndata: 099two\ndata: lines\n\n"
		l.expect(lines, event(second, "Tick"), lines, event(second, "102We restart at noon"))
		late := r.listen("p=1&s=2")
		late.expect(event(second, "Tick"), lines, event(second, "102We restart at noon"))
		late.close()
		if err := r.notices.Delete(t.Context(), "099"); err != nil {
			t.Fatal(err)
		}
		place.Seq++
		l.expect(event(place, "099delete"), event(place, "Tick"), event(place, "102We restart at noon"), event(place, "Tick"))
		// Who was away hears of the changes too.
		back := r.listen("p=1&s=2", "Last-Event-ID", first.String())
		back.expect(event(first, "Tick"), event(first, "102We restart at noon"), lines, event(place, "099delete"))
	})
}

func TestRefused(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		for _, tt := range []struct {
			method, target string
			status         int
			part           string
		}{
			{"GET", "/stream", 400, `"field":"p"`},
			{"GET", "/stream?p=1", 400, `"field":"s"`},
			{"GET", "/stream?p=&s=1", 400, "the peer, is missing"},
			{"GET", "/stream?p=1&s=", 400, "the checksum, is missing"},
			{"GET", "/stream?p=%zz", 400, "query"},
			{"POST", "/stream?p=1&s=2", 405, "GET"},
			{"GET", "/stream/?p=1&s=2", 404, ""},
		} {
			status, body, header := r.call(tt.method, tt.target, "")
			if status != tt.status || !strings.Contains(body, tt.part) {
				t.Errorf("%s %s: %d %s", tt.method, tt.target, status, body)
			}
			if status != 404 && header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s %s: a page could not read it", tt.method, tt.target)
			}
		}
		if got := r.counter("crier_dialect_requests_refused_total", "dialect", "qri", "status", "400"); got != 5 {
			t.Errorf("%v refusals counted", got)
		}
	})
}

func TestOrigins(t *testing.T) {
	origins, err := access.NewOrigins([]string{"https://app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, options{access: access.Config{Origins: origins}}, func(t *testing.T, r *rig) {
		if l := r.listen("p=1&s=2"); l.block() == "" {
			t.Error("without an Origin: nothing")
		}
		l := r.listen("p=1&s=2", "Origin", "https://app.example.com")
		if got := l.header.Get("Access-Control-Allow-Origin"); got != "https://app.example.com" {
			t.Errorf("Access-Control-Allow-Origin: %s", got)
		}
		for _, path := range []string{"/stream?p=1&s=2", "/backdoor?type=102"} {
			if status, body, _ := r.call("GET", path, "", "Origin", "https://other.example.com"); status != 403 {
				t.Errorf("%s from an origin that is not listed: %d %s", path, status, body)
			}
			_, _, header := r.call("OPTIONS", path, "", "Origin", "https://other.example.com")
			if header.Get("Access-Control-Allow-Methods") != "" || header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: preflight allows an origin that is not listed", path)
			}
		}
	})
	bubble(t, options{}, func(t *testing.T, r *rig) {
		// While a server is open to this machine, a pair is still what lets in.
		l := r.listen("p=1&s=2", "Origin", "https://app.example.com", "X-Forwarded-For", "192.0.2.7")
		l.block()
		status, _, header := r.call("OPTIONS", "/stream?p=1&s=2", "", "Origin", "https://app.example.com", "Access-Control-Request-Headers", "last-event-id")
		if status != 204 || !strings.Contains(header.Get("Access-Control-Allow-Headers"), "Last-Event-ID") || header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("preflight: %d %v", status, header)
		}
	})
}

// TestEngineAway: who comes while the log cannot be asked waits, and is not
// turned away: it would never come back.
func TestEngineAway(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.engine.is.Store(true)
		began := time.Now()
		go func() {
			time.Sleep(time.Minute)
			r.engine.is.Store(false)
		}()
		l := r.listen("p=1&s=2")
		if waited := time.Since(began); waited < time.Minute || waited > 63*time.Second {
			t.Errorf("answered after %v", waited)
		}
		l.block()
		l.expect(event(r.publish(qri.Topic("1", "2"), "x").ID(0), "x"))
		r.engine.is.Store(true)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			time.Sleep(time.Second)
			r.stop()
		}()
		if status, body, _ := r.call("GET", "/stream?p=1&s=2", ""); status != http.StatusOK || !strings.HasPrefix(body, "retry: ") {
			t.Errorf("%d %s", status, body)
		}
		<-stopped
	})
}

// TestStop: at a stop, and only then, a stream ends, with nothing that a page
// takes for a message.
func TestStop(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		l := r.listen("p=1&s=2")
		l.block()
		if got := r.table.List("", 1, nil)[0].Subscriptions()[0].Patterns; !slices.Equal(got, []string{"qri/1/…", "qri-notice/*"}) {
			t.Errorf("the operator is shown %q", got)
		}
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			r.stop()
		}()
		source := transporttest.NewEventSource(l.lines)
		b, err := source.Next()
		if err != nil || b.Dispatched || b.Retry == "" {
			t.Errorf("goodbye %+v, %v", b, err)
		}
		if b, err = source.Next(); err == nil {
			t.Errorf("after the goodbye came %+v", b)
		}
		<-stopped
	})
}

// TestComeBack: who comes while the server stops is asked to come back, since
// an EventSource gives up for good at any status but 200.
func TestComeBack(t *testing.T) {
	r := newRig(t, options{})
	if err := r.table.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	status, body, header := r.call("GET", "/stream?p=1&s=2", "")
	if status != http.StatusOK || header.Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(body, "retry: ") || strings.Contains(body, "Tick") {
		t.Errorf("%d %q", status, body)
	}
	if status, _, _ := r.call("GET", "/stream?p=1", ""); status != http.StatusBadRequest {
		t.Errorf("without a checksum: %d", status)
	}
}
