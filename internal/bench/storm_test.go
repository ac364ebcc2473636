package bench

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestStorm(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for _, via := range []Transport{SSE, WebSocket, NDJSON} {
		t.Run(string(via), func(t *testing.T) {
			f := newFake(t)
			f.messages = []fakeMessage{{topic: topicName(0), data: "of another load"}}
			r, err := Storm(t.Context(), f.target(), StormOptions{Transport: via, Subscribers: 30, Missed: 12})
			if err != nil || r.Faults.Any() || r.Broken != 0 || r.Latency.Count != 30 || r.Elapsed < r.Latency.P50 {
				t.Errorf("%+v, %v", r, err)
			}
			checkText(t, r, "storm: 30 subscribers over "+string(via)+" come back, each missed 12 messages of 200 bytes", "0, 0, 0")
		})
	}
}

func TestStormFaults(t *testing.T) {
	t.Parallel() // it waits for most of its time
	f := newFake(t)
	f.deliver = func(n int) int { return []int{1, 2, 1, 1, 1, 1}[min(n, 5)] }
	r, err := Storm(t.Context(), f.target(), StormOptions{Subscribers: 10, Missed: 5})
	if want := (Faults{Doubled: 10}); err != nil || r.Faults != want {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Storm(t.Context(), f.target(), StormOptions{Load: Load{Topics: 2}}); err == nil || !strings.Contains(err.Error(), "one topic") {
		t.Errorf("error %v", err)
	}
}

func TestArrivals(t *testing.T) {
	a := newArrivals(2)
	for _, tt := range []struct {
		sender uint32
		number uint64
		last   bool
	}{
		{0, 0, false}, {0, 1, false}, {1, 0, false}, {0, 0, false}, {0, 0, true}, {1, 0, false}, {0, 1, false}, {0, 1, true},
		{1, 0, true},
		{0, arrivalSlots + 1, false}, {0, 1, false}, // an old one, whose place another has taken
		{0, arrivalSlots + 1, false}, {0, arrivalSlots + 1, true},
	} {
		if got := a.came(stamped{sender: tt.sender, number: tt.number}, 3); got != tt.last {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	if !a.came(stamped{number: 9}, 1) {
		t.Error("the only one is not the last")
	}
}

func TestWindow(t *testing.T) {
	w := newWindow(10, 4) // each message to four
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		if err := w.admit(ctx, 5); err != nil {
			t.Fatal(err)
		}
	}
	admitted := make(chan error)
	go func() { admitted <- w.admit(ctx, 5) }() // ends when there is room
	for w.waiting.Load() == 0 {
		time.Sleep(time.Millisecond) // there is no other sign
	}
	w.look()
	select {
	case err := <-admitted:
		t.Fatalf("admitted with a full window: %v", err)
	default:
	}
	w.delivered.Add(4)
	w.look()
	if err := <-admitted; err != nil {
		t.Error(err)
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	if err := w.admit(gone, 1); err == nil {
		t.Error("admitted, though the window is full and the run is over")
	}
}
