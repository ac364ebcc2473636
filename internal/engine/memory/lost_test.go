package memory

import (
	"fmt"
	"testing"

	"crier/internal/message"
	"crier/internal/topic"

	"pgregory.net/rapid"
)

// However few marks are kept, no loss is left out; and while none had to be
// given up, all are exact.
func TestFewMarksLeaveNothingOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(loss{})
		x.maxGone = rapid.IntRange(0, 4).Draw(t, "marks")
		lost := map[string]uint64{}  // what is gone, by topic
		var live [][]uint64          // sequence numbers, by topic
		evicted := map[string]bool{} // topics whose mark may have been given up
		names := make([]string, 8)
		for i := range names {
			names[i] = fmt.Sprintf("%c/%d", 'a'+i%2, i)
			live = append(live, nil)
		}
		take := func(i int, why message.Reason) {
			seq := live[i][0]
			live[i] = live[i][1:]
			x.drop(x.topics[names[i]], seq, 1, why)
			if why != "" {
				lost[names[i]] = max(lost[names[i]], seq)
			}
		}
		seq := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(names)-1).Draw(t, "topic")
			switch what := rapid.IntRange(0, 5).Draw(t, "step"); {
			case what < 3:
				seq++
				x.add(names[i], seq, 1)
				live[i] = append(live[i], seq)
			case len(live[i]) == 0:
			case what == 3:
				take(i, "")
			case what == 4:
				take(i, message.Retention)
			default:
				newest := live[i][len(live[i])-1]
				x.forget(x.topics[names[i]], newest)
				live[i], lost[names[i]] = nil, newest
			}
			x.flush()
			noteEvicted(x, names, live, lost, evicted)
			checkMarks(t, x, names, live, lost, evicted, rapid.Uint64Range(0, seq).Draw(t, "after"))
		}
	})
}

// noteEvicted notes whose mark was given up.
func noteEvicted(x index, names []string, live [][]uint64, lost map[string]uint64, evicted map[string]bool) {
	for i, name := range names {
		if len(live[i]) == 0 && lost[name] > 0 && x.topics[name] == nil {
			evicted[name] = true
		}
	}
}

func checkMarks(t *rapid.T, x index, names []string, live [][]uint64, lost map[string]uint64, evicted map[string]bool, after uint64) {
	if x.gone.n > x.maxGone {
		t.Fatalf("%d marks of topics without messages are kept, the limit is %d", x.gone.n, x.maxGone)
	}
	exact := len(evicted) == 0
	for i, name := range names {
		got := x.lost(topic.NewFilter(topic.Exactly(name)), after).seq
		if got < lost[name] {
			t.Fatalf("topic %s lost %d, its mark says %d", name, lost[name], got)
		}
		if exact && got != lost[name] {
			t.Fatalf("topic %s (%d messages) lost %d, its mark says %d although no mark was given up", name, len(live[i]), lost[name], got)
		}
		if ts := x.topics[name]; (ts != nil && ts.live > 0) != (len(live[i]) > 0) {
			t.Fatalf("topic %s has %d messages, the index disagrees", name, len(live[i]))
		}
	}
	for _, s := range []string{"a/*", "b/*", "**", "*/3"} {
		p, err := topic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(0)
		for name, seq := range lost {
			if p.Match(name) {
				want = max(want, seq)
			}
		}
		got := x.lost(topic.NewFilter(p), after).seq
		if want > after && got < want || exact && got > after && got != want {
			t.Fatalf("%s lost %d, told %d after %d (no mark given up: %v)", s, want, got, after, exact)
		}
	}
}
