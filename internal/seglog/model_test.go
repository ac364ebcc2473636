package seglog_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// model is what the log must hold, and what it may.
type model struct {
	tb      testing.TB
	rand    *rand.Rand
	fs      *faultfs.FS
	log     *seglog.Log
	opts    seglog.Options
	uniq    int
	recs    map[uint64]string   // in the log
	maybe   map[uint64][]string // may come back after a crash: writes that failed, or were rolled back
	written uint64
	synced  uint64
	trimmed uint64
	tags    []seglog.Tag // the tag, or, after a Roll that failed, what it may be
	trace   []string
	faults  int // percent
}

func newModel(tb testing.TB, seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &model{
		tb: tb, rand: r, fs: faultfs.New(seed, []int{512, 4096}[r.IntN(2)]),
		recs: map[uint64]string{}, maybe: map[uint64][]string{}, tags: []seglog.Tag{{}},
	}
	m.opts = seglog.Options{SegmentSize: []int64{6 << 10, 12 << 10, 40 << 10}[r.IntN(3)]}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("seed %d\n%s", seed, strings.Join(m.trace, "\n"))
		}
	})
	return m
}

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *model) fatalf(format string, args ...any) {
	m.tb.Helper()
	m.tb.Fatalf(format, args...)
}

// setFaults has the given percentage of operations fail.
func (m *model) setFaults(percent int) {
	m.faults = percent
	if percent == 0 {
		m.fs.SetFault(nil)
		return
	}
	m.fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if m.rand.IntN(100) >= percent || op.Kind == faultfs.Read {
			return faultfs.Fault{}
		}
		m.note("  fault: %v", op)
		return faultfs.Fault{Err: syscall.EIO, Short: m.rand.IntN(int(op.Len + 1))}
	})
}

func (m *model) open() {
	m.tb.Helper()
	l, err := seglog.Open(m.fs, "d/log", m.opts)
	if err != nil {
		m.fatalf("open: %v", err)
	}
	m.log = l
}

// groups makes the payloads of a batch, in groups that say how large they are.
func (m *model) groups(n int) []string {
	var out []string
	for len(out) < n {
		size := min(1+m.rand.IntN(4), n-len(out))
		for i := range size {
			m.uniq++
			fill := m.rand.IntN(60)
			switch m.rand.IntN(40) {
			case 0:
				fill = 3000
			case 1:
				fill = 9000
			}
			out = append(out, fmt.Sprintf("%d/%d/%d/%s", m.uniq, i, size, strings.Repeat("x", fill)))
		}
	}
	return out
}

func place(payload string) (uniq, i, size int) {
	fmt.Sscanf(payload, "%d/%d/%d/", &uniq, &i, &size)
	return
}

func (m *model) write() {
	m.tb.Helper()
	payloads := m.groups(1 + m.rand.IntN(8))
	b, err := m.log.Write(len(payloads), func(i int, dst []byte) ([]byte, bool) {
		_, at, size := place(payloads[i])
		return append(dst, payloads[i]...), at < size-1
	})
	m.note("write %d at %d: %v", len(payloads), m.written+1, err)
	if err != nil {
		for i, p := range payloads {
			m.doubt(m.written+1+uint64(i), p)
		}
		m.rolledBack(err)
		return
	}
	if b.First != m.written+1 || len(b.Offsets) != len(payloads) {
		m.fatalf("write: batch %+v, want first %d", b, m.written+1)
	}
	for i, p := range payloads {
		m.recs[b.First+uint64(i)] = p
	}
	m.written += uint64(len(payloads))
}

func (m *model) doubt(seq uint64, p string) { m.maybe[seq] = append(m.maybe[seq], p) }

// rolledBack follows what an error says.
func (m *model) rolledBack(err error) {
	m.tb.Helper()
	r, ok := errors.AsType[*seglog.RollbackError](err)
	if !ok {
		return
	}
	if r.To < m.synced {
		m.fatalf("rolled back to %d, behind synced %d", r.To, m.synced)
	}
	for seq := r.To + 1; seq <= m.written; seq++ {
		m.doubt(seq, m.recs[seq])
		delete(m.recs, seq)
	}
	m.written = r.To
	if got := m.log.Written(); got != r.To {
		m.fatalf("rolled back to %d, Written is %d", r.To, got)
	}
}

func (m *model) sync() {
	m.tb.Helper()
	err := m.log.Sync()
	m.note("sync to %d: %v", m.written, err)
	if err != nil {
		m.rolledBack(err)
	} else if got := m.log.Synced(); got != m.written {
		m.fatalf("after Sync synced is %d, written %d", got, m.written)
	}
	m.synced = max(m.synced, m.log.Synced())
}

func (m *model) roll() {
	tag := m.tags[len(m.tags)-1]
	if m.rand.IntN(2) == 0 {
		tag[0]++
	}
	err := m.log.Roll(tag)
	m.note("roll to tag %d: %v", tag[0], err)
	m.rolledBack(err)
	if err != nil {
		m.tags = append([]seglog.Tag{tag}, m.tags...)
		return
	}
	m.tags = []seglog.Tag{tag}
	clear(m.maybe) // the new segment says where the one before ends
}

func (m *model) trim() {
	m.tb.Helper()
	if m.synced == 0 {
		return
	}
	to := m.trimmed + m.rand.Uint64N(m.synced-m.trimmed+1)
	err := m.log.RemoveBefore(to)
	m.note("trim to %d: %v", to, err)
	m.trimmed = to
	for seq := range m.recs {
		if seq <= to {
			delete(m.recs, seq)
		}
	}
}

