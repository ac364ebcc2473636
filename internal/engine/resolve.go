package engine

import "crier/internal/message"

// Resolution is where a cursor leads in a log.
type Resolution struct {
	After  uint64         // read what is above this
	Reason message.Reason // not empty: the cursor was not good, tell a gap resumed at After
}

// Resolve applies the rules of epochs to a cursor. A cursor within a known
// epoch's range is good (the place before the epoch's first message counts
// as within); beyond its end it resumes at that end, of an unknown epoch from
// the oldest that is left, each with a gap. Whether something was trimmed or
// deleted after it is for [Log.Read] to tell.
func Resolve(s State, cursor message.ID) Resolution {
	for i := len(s.Epochs) - 1; i >= 0; i-- {
		e := s.Epochs[i]
		if e.Epoch != cursor.Epoch {
			continue
		}
		last := e.Last
		if i == len(s.Epochs)-1 {
			last = s.Head
		}
		switch {
		case cursor.Seq > last:
			return Resolution{After: last, Reason: message.NewEpoch}
		case cursor.Seq+1 >= e.First:
			return Resolution{After: cursor.Seq}
		}
		break
	}
	return Resolution{After: s.Trimmed, Reason: message.NewEpoch}
}

// Position gives the id that names a sequence number as a place in the log.
// Between two epochs it is the place before the newer one's first message.
func (s State) Position(seq uint64) message.ID {
	for i := len(s.Epochs) - 1; i > 0; i-- {
		if seq+1 >= s.Epochs[i].First {
			return message.ID{Epoch: s.Epochs[i].Epoch, Seq: seq}
		}
	}
	if len(s.Epochs) == 0 {
		return message.ID{Seq: seq}
	}
	return message.ID{Epoch: s.Epochs[0].Epoch, Seq: seq}
}
