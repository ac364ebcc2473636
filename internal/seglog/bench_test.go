package seglog_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"crier/internal/seglog"
)

// BenchmarkAppendSync writes batches of as many records of 200 bytes as there
// would be publishers waiting, each followed by a sync.
func BenchmarkAppendSync(b *testing.B) {
	payload := make([]byte, 200)
	for _, waiting := range []int{1, 16, 64, 512} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			l := mustOpen(b, mustDir(b), seglog.Options{})
			var took []time.Duration
			cpu := cpuTime()
			for b.Loop() {
				start := time.Now()
				if _, err := l.Write(waiting, func(_ int, dst []byte) ([]byte, bool) {
					return append(dst, payload...), false
				}); err != nil {
					b.Fatal(err)
				}
				if err := l.Sync(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			report(b, waiting, cpuTime()-cpu)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkAppend writes batches of 64 without syncs of its own.
func BenchmarkAppend(b *testing.B) {
	l := mustOpen(b, mustDir(b), seglog.Options{})
	fillLog(b, l, 64)
	cpu := cpuTime()
	for b.Loop() {
		fillLog(b, l, 64)
	}
	report(b, 64, cpuTime()-cpu)
}

// report gives rate and processor time of n records a round.
func report(b *testing.B, n int, cpu time.Duration) {
	b.Helper()
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(n*b.N), "cpu-ns/record")
}

func fillLog(b *testing.B, l *seglog.Log, n int) {
	b.Helper()
	for n > 0 {
		batch := min(n, 500)
		n -= batch
		if _, err := l.Write(batch, func(_ int, dst []byte) ([]byte, bool) {
			return append(dst, filler[:]...), false
		}); err != nil {
			b.Fatal(err)
		}
	}
}

var filler [200]byte

// BenchmarkRead reads a log of 2 million records from its beginning, out of
// the page cache and, where it can be emptied, off the disk.
func BenchmarkRead(b *testing.B) {
	const records = 2_000_000
	dir := b.TempDir()
	d, err := seglog.OpenDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	l := mustOpen(b, d, seglog.Options{})
	fillLog(b, l, records)
	mustSync(b, l)
	for _, cold := range []bool{false, true} {
		b.Run(map[bool]string{false: "warm", true: "cold"}[cold], func(b *testing.B) {
			var cpu time.Duration
			best := time.Duration(math.MaxInt64)
			for b.Loop() {
				if cold {
					b.StopTimer()
					if err := dropCache(filepath.Join(dir, "log")); err != nil {
						b.Skip(err)
					}
					b.StartTimer()
				}
				start, started := cpuTime(), time.Now()
				if n := countRecords(b, l, 0); n != records {
					b.Fatalf("read %d", n)
				}
				cpu += cpuTime() - start
				best = min(best, time.Since(started))
			}
			report(b, records, cpu)
			b.ReportMetric(records/best.Seconds(), "best-records/s")
		})
	}
	b.Run("page", func(b *testing.B) { // 100 records at a random place
		r := l.NewReader(0)
		defer r.Close()
		cpu := cpuTime()
		defer func() { report(b, 100, cpuTime()-cpu) }()
		for i := 0; b.Loop(); i++ {
			r.Seek(uint64(i*7919) % (records - 100))
			for range 100 {
				if _, err := r.Next(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func countRecords(b *testing.B, l *seglog.Log, after uint64) (n int) {
	b.Helper()
	r := l.NewReader(after)
	defer r.Close()
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// BenchmarkReopen opens a log of 5 million records that was not closed.
func BenchmarkReopen(b *testing.B) {
	dir := b.TempDir()
	d, err := seglog.OpenDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	l := mustOpen(b, d, seglog.Options{})
	fillLog(b, l, 5_000_000)
	mustSync(b, l)
	for _, cold := range []bool{false, true} {
		b.Run(map[bool]string{false: "warm", true: "cold"}[cold], func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				killed := killedCopy(b, filepath.Join(dir, "log"))
				if cold {
					if err := dropCache(killed); err != nil {
						b.Skip(err)
					}
				}
				kd, err := seglog.OpenDir(filepath.Dir(killed))
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				again, err := seglog.Open(kd, "log", seglog.Options{})
				b.StopTimer()
				if err != nil || again.Written() != 5_000_000 || again.Recovery().Clean {
					b.Fatal(err, again.Written())
				}
				again.Close()
				kd.Close()
				b.StartTimer()
			}
		})
	}
}

// killedCopy makes a directory with the files of a log as they are now: links
// to the sealed ones, a copy of the last.
func killedCopy(b *testing.B, from string) string {
	b.Helper()
	to := filepath.Join(b.TempDir(), "log")
	if err := os.Mkdir(to, 0o700); err != nil {
		b.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(from, "*.log"))
	if err != nil {
		b.Fatal(err)
	}
	for i, name := range names {
		if i < len(names)-1 {
			err = os.Link(name, filepath.Join(to, filepath.Base(name)))
		} else {
			var content []byte
			if content, err = os.ReadFile(name); err == nil {
				err = os.WriteFile(filepath.Join(to, filepath.Base(name)), content, 0o600)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return to
}
