package memory

import (
	"container/heap"
	"math"
	"slices"
)

// never is a time that does not come.
const never = math.MaxInt64

// deadline is when a message's time to live ends.
type deadline struct {
	at  int64 // Unix microseconds
	seq uint64
}

// deadlines is a heap of deadlines, the next one first. What is trimmed or
// deleted before its time stays until then.
type deadlines []deadline

// Len, Less, Swap, Push and Pop are for package heap.
func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(deadline)) }
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

func (d *deadlines) add(x deadline) { heap.Push(d, x) }

// next is when the first one ends.
func (d deadlines) next() int64 {
	if len(d) == 0 {
		return never
	}
	return d[0].at
}

// pop takes the first one out.
func (d *deadlines) pop() deadline {
	x := heap.Pop(d).(deadline)
	if cap(*d) > 1024 && cap(*d) > 4*len(*d) { // a slice never shrinks by itself
		*d = slices.Clone(*d)
	}
	return x
}

// expire lets go of the messages whose time to live is over.
func (l *Log) expire() { l.expireBy(l.now().UnixMicro()) }

// expireBy lets go of the messages whose time to live ended by a time (Unix
// microseconds), a slice at a time.
func (l *Log) expireBy(at int64) {
	for l.expiry.Load() <= at {
		l.expireSlice(at)
	}
}

func (l *Log) expireSlice(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range sliceLen {
		if l.ttl.next() > now {
			break
		}
		seq := l.ttl.pop().seq
		if rec := l.hist.at(seq); rec != nil {
			l.take(rec, seq, "")
		}
	}
	l.index.flush()
	l.expiry.Store(l.ttl.next())
}
