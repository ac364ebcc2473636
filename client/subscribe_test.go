package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crier/client"
)

// fakeServer answers the n-th request with the n-th stream; a stream writes
// and then returns the error with which the connection breaks (nil: it ends
// well).
type fakeServer struct {
	t       *testing.T
	streams []stream
	reqs    []*http.Request
	at      []time.Time
}

type stream func(ctx context.Context, w io.Writer) error

func (f *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	n := len(f.reqs)
	f.reqs, f.at = append(f.reqs, r), append(f.at, time.Now())
	if n >= len(f.streams) {
		f.t.Errorf("request %d to %s was not expected", n+1, r.URL)
		return nil, errors.New("too many requests")
	}
	pr, pw := io.Pipe()
	context.AfterFunc(r.Context(), func() { pr.CloseWithError(context.Cause(r.Context())) })
	go func() {
		pw.CloseWithError(f.streams[n](r.Context(), pw))
	}()
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: pr, Request: r}, nil
}

// says writes an event stream and ends.
func says(text string) stream {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// stays writes an event stream and keeps the connection.
func stays(text string) stream {
	return func(ctx context.Context, w io.Writer) error {
		io.WriteString(w, text)
		<-ctx.Done()
		return ctx.Err()
	}
}

func (f *fakeServer) client() *client.Client {
	c, err := client.New("http://crier.test", client.WithHTTPClient(&http.Client{Transport: f}), client.WithToken("k"),
		client.WithMaxMessage(10_000))
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func block(id, data string) string {
	return fmt.Sprintf("id: %s\ndata: {\"id\":%q,\"topic\":\"a\",\"contentType\":\"text/plain\",\"data\":%q}\n\n", id, id, data)
}

// follow reads a subscription until n messages and gaps came or it ended, and
// gives what came as text.
func follow(ctx context.Context, c *client.Client, o client.SubscribeOptions, n int) (got []string) {
	if len(o.Topics) == 0 {
		o.Topics = []string{"a"}
	}
	for m, err := range c.Subscribe(ctx, o) {
		gap, ok := errors.AsType[*client.Gap](err)
		switch {
		case ok:
			got = append(got, fmt.Sprintf("gap %s %s %s", gap.After, gap.Resumed, gap.Reason))
		case err != nil:
			return append(got, "error "+err.Error())
		default:
			got = append(got, m.ID+" "+string(m.Data))
		}
		if len(got) == n {
			return got
		}
	}
	return append(got, "end")
}

func TestSubscribeResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{t: t, streams: []stream{
			says("retry: 3000\n: hello\n\nid: 05\n\n" + block("06", "six")),
			says(":\n\n" + block("07", "seven") + "data: {\"id\":\"08\""), // cut off within a message
			stays("retry: 4000\n\n" + block("08", "eight")),
		}}
		var positions []string
		got := follow(t.Context(), f.client(), client.SubscribeOptions{
			Topics: []string{"a"}, Since: "05", OnPosition: func(c string) { positions = append(positions, c) },
		}, 3)
		if want := []string{"06 six", "07 seven", "08 eight"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		// The loop was left before the eighth was done with.
		if want := []string{"05", "06", "07"}; !slices.Equal(positions, want) {
			t.Errorf("positions %q, want %q", positions, want)
		}
		for i, want := range []struct{ since, last string }{{"05", ""}, {"", "06"}, {"", "07"}} {
			r := f.reqs[i]
			if r.URL.Path != "/t/main/a" || r.URL.Query().Get("since") != want.since || r.Header.Get("Last-Event-ID") != want.last || r.URL.Query().Get("envelope") != "json" ||
				r.Header.Get("Accept") != "text/event-stream" || r.Header.Get("Authorization") != "Bearer k" {
				t.Errorf("request %d: %s %v", i+1, r.URL, r.Header)
			}
		}
		// Each stream brought something, so that the server's wish holds.
		for i := range 2 {
			if d := f.at[i+1].Sub(f.at[i]); d != 3*time.Second {
				t.Errorf("try %d came after %v, the server asked for 3s", i+2, d)
			}
		}
	})
}

func TestSubscribeSeveralTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{t: t, streams: []stream{stays(block("1", "x"))}}
		follow(t.Context(), f.client(), client.SubscribeOptions{Domain: "d", Topics: []string{"a/*", "b/**"}}, 1)
		u := f.reqs[0].URL
		if u.Path != "/t/d" || !slices.Equal(u.Query()["topic"], []string{"a/*", "b/**"}) || u.Query().Has("since") {
			t.Errorf("asked for %s", u)
		}
	})
}

func TestSubscribeGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{t: t, streams: []stream{
			says("id: 20\nevent: crier-gap\ndata: {\"after\":\"05\",\"resumed\":\"20\",\"reason\":\"retention\"}\n\n"),
			stays("event: crier-novelty\ndata: ?\n\n" + block("21", "x")),
		}}
		got := follow(t.Context(), f.client(), client.SubscribeOptions{Since: "05"}, 2)
		if want := []string{"gap 05 20 retention", "21 x"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if last := f.reqs[1].Header.Get("Last-Event-ID"); last != "20" {
			t.Errorf("resumed after %q, want the gap's end", last)
		}
	})
}

