package bench

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// brief is a load that is over soon.
func brief() Load {
	return Load{Duration: 250 * time.Millisecond, Warmup: -1}
}

// longEnough runs a load of which something comes, however busy the machine.
func longEnough[R any](t *testing.T, l *Load, run func() (R, error), some func(R) bool) R {
	t.Helper()
	for {
		r, err := run()
		if err != nil {
			t.Fatal(err)
		}
		if some(r) || l.Duration > 10*time.Second {
			return r
		}
		l.Duration *= 2
	}
}

func TestPublish(t *testing.T) {
	f := newFake(t)
	o := PublishOptions{Load: brief(), Connections: 3}
	o.Topics = 5
	target := f.target()
	target.PID = os.Getpid() // its figures are there, whatever they say
	r := longEnough(t, &o.Load, func() (*PublishResult, error) {
		f.forget()
		return Publish(t.Context(), target, o)
	}, func(r *PublishResult) bool { return r.Published > 10 })
	if r.Faults.Any() || r.Errors != 0 || r.ReadBack != uint64(f.has()) || r.ReadBack < r.Published || r.Latency.Count != int64(r.Published) {
		t.Errorf("%+v, %d messages", r, f.has())
	}
	topics := map[string]bool{}
	for _, m := range f.messages {
		topics[m.topic] = true
		if len(m.data) != 200 {
			t.Fatalf("%q has %d bytes", m.data, len(m.data))
		}
	}
	if len(topics) != 5 {
		t.Errorf("topics %v", topics)
	}
	checkText(t, r, "publish: 3 connections, 200 bytes, 1 domain, 5 topics", "0, 0, 0", "read back")
}

func TestPublishRate(t *testing.T) {
	f := newFake(t)
	o := PublishOptions{Load: brief(), Connections: 4, Rate: 100}
	r, err := Publish(t.Context(), f.target(), o)
	if err != nil {
		t.Fatal(err)
	}
	// 25 are due in the quarter of a second; a busy machine sends fewer.
	if n := f.has(); n > 25 || r.Faults.Any() {
		t.Errorf("%d messages, %+v", n, r)
	}
}

// What is refused is not lost; what is acknowledged and then missing is.
func TestPublishFaults(t *testing.T) {
	f := newFake(t)
	f.refuse = func(n int) bool { return n%10 == 3 }
	f.deliver = func(n int) int {
		switch n {
		case 1:
			return 0
		case 4:
			return 3
		}
		return 1
	}
	o := PublishOptions{Load: brief(), Connections: 2, Rate: 400}
	r := longEnough(t, &o.Load, func() (*PublishResult, error) {
		f.forget()
		return Publish(t.Context(), f.target(), o)
	}, func(r *PublishResult) bool { return r.Published > 10 })
	if want := (Faults{Lost: 1, Doubled: 2}); r.Faults != want || r.Errors == 0 || !strings.Contains(r.FirstError, "not now") {
		t.Errorf("%+v, want %+v and errors", r, want)
	}
	checkText(t, r, "1, 2, 0", "errors")
}

func TestFanout(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for _, via := range []Transport{SSE, WebSocket, NDJSON} {
		t.Run(string(via), func(t *testing.T) {
			f := newFake(t)
			o := FanoutOptions{Load: brief(), Transport: via, Subscribers: 6, Connections: 2, Rate: 200}
			o.Topics, o.Size = 3, 5000
			r := longEnough(t, &o.Load, func() (*FanoutResult, error) { return Fanout(t.Context(), f.target(), o) },
				func(r *FanoutResult) bool { return r.Delivered > 0 })
			if r.Faults.Any() || r.Errors != 0 || r.Broken != 0 || r.Latency.Count != int64(r.Delivered) {
				t.Errorf("%+v", r)
			}
			checkText(t, r, "fanout: 6 subscribers over "+string(via), "0, 0, 0")
		})
	}
}

// One who is alone is heard by a goroutine, as all are on other systems.
func TestFanoutToOne(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for _, via := range []Transport{SSE, WebSocket, NDJSON} {
		t.Run(string(via), func(t *testing.T) {
			f := newFake(t)
			o := FanoutOptions{Load: brief(), Transport: via, Subscribers: 1, Rate: 100}
			o.Size = 20_000
			r := longEnough(t, &o.Load, func() (*FanoutResult, error) { return Fanout(t.Context(), f.target(), o) },
				func(r *FanoutResult) bool { return r.Delivered > 0 })
			if r.Faults.Any() || r.Errors != 0 || r.Broken != 0 || r.LastReader.Count != int64(r.Delivered) {
				t.Errorf("%+v", r)
			}
			f.CloseClientConnections()
		})
	}
}

// A server that goes away breaks its subscribers, and that is said.
func TestFanoutBroken(t *testing.T) {
	t.Parallel() // it waits for most of its time
	f := newFake(t)
	f.refuse = func(n int) bool {
		if n == 1 { // all four listen by now
			time.AfterFunc(0, f.CloseClientConnections)
		}
		return false
	}
	o := FanoutOptions{Load: brief(), Subscribers: 4, Rate: 50}
	r := longEnough(t, &o.Load, func() (*FanoutResult, error) { return Fanout(t.Context(), f.target(), o) },
		func(r *FanoutResult) bool { return r.Broken > 0 })
	if r.Broken != 4 || !strings.Contains(r.FirstError, "subscriber") && !strings.Contains(r.FirstError, "publish") {
		t.Errorf("%+v", r)
	}
}

