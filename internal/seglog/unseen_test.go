package seglog

import (
	"testing"
	"time"
)

func TestUnseen(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	u := &unseen{now: func() time.Time { return now }}
	write := func(size int, took time.Duration) bool {
		began, ok := u.begin(size)
		now = now.Add(took)
		if ok {
			u.end(began)
		}
		return ok
	}
	steps := []struct {
		name string
		size int
		took time.Duration // of this write
		wait time.Duration // before it
		want bool
	}{
		{"small", 300, time.Microsecond, 0, true},
		{"as large as may be", maxUnseen, 0, 0, true},
		{"larger", maxUnseen + 1, 0, 0, false},
		{"just not slow", 300, slowUnseen, 0, true},
		{"slow", 300, slowUnseen + 1, 0, true},
		{"after a slow one", 300, 0, 0, false},
		{"still", 300, 0, unseenPause - time.Second, false},
		{"long after", 300, time.Second, time.Second, true},
		{"that was slow again", 300, 0, 0, false},
	}
	for _, s := range steps {
		now = now.Add(s.wait)
		if got := write(s.size, s.took); got != s.want {
			t.Fatalf("%s: unseen %v, want %v", s.name, got, s.want)
		}
	}
	if _, ok := (*unseen)(nil).begin(1); ok {
		t.Fatal("where there are none, one may be unseen")
	}
}
