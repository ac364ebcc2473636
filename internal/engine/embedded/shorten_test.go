package embedded

import (
	"runtime"
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/embedded/record"
	"crier/internal/message"
)

// An entry that is in the journal but not noted yet is not taken for one that
// nobody needs: what it has may be nowhere else on the disk.
func TestShorteningSparesACommitUnderWay(t *testing.T) {
	e, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	opened, err := e.Log(t.Context(), "main", engine.Async)
	if err != nil {
		t.Fatal(err)
	}
	l, j := opened.(*Log), e.journal
	var n entries
	n.begin(l, 1, 1)
	d := message.Draft{Topic: "a", Data: []byte("1")}
	n.add(record.Append(nil, &record.Block{Fsync: true, N: 1}, 0, &d), false)
	n.end()
	bytes := func() int64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.bytes
	}

	// As in commit, and between the write and the note somebody else is about
	// to shorten the journal.
	j.mu.Lock()
	j.bytes = 100
	j.mu.Unlock()
	done := make(chan error, 1)
	j.writing.Lock()
	batch, err := j.log.Write(1, func(_ int, dst []byte) ([]byte, bool) { return append(dst, n.buf...), false })
	if err == nil {
		go func() { done <- j.shorten(100) }()
		for i := 0; i < 10_000 && bytes() > 0; i++ {
			runtime.Gosched()
		}
		j.note(&n, batch.First)
		err = j.log.Sync()
	}
	j.writing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	left := 0
	if err := j.each(func(uint64, record.Entry) error { left++; return nil }); err != nil {
		t.Fatal(err)
	}
	if left != 1 {
		t.Errorf("%d entries are left, want the one that was committed", left)
	}
}

// A domain that is deleted while its messages are on their way into the journal
// does not keep the journal from being shortened for ever.
func TestShorteningForgetsTheDropped(t *testing.T) {
	e, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	opened, err := e.Log(t.Context(), "shop", engine.Async)
	if err != nil {
		t.Fatal(err)
	}
	l, j := opened.(*Log), e.journal
	if _, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("1")}}}); err != nil {
		t.Fatal(err)
	}
	var n entries
	if !l.copyUnsynced(&n) {
		t.Fatal("nothing was copied")
	}
	if err := e.Drop(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if err := j.commit(&n); err != nil {
		t.Fatal(err)
	}
	if err := j.pass(); err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.open) > 0 || j.bytes != 0 {
		t.Errorf("the journal keeps entries of %d logs, %d bytes", len(j.open), j.bytes)
	}
}
