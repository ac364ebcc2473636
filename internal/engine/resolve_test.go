package engine_test

import (
	"fmt"
	"testing"

	"crier/internal/engine"
	"crier/internal/message"

	"pgregory.net/rapid"
)

var (
	first   = message.Epoch{Began: 100, Rand: 0xa}
	second  = message.Epoch{Began: 200, Rand: 0xb}
	third   = message.Epoch{Began: 300, Rand: 0xc}
	unknown = message.Epoch{Began: 200, Rand: 0xc} // another log's, begun in the same second
)

// history is a log with three epochs: 1 to 10, then an empty one, then 11 to
// 15, of which everything up to 4 was trimmed.
func history() engine.State {
	return engine.State{
		Head: 15, Trimmed: 4,
		Epochs: []engine.EpochRange{
			{Epoch: first, First: 1, Last: 10},
			{Epoch: second, First: 11, Last: 10},
			{Epoch: third, First: 11, Last: 15},
		},
	}
}

func TestResolve(t *testing.T) {
	at := func(e message.Epoch, seq uint64) message.ID { return message.ID{Epoch: e, Seq: seq} }
	empty := engine.State{Epochs: []engine.EpochRange{{Epoch: first, First: 1, Last: 0}}}
	forgetful := engine.State{ // its table begins late, and what was before is trimmed
		Head: 30, Trimmed: 22,
		Epochs: []engine.EpochRange{{Epoch: second, First: 21, Last: 25}, {Epoch: third, First: 26, Last: 28}},
	}
	for _, c := range []struct {
		what   string
		state  engine.State
		cursor message.ID
		after  uint64
		reason message.Reason
	}{
		{"before the first message", history(), at(first, 0), 0, ""},
		{"in the first epoch, trimmed: for Read to tell", history(), at(first, 2), 2, ""},
		{"in the first epoch", history(), at(first, 7), 7, ""},
		{"at the end of the first epoch", history(), at(first, 10), 10, ""},
		{"beyond the end of the first epoch", history(), at(first, 11), 10, message.NewEpoch},
		{"far beyond the end of the first epoch", history(), at(first, message.MaxSeq), 10, message.NewEpoch},
		{"the place of an empty epoch", history(), at(second, 10), 10, ""},
		{"a message that an empty epoch lost", history(), at(second, 11), 10, message.NewEpoch},
		{"before the place of an empty epoch", history(), at(second, 9), 4, message.NewEpoch},
		{"the place before the present epoch", history(), at(third, 10), 10, ""},
		{"before the present epoch began", history(), at(third, 9), 4, message.NewEpoch},
		{"in the present epoch", history(), at(third, 12), 12, ""},
		{"the head", history(), at(third, 15), 15, ""},
		{"beyond the head", history(), at(third, 16), 15, message.NewEpoch},
		{"an unknown epoch", history(), at(unknown, 12), 4, message.NewEpoch},
		{"no epoch", history(), message.ID{Seq: 12}, 4, message.NewEpoch},
		{"an empty log, its beginning", empty, at(first, 0), 0, ""},
		{"an empty log, rolled back", empty, at(first, 3), 0, message.NewEpoch},
		{"an empty log, unknown", empty, at(second, 3), 0, message.NewEpoch},
		{"a log without a table", engine.State{Head: 5, Trimmed: 1}, at(first, 3), 1, message.NewEpoch},
		{"an epoch that the table forgot", forgetful, at(first, 10), 22, message.NewEpoch},
		{"the first epoch of a late table", forgetful, at(second, 20), 20, ""},
		{"the table's last end is behind the head", forgetful, at(third, 29), 29, ""},
		{"beyond that head", forgetful, at(third, 31), 30, message.NewEpoch},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := engine.Resolve(c.state, c.cursor)
			if want := (engine.Resolution{After: c.after, Reason: c.reason}); got != want {
				t.Errorf("%s leads to %+v, want %+v", c.cursor, got, want)
			}
		})
	}
}

func TestPosition(t *testing.T) {
	for seq, want := range map[uint64]message.Epoch{
		0: first, 1: first, 9: first,
		10: third, // between two epochs: the place before the newer one's first message
		11: third, 15: third, 99: third,
	} {
		if got := history().Position(seq); got != (message.ID{Epoch: want, Seq: seq}) {
			t.Errorf("place %d is %s, want it in epoch %s", seq, got, want)
		}
	}
	if got := (engine.State{}).Position(3); got != (message.ID{Seq: 3}) {
		t.Errorf("place 3 of a log without a table is %s", got)
	}
}

// Every place that Position names is one that Resolve finds again.
func TestPositionsAreGoodCursors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := engine.State{}
		for i := range rapid.IntRange(1, 6).Draw(t, "epochs") {
			n := rapid.Uint64Range(0, 5).Draw(t, fmt.Sprintf("messages of epoch %d", i))
			s.Epochs = append(s.Epochs, engine.EpochRange{
				Epoch: message.Epoch{Began: uint32(i + 1)}, First: s.Head + 1, Last: s.Head + n,
			})
			s.Head += n
		}
		s.Trimmed = rapid.Uint64Range(0, s.Head).Draw(t, "trimmed")
		seq := rapid.Uint64Range(0, s.Head).Draw(t, "place")
		if got := engine.Resolve(s, s.Position(seq)); got != (engine.Resolution{After: seq}) {
			t.Errorf("place %d is %s, which leads to %+v", seq, s.Position(seq), got)
		}
	})
}