func TestSubscribeEnds(t *testing.T) {
	for _, tt := range []struct {
		name, stream, want string
	}{
		{"expired", "event: crier-expired\ndata: {}\n\n", "error subscribe to main/a: the credential has expired"},
		{"too long", "data: " + strings.Repeat("x", 20_000) + "\n\n", "error subscribe to main/a: message too long for this client"},
		{"not an envelope", "data: hello\n\n", "error subscribe to main/a: the answer is not what a Crier server sends"},
		{"bad gap", "event: crier-gap\ndata: [\n\n", "error subscribe to main/a: the answer is not what a Crier server sends"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeServer{t: t, streams: []stream{stays(tt.stream)}}
				got := follow(t.Context(), f.client(), client.SubscribeOptions{}, 10)
				if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// A server that is silent for longer than its heartbeat is dead; a caller that
// takes its time is not.
func TestSubscribeSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{t: t, streams: []stream{
			stays("retry: 1000\n\n" + block("1", "x")),
			stays(block("2", "x")),
		}}
		var why error
		begun := time.Now()
		for m, err := range f.client().Subscribe(t.Context(), client.SubscribeOptions{
			Topics: []string{"a"}, OnRetry: func(err error, _ time.Duration) { why = err },
		}) {
			if err != nil {
				t.Fatal(err)
			}
			if m.ID == "2" {
				break
			}
			time.Sleep(time.Hour)
		}
		if why == nil || !strings.Contains(why.Error(), "silent for 45s") {
			t.Errorf("broken because of %v", why)
		}
		if d := time.Since(begun); d != time.Hour+46*time.Second {
			t.Errorf("the second message came after %v", d)
		}
	})
}

func TestSubscribeHeartbeatsKeepIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{t: t, streams: []stream{func(ctx context.Context, w io.Writer) error {
			for range 100 {
				time.Sleep(15 * time.Second)
				io.WriteString(w, ":\n\n")
			}
			io.WriteString(w, block("1", "x"))
			return nil
		}}}
		if got := follow(t.Context(), f.client(), client.SubscribeOptions{}, 1); !slices.Equal(got, []string{"1 x"}) {
			t.Errorf("got %q", got)
		}
	})
}

// Waits grow while nothing comes, within bounds, and MaxTries ends it.
func TestSubscribeBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tries = 12
		f := &fakeServer{t: t}
		for range tries {
			f.streams = append(f.streams, says("retry: 100\nevent: crier-restart\ndata: {}\n\n"))
		}
		got := follow(t.Context(), f.client(), client.SubscribeOptions{MaxTries: tries}, 1)
		if len(got) != 1 || !strings.Contains(got[0], "come back later") {
			t.Errorf("got %q", got)
		}
		limit := 200 * time.Millisecond
		for i := range tries - 1 {
			d := f.at[i+1].Sub(f.at[i])
			if d < max(100*time.Millisecond, limit/2) || d > limit {
				t.Errorf("wait %d is %v, want %v to %v", i+1, d, limit/2, limit)
			}
			limit = min(2*limit, 30*time.Second)
		}
	})
}

func TestSubscribeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		f := &fakeServer{t: t, streams: []stream{stays(block("1", "x"))}}
		time.AfterFunc(time.Second, func() { cancel(errors.New("enough")) })
		got := follow(ctx, f.client(), client.SubscribeOptions{}, 10)
		if want := []string{"1 x", "error subscribe to main/a: enough"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestSubscribeRefused(t *testing.T) {
	for _, tt := range []struct {
		status, tries int
	}{{400, 1}, {401, 1}, {403, 1}, {404, 1}, {406, 1}, {429, 3}, {500, 3}, {502, 3}, {503, 3}} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			s := record(t, problem(tt.status))
			got := follow(t.Context(), dial(t, s.URL), client.SubscribeOptions{MaxTries: 3}, 1)
			if len(got) != 1 || got[0] != fmt.Sprintf("error subscribe to main/a: %d: because", tt.status) || len(s.requests()) != tt.tries {
				t.Errorf("got %q after %d tries", got, len(s.requests()))
			}
		})
	}
	s := record(t, created)
	if got := follow(t.Context(), dial(t, s.URL), client.SubscribeOptions{}, 1); !strings.Contains(got[0], "201") {
		t.Errorf("got %q", got)
	}
	s = record(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<html>welcome to our wireless network")
	})
	if got := follow(t.Context(), dial(t, s.URL), client.SubscribeOptions{}, 1); !strings.Contains(got[0], `got "text/html"`) {
		t.Errorf("got %q", got)
	}
	if got := follow(t.Context(), dial(t, s.URL), client.SubscribeOptions{Topics: []string{""}}, 1); !strings.Contains(got[0], "topic is empty") {
		t.Errorf("got %q", got)
	}
}