func (m *model) close() {
	err := m.log.Close()
	m.note("close: %v", err)
	m.rolledBack(err)
	if err == nil && m.log.Synced() == m.written {
		m.synced = m.written
	}
}

// crash crashes, opens again and compares.
func (m *model) crash(loss faultfs.Loss) {
	m.tb.Helper()
	m.note("crash %d", loss)
	m.fs = m.fs.Crash(loss)
	if m.rand.IntN(3) == 0 { // opening may fail halfway, and find less than it needs for writing
		m.setFaults(30)
		l, err := seglog.Open(m.fs, "d/log", m.opts)
		m.setFaults(0)
		if m.log = l; err == nil {
			m.compare(loss)
			return
		}
		m.note("open: %v", err)
		m.fs = m.fs.Crash(faultfs.Kill)
	}
	m.open()
	m.compare(loss)
}

// compare checks what Open recovered, and takes it over.
func (m *model) compare(loss faultfs.Loss) {
	m.tb.Helper()
	rec := m.log.Recovery()
	m.note("recovered %+v, written %d, segments %v", rec, m.log.Written(), m.log.Segments())
	if len(rec.Damage) > 0 || rec.LostEnd {
		m.fatalf("damage reported: %+v", rec)
	}
	last := m.log.Written()
	switch {
	case last < m.synced:
		m.fatalf("recovered up to %d, synced were %d", last, m.synced)
	case loss == faultfs.Kill && last < m.written:
		m.fatalf("recovered up to %d after a kill, written were %d", last, m.written)
	case rec.Clean && last < m.written:
		m.fatalf("recovered up to %d and called clean, written were %d", last, m.written)
	case m.log.Synced() < m.synced && m.log.Err() == nil, m.log.Synced() > last:
		m.fatalf("synced is %d, was %d, written %d", m.log.Synced(), m.synced, last)
	}
	for seq := m.trimmed + 1; seq <= last; seq++ {
		got := m.read(seq)
		if got != m.recs[seq] && (seq <= m.synced || !slices.Contains(m.maybe[seq], got)) {
			m.fatalf("record %d is %.40q, want %.40q (or, if above %d, of %.40q)", seq, got, m.recs[seq], m.synced, m.maybe[seq])
		}
		m.recs[seq] = got
	}
	if last > m.trimmed {
		if _, i, size := place(m.recs[last]); i != size-1 {
			m.fatalf("last record %d is %d of a group of %d", last, i, size)
		}
	}
	for seq := range m.recs {
		if seq > last {
			delete(m.recs, seq)
		}
	}
	m.written, m.synced = last, max(m.synced, m.log.Synced())
	if !slices.Contains(m.tags, m.log.Tag()) {
		m.fatalf("tag is %v, want one of %v", m.log.Tag(), m.tags)
	}
	m.tags = []seglog.Tag{m.log.Tag()}
	m.readAll()
}

// read reads one record by seeking.
func (m *model) read(seq uint64) string {
	m.tb.Helper()
	r := m.log.NewReader(seq - 1)
	defer r.Close()
	rec, err := r.Next()
	if err != nil || rec.Seq != seq {
		m.fatalf("read %d: got %d, %v", seq, rec.Seq, err)
	}
	return string(rec.Payload)
}

// readAll reads everything in order and compares it with the model.
func (m *model) readAll() {
	m.tb.Helper()
	r := m.log.NewReader(m.trimmed)
	defer r.Close()
	for want := m.trimmed + 1; ; want++ {
		rec, err := r.Next()
		if err == io.EOF {
			if want != m.written+1 {
				m.fatalf("reading ended before %d, written %d", want, m.written)
			}
			return
		}
		if err != nil {
			m.fatalf("reading %d: %v", want, err)
		}
		if rec.Seq != want || string(rec.Payload) != m.recs[want] {
			m.fatalf("read %d %.40q, want %d %.40q", rec.Seq, rec.Payload, want, m.recs[want])
		}
	}
}

// step does something at random.
func (m *model) step() {
	m.tb.Helper()
	switch n := m.rand.IntN(100); {
	case n < 50:
		m.write()
	case n < 75:
		m.sync()
	case n < 80:
		m.roll()
	case n < 84:
		m.trim()
	case n < 88:
		m.setFaults([]int{0, 0, 10, 40}[m.rand.IntN(4)])
	case n < 90:
		m.fs.SetCapacity(m.fs.Used() + m.rand.Int64N(8<<10))
		m.note("capacity")
	case n < 92:
		m.fs.SetCapacity(0)
	case n < 94:
		faults := m.faults
		m.setFaults(0)
		m.readAll()
		m.setFaults(faults)
	case n < 96:
		m.close()
		m.reopen(faultfs.Kill)
	default:
		m.reopen(faultfs.Losses[m.rand.IntN(len(faultfs.Losses))])
	}
}

// reopen crashes without faults and goes on, sometimes with.
func (m *model) reopen(loss faultfs.Loss) {
	m.tb.Helper()
	faults := m.faults
	m.setFaults(0)
	m.crash(loss)
	m.setFaults(faults)
}

var seedCount = flag.Int("seeds", 1000, "seeds of the random crash test")

// TestRandomCrashes drives logs with random operations, faults and crashes.
// All synced records must be there, in order; behind them may follow what was
// written, without holes and in whole groups; nothing else.
func TestRandomCrashes(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // much garbage, little memory
	seeds := uint64(*seedCount)
	if testing.Short() {
		seeds /= 20
	}
	for seed := range seeds {
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := newModel(t, seed)
			m.open()
			for range 80 {
				m.step()
			}
			m.reopen(faultfs.Mixed)
		})
		if !ok {
			return
		}
	}
}
