package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"crier/client"
)

// A disk without room has publishes refused, and nothing else; with room again
// all goes on, and nothing that was acknowledged is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	t.Run("file system", func(t *testing.T) {
		t.Parallel()
		dir := mount(t, "size=64m")
		ballast := filepath.Join(dir, "ballast")
		outage(t, filepath.Join(dir, "data"),
			func(*server) { fill(t, ballast) },
			func(*server) {
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
			})
	})
	t.Run("file size", func(t *testing.T) {
		t.Parallel()
		limit := func(n uint64) func(*server) {
			return func(s *server) {
				l := unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}
				if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &l, nil); err != nil {
					missing(t, "no limit for the size of files can be set: %v", err)
				}
			}
		}
		outage(t, t.TempDir(), limit(64<<10), limit(unix.RLIM_INFINITY))
	})
}

// mount makes a file system in memory, for the time of the test.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		missing(t, "no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill takes all the room that there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			block = block[:len(block)/2]
		}
	}
}

// outage has a server's disk become full, by begin, and have room again, by
// end.
func outage(t *testing.T, dir string, begin, end func(*server)) {
	s := startServerIn(t, dir, "--drain", "0s")
	l := newLedger("main")
	address := s.api + "/t/main/load/a"
	stream := listen(t, web(), address+"?since=earliest")
	socket := open(t, web(), address+"?since=earliest&envelope=json")
	p := &publisher{name: "a", ledger: l, client: s.dial(t, client.WithRetry(client.Retry{Tries: 1})), acks: new(atomic.Int64)}
	for range 20 {
		if a := p.post(t, address); a.status != http.StatusCreated {
			t.Fatalf("published: %d %s", a.status, a.body)
		}
	}
	eventually(t, "ready", func() bool { return s.readyz(t) == http.StatusOK })

	begin(s)
	full := time.Now()
	var refused answer
	eventually(t, "a publish is refused", func() bool {
		refused = p.post(t, address)
		return refused.status != http.StatusCreated
	})
	if refused.status != http.StatusServiceUnavailable || refused.header.Get("Retry-After") == "" {
		t.Errorf("refused with %d, Retry-After %q, want 503 and when to try again", refused.status, refused.header.Get("Retry-After"))
	}
	if d := refused.problem(t).Detail; !strings.Contains(d, "try again") {
		t.Errorf("the problem says %q, which names no mend", d)
	}
	eventually(t, "readyz is red", func() bool { return s.readyz(t) == http.StatusServiceUnavailable })
	t.Logf("readyz was red %v after the disk was full", time.Since(full).Round(time.Millisecond))
	s.log.await(t, "not ready")
	if n := len(s.connections(t)); n != 2 {
		t.Errorf("%d subscribers are connected, want 2", n)
	}
	if a := ask(t, "GET", address+"?limit=1", ""); a.status != http.StatusOK {
		t.Errorf("history is answered %d %s", a.status, a.body)
	}

	end(s)
	eventually(t, "ready again", func() bool { return s.readyz(t) == http.StatusOK })
	before := p.acks.Load()
	eventually(t, "a publish is taken again", func() bool { return p.post(t, address).status == http.StatusCreated })
	for p.acks.Load() < before+20 {
		if a := p.post(t, address); a.status != http.StatusCreated {
			t.Fatalf("published: %d %s", a.status, a.body)
		}
	}
	heard := l.hear(t, stream, socket, int(p.acks.Load()))

	s.kill()
	s = s.restart(t)
	var history []stored
	for m, err := range s.dial(t).History(t.Context(), client.PageOptions{Topics: []string{"**"}}) {
		if err != nil {
			t.Fatal(err)
		}
		name, err := nameOf(m.Data)
		if err != nil {
			t.Error(err)
		}
		history = append(history, stored{m.ID, m.Topic, name})
	}
	l.checkHistory(t, history)
	l.report(t)
	for i, id := range heard {
		if i >= len(history) || history[i].id != id {
			t.Fatalf("message %d that a subscriber got, %s, is not in the history", i+1, id)
		}
	}
	t.Logf("%d acknowledged, %d not known, %d stored", len(l.acked), len(l.unsure), len(history))
}

// post publishes once, without a key, and leaves word in the ledger.
func (p *publisher) post(t *testing.T, address string) answer {
	t.Helper()
	name := p.draw()
	a := ask(t, "POST", address, payload(name))
	if a.status != http.StatusCreated {
		p.ledger.doubt(name)
		return a
	}
	id := a.header.Get("Location")
	var r client.Receipt
	decode(t, a.body, &r)
	if !strings.Contains(id, "since=") {
		t.Errorf("Location is %q", id)
	}
	p.acknowledged([]string{name}, []client.Receipt{r})
	return a
}

// hear has two subscribers get the same, up to the newest message that was
// acknowledged, and gives its ids.
func (l *ledger) hear(t *testing.T, stream *sse, socket *socket, n int) (ids []string) {
	t.Helper()
	last := ""
	for _, id := range l.acked {
		last = max(last, id)
	}
	for len(ids) == 0 || ids[len(ids)-1] != last {
		b := stream.event(t)
		if b.Event != "message" {
			t.Fatalf("the stream got %+v", b)
		}
		l.deliver("the stream", b.ID, []byte(b.Data))
		f := socket.next(t)
		var m client.Message
		if f.end {
			t.Fatalf("the socket was closed with %d %s", f.code, f.reason)
		}
		decode(t, f.data, &m)
		if m.ID != b.ID {
			t.Fatalf("the stream got %s, the socket %s", b.ID, m.ID)
		}
		ids = append(ids, b.ID)
	}
	if len(ids) < n {
		t.Errorf("subscribers got %d messages, %d were acknowledged", len(ids), n)
	}
	return ids
}

// A data directory that cannot be written to is told at the start.
func TestReadOnlyDataDir(t *testing.T) {
	t.Parallel()
	dir := ""
	if os.Geteuid() == 0 { // whom permissions don't stop
		dir = mount(t, "ro")
	} else {
		dir = t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr, code := crier(t, nil, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	last := lastLine(stderr)
	if code != 1 || !strings.Contains(last, dir) || !strings.Contains(last, "read-only") && !strings.Contains(last, "permission denied") {
		t.Errorf("exit code %d, it said %q, want the directory and why", code, last)
	}
}

// So is one that is none.
func TestDataDirIsAFile(t *testing.T) {
	t.Parallel()
	file := write(t, "data", "")
	_, stderr, code := crier(t, nil, "serve", "--data-dir", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if last := lastLine(stderr); code != 1 || !strings.Contains(last, file) || !strings.Contains(last, "not a directory") {
		t.Errorf("exit code %d, it said %q, want the file and what it is not", code, last)
	}
}
