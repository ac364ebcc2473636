package embedded_test

import (
	"strings"
	"syscall"
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/message"
	"crier/internal/seglog/faultfs"
)

// An epoch that has begun is told, also if the segment for it cannot be made
// yet.
func TestEpochOnAFullDiskIsTold(t *testing.T) {
	fs := faultfs.New(1, 512)
	e, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir(), FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l := openLog(t, e, engine.Fsync)
	if _, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a"}}}); err != nil {
		t.Fatal(err)
	}
	before, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	defer l.Listen(func(n engine.News) {
		if n.Changed {
			told++
		}
	})()
	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if op.Kind == faultfs.Create && strings.HasPrefix(op.Name, "domains/") {
			return faultfs.Fault{Err: syscall.ENOSPC}
		}
		return faultfs.Fault{}
	})
	_, err = l.BeginEpoch(t.Context())
	fs.SetFault(nil)
	after, serr := l.State(t.Context())
	if serr != nil {
		t.Fatal(serr)
	}
	if err == nil || len(after.Epochs) == len(before.Epochs) {
		t.Fatalf("it began %d epochs, %v; want one, and that its segment is not made", len(after.Epochs)-len(before.Epochs), err)
	}
	if told == 0 {
		t.Error("nobody was told")
	}
}
