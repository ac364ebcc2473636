package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take that has to come. It is no part of
// what is tested, and so long that only what never comes takes longer.
const patience = 90 * time.Second

// logLine is a line of a server's log.
type logLine map[string]any

func (l logLine) msg() string { return l.text("msg") }

func (l logLine) text(name string) string {
	s, _ := l[name].(string)
	return s
}

// logbook has what a process wrote to its stderr. Lines that are no JSON are
// kept as a msg.
type logbook struct {
	mu    sync.Mutex
	lines []logLine
	ended bool
	more  chan struct{} // closed, and made anew, when there is more
}

func newLogbook() *logbook { return &logbook{more: make(chan struct{})} }

// follow reads to the end.
func (b *logbook) follow(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var l logLine
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			l = logLine{"msg": lines.Text()}
		}
		b.add(l, false)
	}
	_, _ = io.Copy(io.Discard, r) // whoever writes must not be stopped by us
	b.add(nil, true)
}

func (b *logbook) add(l logLine, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended = ended; !ended {
		b.lines = append(b.lines, l)
	}
	close(b.more)
	b.more = make(chan struct{})
}

// find waits for a line, and returns nil if the process ends without it.
func (b *logbook) find(t *testing.T, what string, match func(logLine) bool) logLine {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for from := 0; ; {
		b.mu.Lock()
		lines, ended, more := b.lines, b.ended, b.more
		b.mu.Unlock()
		for ; from < len(lines); from++ {
			if match(lines[from]) {
				return lines[from]
			}
		}
		if ended {
			return nil
		}
		select {
		case <-more:
		case <-late.C:
			t.Fatalf("no log line with %s within %v; the log:\n%s", what, patience, b)
		}
	}
}

// await waits for a line with a message, which must come.
func (b *logbook) await(t *testing.T, msg string) logLine {
	t.Helper()
	l := b.find(t, fmt.Sprintf("%q", msg), func(l logLine) bool { return strings.Contains(l.msg(), msg) })
	if l == nil {
		t.Fatalf("the process ended without saying %q; the log:\n%s", msg, b)
	}
	return l
}

// has reports whether a line was there already.
func (b *logbook) has(msg string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if strings.Contains(l.msg(), msg) {
			return true
		}
	}
	return false
}

// count counts lines.
func (b *logbook) count(msg string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		if strings.Contains(l.msg(), msg) {
			n++
		}
	}
	return n
}

// String gives the newest lines.
func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var s strings.Builder
	for _, l := range b.lines[max(0, len(b.lines)-40):] {
		if len(l) == 1 {
			fmt.Fprintf(&s, "\t%s\n", l.msg())
			continue
		}
		text, _ := json.Marshal(l)
		fmt.Fprintf(&s, "\t%s\n", text)
	}
	return s.String()
}
