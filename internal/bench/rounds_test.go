package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// said is a result with figures that a test chose.
type said struct {
	Faults
	numbers figures
	failed  int64
}

func (s *said) WriteText(io.Writer) error { return nil }
func (s *said) title() string             { return "a load" }
func (s *said) figures() figures          { return s.numbers }
func (s *said) failures() (int64, string) {
	return s.failed, strings.Repeat("oh", int(min(s.failed, 1)))
}

func needLimit(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the limit is known for Linux only")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// The figures are the medians of the rounds, and the ratio that of the two.
func TestCompare(t *testing.T) {
	server := &Target{URL: "http://127.0.0.1:1"}
	values := map[bool][]float64{false: {30, 10, 20, 90}, true: {5, 5, 20, 4}}
	var order []string
	c, err := Compare(t.Context(), server, Series{Rounds: 4, Reference: true, Executable: needLimit(t)}, func(_ context.Context, target *Target) (*said, error) {
		limit := target != server
		order = append(order, target.role())
		v := values[limit][0]
		values[limit] = values[limit][1:]
		r := &said{numbers: figures{{"figure", "µs", v}, {"nothing", "/s", 0}}}
		if limit {
			r.Doubled = 1
		} else {
			r.Lost, r.failed, r.numbers = 2, 1, append(r.numbers, figure{"the server's alone", "bytes", 7})
		}
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, l := "the server", "the limit"
	if want := []string{s, l, l, s, s, l, l, s}; !slices.Equal(order, want) {
		t.Errorf("order %v", order)
	}
	if want := (Faults{Lost: 8, Doubled: 4}); c.Faults != want || !c.Any() || c.Failures != 4 {
		t.Errorf("%+v", c)
	}
	f := c.Figures
	if len(f) != 3 || f[0].Server != 25 || *f[0].Limit != 5 || *f[0].Ratio != 5 || f[1].Ratio != nil || f[2].Limit != nil || f[2].Server != 7 {
		t.Errorf("figures %+v", f)
	}
	var text strings.Builder
	if err := c.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a load\nmedians of 4 rounds", "server", "limit", "ratio", "25 µs", "5.00 µs", "5.00\n", "8, 4, 0", "failures: 4, the first: oh"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestCompareFails(t *testing.T) {
	_, err := Compare(t.Context(), &Target{}, Series{Rounds: 2}, func(context.Context, *Target) (*said, error) { return nil, errFake })
	if !errors.Is(err, errFake) || !strings.Contains(err.Error(), "round 1 of the server") {
		t.Errorf("error %v", err)
	}
	if _, err = Compare[*said](t.Context(), &Target{}, Series{Rounds: 2, Fresh: true}, nil); err == nil || !strings.Contains(err.Error(), "starts itself") {
		t.Errorf("error %v", err)
	}
	if _, err = Compare[*said](t.Context(), &Target{}, Series{Reference: true, Executable: "/nowhere"}, nil); err == nil || !strings.Contains(err.Error(), "start the limit") {
		t.Errorf("error %v", err)
	}
}

// Every load runs on the limit as it does on a server, and nothing is lost,
// doubled or swapped there either.
func TestLoadsOnTheLimit(t *testing.T) {
	exe := needLimit(t)
	for _, together := range []bool{false, true} {
		for _, via := range []Transport{SSE, WebSocket, NDJSON} {
			t.Run(fmt.Sprint(via, " together ", together), func(t *testing.T) {
				t.Parallel() // it waits for most of its time
				l, err := StartLimit(t.Context(), exe, together)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := l.Close(); err != nil {
						t.Error(err)
					}
				}()
				f := newFake(t)
				for _, run := range []func(context.Context) (Result, error){
					func(ctx context.Context) (Result, error) {
						return Fanout(ctx, l, FanoutOptions{Load: brief(), Publishing: Publishing{Batch: 3}, Transport: via, Subscribers: 30, Rate: -1})
					},
					func(ctx context.Context) (Result, error) {
						o := FanoutOptions{Load: brief(), Transport: via, Subscribers: 5, Connections: 2, Rate: 100}
						o.Topics = 5
						return Fanout(ctx, l, o)
					},
					func(ctx context.Context) (Result, error) {
						return Publish(ctx, l, PublishOptions{Load: brief(), Publishing: Publishing{Socket: true, Frames: 2, Batch: 3}, Connections: 3})
					},
					func(ctx context.Context) (Result, error) {
						h, err := LoadHistory(ctx, f.target(), ReplayOptions{Transport: via, Messages: 3000, Readers: 3})
						if err != nil {
							return nil, err
						}
						return h.Replay(ctx, l)
					},
					func(ctx context.Context) (Result, error) {
						return Storm(ctx, l, StormOptions{Transport: via, Subscribers: 20, Missed: 7})
					},
					func(ctx context.Context) (Result, error) {
						return Idle(ctx, l, IdleOptions{Load: brief(), Transport: via, Subscribers: 20, Settle: time.Millisecond})
					},
				} {
					r, err := run(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if n, first := r.failures(); r.Any() || n > 0 {
						t.Errorf("%s: %+v, %d failures: %s", r.title(), r.faults(), n, first)
					}
					if len(r.figures()) == 0 || slices.ContainsFunc(r.figures(), func(f figure) bool { return math.IsNaN(f.value) || f.value < 0 && f.unit != "bytes" }) {
						t.Errorf("%s: figures %+v", r.title(), r.figures())
					}
					if _, err := json.Marshal(r); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}
