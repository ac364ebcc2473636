package pull_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/pull"
	"crier/internal/transport/transporttest"
)

// site is a server that answers GET with what serve does.
type site struct {
	*transporttest.Env
	client *http.Client
}

// anyDriver makes an environment with a handler of the test's own.
type anyDriver struct {
	pageDriver
	serve func(h *pull.Handler, w http.ResponseWriter, r *http.Request, l transport.Listen) error
}

func (d anyDriver) Handler(e *transporttest.Env) transporttest.Handler {
	h := pull.New(pull.Config{Hub: e.Hub, Metrics: e.Metrics})
	return func(w http.ResponseWriter, r *http.Request, l transport.Listen) error { return d.serve(h, w, r, l) }
}

func newPages(t *testing.T, o pull.PageOptions) *site {
	e := transporttest.NewEnv(t, anyDriver{serve: func(h *pull.Handler, w http.ResponseWriter, r *http.Request, l transport.Listen) error {
		return h.Page(w, r, l, o)
	}}, 0)
	return &site{Env: e, client: e.Client(transporttest.Options{})}
}

func newLines(t *testing.T, o pull.NDJSONOptions) *site {
	e := transporttest.NewEnv(t, anyDriver{serve: func(h *pull.Handler, w http.ResponseWriter, r *http.Request, l transport.Listen) error {
		return h.NDJSON(w, r, l, o)
	}}, 0)
	return &site{Env: e, client: e.Client(transporttest.Options{})}
}

// get returns status and body, and the error that cut the body off.
func (s *site) get(since string, patterns ...string) (int, string, error) {
	s.T.Helper()
	resp, err := s.client.Get(s.URL(transporttest.Options{Patterns: patterns, Since: since}))
	if err != nil {
		s.T.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (s *site) page(since string, patterns ...string) decodedPage {
	s.T.Helper()
	status, body, err := s.get(since, patterns...)
	if err != nil || status != http.StatusOK {
		s.T.Fatalf("%d %s, %v", status, body, err)
	}
	p, err := decodePage([]byte(body))
	if err != nil {
		s.T.Fatal(err)
	}
	return p
}

func texts(messages []message.Message) string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Data))
	}
	return strings.Join(all, " ")
}

func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPages(t, pull.PageOptions{Limit: 3})
		if p := s.page("earliest", "a"); len(p.Messages) != 0 || p.Gap != nil || p.Next.IsZero() {
			t.Fatalf("empty log: %+v", p)
		}
		r := s.Publish("a", "1", "2", "3", "4")
		other := s.Publish("b", "x", "y")
		p := s.page("earliest", "a")
		if texts(p.Messages) != "1 2 3" || p.Next != r.ID(2) || p.Gap != nil {
			t.Fatalf("%s, next %v", texts(p.Messages), p.Next)
		}
		p = s.page(p.Next.String(), "a")
		if texts(p.Messages) != "4" || p.Next != other.ID(1) {
			t.Fatalf("%s, next %v; want 4 and the place that was looked up to, %v", texts(p.Messages), p.Next, other.ID(1))
		}
		again := s.page(p.Next.String(), "a")
		if len(again.Messages) != 0 || again.Next != p.Next {
			t.Fatalf("%+v", again)
		}
		if p = s.page("latest", "a"); len(p.Messages) != 0 || p.Next != other.ID(1) {
			t.Fatalf("latest: %+v", p)
		}
		if p = s.page("last:2", "a"); texts(p.Messages) != "3 4" {
			t.Fatalf("last:2: %s", texts(p.Messages))
		}
		if err := s.Domain.Forget(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		p = s.page(r.First.String(), "a", "b")
		if p.Gap == nil || p.Gap.Reason != message.Deleted || p.Gap.Resumed != r.ID(3) || texts(p.Messages) != "x y" || p.Next != other.ID(1) {
			t.Fatalf("%+v, gap %+v", p, p.Gap)
		}
	})
}

func TestPageBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPages(t, pull.PageOptions{})
		r := s.Publish("a", "1", "2")
		stranger := message.ID{Epoch: message.Epoch{Began: 7}, Seq: 1}
		oldest := r.First
		oldest.Seq--
		_, body, err := s.get(stranger.String(), "a")
		if err != nil {
			t.Fatal(err)
		}
		envelope := func(i int) string {
			m := message.Message{ID: r.ID(i), Topic: "a", ContentType: message.DefaultContentType, Data: []byte(fmt.Sprint(i + 1)), Time: r.Time}
			return string(transport.AppendEnvelope(nil, &m))
		}
		gap := transport.AppendGap(nil, &message.Gap{After: stranger.String(), Resumed: oldest, Reason: message.NewEpoch})
		want := `{"messages":[` + envelope(0) + "," + envelope(1) + `],"next":"` + r.ID(1).String() + `","gap":` + string(gap) + "}\n"
		if body != want {
			t.Errorf("\n got %s\nwant %s", body, want)
		}
	})
}

func TestPageWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPages(t, pull.PageOptions{Wait: 30 * time.Second})
		began := time.Now()
		before := s.Publish("b", "x")
		go func() {
			time.Sleep(10 * time.Second)
			s.Publish("b", "not for it")
			time.Sleep(time.Second)
			s.Publish("a", "1", "2")
		}()
		p := s.page("latest", "a")
		if took := time.Since(began); texts(p.Messages) != "1 2" || took != 11*time.Second {
			t.Fatalf("%s after %v", texts(p.Messages), took)
		}
		if p = s.page(before.First.String(), "a"); texts(p.Messages) != "1 2" || time.Since(began) != 11*time.Second {
			t.Fatalf("what is there already: %s after %v", texts(p.Messages), time.Since(began))
		}
		began = time.Now()
		other := s.Publish("b", "y")
		empty := s.page(p.Next.String(), "a")
		if took := time.Since(began); len(empty.Messages) != 0 || took != 30*time.Second || empty.Next != other.First {
			t.Fatalf("%+v after %v, want nothing after 30s, up to %v", empty, took, other.First)
		}
	})
}

// A page is cut where 8 MiB are full, and the next begins there.
func TestPageIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPages(t, pull.PageOptions{Limit: 1000})
		big := strings.Repeat("x", 1<<20)
		for range 10 {
			s.Publish("a", big)
		}
		_, first, _ := s.get("earliest", "a")
		p, err := decodePage([]byte(first))
		if err != nil || len(p.Messages) != 7 || len(first) > 8<<20 || p.Next != p.Messages[6].ID {
			t.Fatalf("%d messages in %d bytes, next %v, %v", len(p.Messages), len(first), p.Next, err)
		}
		if p = s.page(p.Next.String(), "a"); len(p.Messages) != 3 {
			t.Fatalf("%d messages", len(p.Messages))
		}
		// One that is larger than a page as an envelope comes all the same.
		s.PublishDrafts(message.Draft{Topic: "b", Data: bytes.Repeat([]byte{0}, 3<<19), ContentType: "text/plain"},
			message.Draft{Topic: "b", Data: []byte("2"), ContentType: "text/plain"})
		if p = s.page("earliest", "b"); len(p.Messages) != 1 || len(p.Messages[0].Data) != 3<<19 {
			t.Fatalf("%d messages", len(p.Messages))
		}
		if p = s.page(p.Next.String(), "b"); texts(p.Messages) != "2" {
			t.Fatal(texts(p.Messages))
		}
		for range 1100 {
			s.Publish("c", "x")
		}
		if p = s.page("earliest", "c"); len(p.Messages) != 1000 {
			t.Fatalf("%d messages", len(p.Messages))
		}
	})
}

// While the log cannot be read the caller answers; a page never moves on
// past what it has not seen.
func TestPageWhileTheEngineIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPages(t, pull.PageOptions{})
		r := s.Publish("a", "1")
		s.EngineAway(true)
		for _, since := range []string{"earliest", "latest", "last:1", r.First.String()} {
			status, body, _ := s.get(since, "a")
			if status != http.StatusServiceUnavailable || !strings.Contains(body, engine.ErrUnavailable.Error()) {
				t.Errorf("since %s: %d %s", since, status, body)
			}
		}
	})
}

func TestLongPollEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPages(t, pull.PageOptions{Wait: 30 * time.Second})
		r := s.Publish("a", "1")
		began := time.Now()
		time.AfterFunc(5*time.Second, func() {
			if err := s.Table.Drain(context.Background(), time.Second); err != nil {
				t.Error(err)
			}
		})
		p := s.page(r.First.String(), "a")
		if took := time.Since(began); len(p.Messages) != 0 || p.Next != r.First || took > 7*time.Second {
			t.Fatalf("%+v after %v", p, took)
		}
		synctest.Wait()
	})
}

// A connection that served a page serves another, however late: no deadline
// is left behind.
func TestConnectionIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPages(t, pull.PageOptions{})
		for range 3 {
			s.Publish("a", "1")
			s.page("earliest", "a")
			time.Sleep(time.Hour)
		}
	})
}

func TestLinesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			o    pull.NDJSONOptions
			want int
		}{
			{pull.NDJSONOptions{Limit: 1}, 1},
			{pull.NDJSONOptions{Limit: 700}, 700},
			{pull.NDJSONOptions{UntilLatest: true}, 1200},
			{pull.NDJSONOptions{Limit: 5000, UntilLatest: true}, 1200},
			{pull.NDJSONOptions{Limit: 7, UntilLatest: true}, 7},
		} {
			s := newLines(t, tt.o)
			for i := range 1200 {
				s.Publish("a", fmt.Sprint(i))
			}
			s.Publish("b", "x")
			status, body, err := s.get("earliest", "a")
			if err != nil || status != http.StatusOK {
				t.Fatalf("%+v: %d, %v", tt.o, status, err)
			}
			lines := strings.SplitAfter(body, "\n")
			if len(lines) != tt.want+1 || lines[tt.want] != "" {
				t.Errorf("%+v: %d lines, want %d", tt.o, len(lines)-1, tt.want)
			}
			for i, line := range lines[:tt.want] {
				if m, err := transporttest.DecodeEnvelope([]byte(line)); err != nil || string(m.Data) != fmt.Sprint(i) {
					t.Fatalf("line %d: %q, %v", i, line, err)
				}
			}
		}
	})
}

func TestLinesWaitForTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLines(t, pull.NDJSONOptions{Limit: 2})
		s.Publish("a", "1")
		time.AfterFunc(time.Minute, func() { s.Publish("a", "2", "3") })
		_, body, err := s.get("earliest", "a")
		if err != nil {
			t.Fatal(err)
		}
		// With a sign of life four times a minute, which are empty lines.
		if n := strings.Count(body, "\n"); n < 5 || n > 7 {
			t.Errorf("%d lines", n)
		}
		var got []string
		for line := range strings.SplitSeq(body, "\n") {
			if line == "" {
				continue
			}
			m, err := transporttest.DecodeEnvelope([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(m.Data))
		}
		if strings.Join(got, " ") != "1 2" {
			t.Errorf("got %q", got)
		}
	})
}

func TestGapLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLines(t, pull.NDJSONOptions{UntilLatest: true})
		r := s.Publish("a", "1")
		oldest := r.First
		oldest.Seq--
		_, body, err := s.get("what\n is this", "a")
		want := `{"gap":{"after":"what\n is this","resumed":"` + oldest.String() + `","reason":"epoch"}}` + "\n"
		if err != nil || !strings.HasPrefix(body, want) || strings.Count(body, "\n") != 2 {
			t.Errorf("got %q, %v; want %q and a message", body, err, want)
		}
	})
}

// An answer that should have an end, and is cut before, does not look whole.
func TestCutLinesLookCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name    string
			o       pull.NDJSONOptions
			history int
			want    error
		}{
			{"waits for more", pull.NDJSONOptions{Limit: 500}, 10, io.ErrUnexpectedEOF},
			{"has more to say", pull.NDJSONOptions{UntilLatest: true}, 500, io.ErrUnexpectedEOF},
			{"never ends", pull.NDJSONOptions{}, 10, nil},
		} {
			s := newLines(t, tt.o)
			for range tt.history {
				s.Publish("a", strings.Repeat("x", 1000))
			}
			resp, err := s.client.Get(s.URL(transporttest.Options{Patterns: []string{"a"}, Since: "earliest"}))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, c := range s.Table.List("", 10, nil) {
				c.End(transport.ErrKicked)
			}
			time.Sleep(time.Second)
			body, err := io.ReadAll(resp.Body)
			if !errors.Is(err, tt.want) || len(body) < min(tt.history, 50)*1000 {
				t.Errorf("%s: %d bytes, %v; want %v", tt.name, len(body), err, tt.want)
			}
			_ = resp.Body.Close()
		}
	})
}

// Whatever is read, memory stays flat.
func TestFlatMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := transporttest.NewEnv(t, lineDriver{}, 1) // a tail of next to nothing
		const n, size = 320, 100_000                  // 32 MB
		big := strings.Repeat("x", size)
		for range n {
			s.Publish("a", big)
		}
		h := pull.New(pull.Config{Hub: s.Hub})
		w := &measuringWriter{header: http.Header{}}
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		w.base = before.HeapAlloc
		l := s.Granted(transporttest.Options{Patterns: []string{"a"}, Since: "earliest"})
		err := h.NDJSON(w, httptest.NewRequest(http.MethodGet, "/", nil), l, pull.NDJSONOptions{UntilLatest: true})
		if err != nil || w.bytes < n*size {
			t.Fatalf("%d bytes, %v", w.bytes, err)
		}
		if w.most > 8<<20 {
			t.Errorf("%d MiB more than before while %d MB were written", w.most>>20, w.bytes/1_000_000)
		}
	})
}

// measuringWriter looks at the heap now and then.
type measuringWriter struct {
	header http.Header
	bytes  int
	next   int
	base   uint64
	most   uint64
}

func (w *measuringWriter) Header() http.Header { return w.header }
func (w *measuringWriter) WriteHeader(int)     {}
func (w *measuringWriter) Flush()              {}
func (w *measuringWriter) Write(p []byte) (int, error) {
	w.bytes += len(p)
	if w.bytes > w.next {
		w.next += 8 << 20
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if m.HeapAlloc > w.base {
			w.most = max(w.most, m.HeapAlloc-w.base)
		}
	}
	return len(p), nil
}

// History that is not in memory is there at once, however little it is.
func TestLinesOutOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLines(t, pull.NDJSONOptions{})
		s.Publish("b", "of another topic")
		s.Publish("a", "one", "two", "three")
		main, err := s.Hub.Domain(hub.Main)
		if err != nil {
			t.Fatal(err)
		}
		if err := main.Forget(t.Context(), "b"); err != nil { // after which the store has the word
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := s.client.Get(s.URL(transporttest.Options{Patterns: []string{"a"}, Since: "earliest"}))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 {
			if !lines.Scan() || len(lines.Bytes()) == 0 {
				t.Fatalf("line %d is %q, %v", i, lines.Text(), lines.Err())
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}