func TestFanoutFaults(t *testing.T) {
	t.Parallel() // it waits for most of its time
	f := newFake(t)
	f.deliver = func(n int) int { return []int{1, 1, 0, 2}[min(n, 3)] }
	o := FanoutOptions{Load: brief(), Subscribers: 5, Rate: -1}
	o.Duration = 20 * time.Millisecond
	r := longEnough(t, &o.Load, func() (*FanoutResult, error) {
		f.forget()
		return Fanout(t.Context(), f.target(), o)
	}, func(r *FanoutResult) bool { return f.has() > 3 })
	// Each of the five lost message 2, and got all after it twice.
	if r.Lost != 5 || r.Doubled != 5*uint64(f.has()-3) || r.Swapped != 0 {
		t.Errorf("%+v of %d messages", r.Faults, f.has())
	}
}

func TestReplay(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for _, via := range []Transport{NDJSON, SSE, WebSocket} {
		t.Run(string(via), func(t *testing.T) {
			f := newFake(t)
			f.messages = []fakeMessage{{topic: "before"}, {topic: topicName(0), data: "of another load"}}
			o := ReplayOptions{Transport: via, Messages: 2345, Readers: 3}
			o.Topics = 2
			r, err := replay(t.Context(), f.target(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Faults.Any() || r.Delivered != 3*2345 {
				t.Errorf("%+v", r)
			}
			checkText(t, r, "replay: 2345 messages of 200 bytes, 2 topics, 3 readers over "+string(via)+", warm")
		})
	}
}

func replay(ctx context.Context, t *Target, o ReplayOptions) (*ReplayResult, error) {
	h, err := LoadHistory(ctx, t, o)
	if err != nil {
		return nil, err
	}
	return h.Replay(ctx, t)
}

func TestReplayFaults(t *testing.T) {
	t.Parallel() // it waits for most of its time
	f := newFake(t)
	f.deliver = func(n int) int { return []int{0, 1, 2, 1}[n%4] }
	r, err := replay(t.Context(), f.target(), ReplayOptions{Messages: 1000})
	if err != nil || r.Lost != 250 || r.Doubled != 250 || r.Swapped != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel() // it waits for most of its time
	f := newFake(t)
	o := IdleOptions{Load: brief(), Transport: WebSocket, Subscribers: 20, Settle: time.Millisecond}
	o.Topics = 20
	r, err := Idle(t.Context(), f.target(), o)
	if err != nil || r.Reached != 20 || r.Faults.Any() || r.Broken != 0 || r.PerSubscriber != nil {
		t.Errorf("%+v, %v", r, err)
	}
	checkText(t, r, "idle: 20 subscribers over ws, 1 domain, 20 topics", "reached at the end")
}

func TestRefusals(t *testing.T) {
	f := newFake(t)
	for name, tt := range map[string]struct {
		run  func(*Target) error
		want string
	}{
		"size": {func(t *Target) error {
			_, err := Publish(context.Background(), t, PublishOptions{Load: Load{Size: 10}})
			return err
		}, "size 10 is outside"},
		"many domains": {func(t *Target) error {
			_, err := Publish(context.Background(), t, PublishOptions{Load: Load{Domains: 2}})
			return err
		}, "operator's listener"},
		"few": {func(t *Target) error {
			_, err := Publish(context.Background(), t, PublishOptions{Load: Load{Domains: 99}})
			return err
		}, "fewer than domains"},
		"transport": {func(t *Target) error {
			_, err := Fanout(context.Background(), t, FanoutOptions{Transport: "pigeon"})
			return err
		}, `"pigeon" is not`},
		"more topics": {func(t *Target) error {
			_, err := Fanout(context.Background(), t, FanoutOptions{Load: Load{Topics: 9}, Subscribers: 3})
			return err
		}, "some messages would go to nobody"},
		"cold": {func(t *Target) error {
			_, err := LoadHistory(context.Background(), t, ReplayOptions{Cold: true})
			return err
		}, "starts itself"},
		"wrong token": {func(t *Target) error {
			t.Token = "x"
			_, err := Idle(context.Background(), t, IdleOptions{})
			return err
		}, "status 401: no"},
		"wrong address": {func(t *Target) error {
			t.URL = "localhost"
			_, err := Publish(context.Background(), t, PublishOptions{})
			return err
		}, "want http://HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.run(f.target()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// checkText looks at the text, and that the result can be read by machines.
func checkText(t *testing.T, r interface{ WriteText(io.Writer) error }, want ...string) {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Error(err)
	}
	for _, s := range want {
		if !strings.Contains(b.String(), s) {
			t.Errorf("no %q in\n%s", s, b.String())
		}
	}
	var back map[string]any
	if j, err := json.Marshal(r); err != nil || json.Unmarshal(j, &back) != nil || back["lost"] == nil {
		t.Errorf("as JSON %s, %v", j, err)
	}
}
