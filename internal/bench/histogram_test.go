package bench

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"small":   func() time.Duration { return time.Duration(rng.IntN(100)) },
		"uniform": func() time.Duration { return time.Duration(rng.IntN(int(time.Second))) },
		"skewed":  func() time.Duration { return time.Duration(rng.ExpFloat64() * float64(time.Millisecond)) },
		"one":     func() time.Duration { return 123456 },
	} {
		t.Run(name, func(t *testing.T) {
			var h Histogram
			var all []time.Duration
			for range 100_000 {
				d := draw()
				h.Add(d)
				all = append(all, d)
			}
			slices.Sort(all)
			q := h.Quantiles()
			for _, c := range []struct {
				name string
				got  time.Duration
				p    float64
			}{{"p50", q.P50, 0.5}, {"p90", q.P90, 0.9}, {"p99", q.P99, 0.99}, {"p99.9", q.P999, 0.999}} {
				want := all[int(c.p*float64(len(all)))]
				if c.got < want || float64(c.got) > float64(want)*1.04+1 {
					t.Errorf("%s is %v, exactly it is %v", c.name, c.got, want)
				}
			}
			if q.Max != all[len(all)-1] || q.Count != int64(len(all)) {
				t.Errorf("max %v of %d", q.Max, q.Count)
			}
		})
	}
}

func TestHistogramEnds(t *testing.T) {
	var h Histogram
	if q := h.Quantiles(); q != (Quantiles{}) {
		t.Errorf("empty: %+v", q)
	}
	h.Add(-time.Second)
	h.Add(100 * time.Hour)
	q := h.Quantiles()
	if q.Count != 2 || q.Max != 100*time.Hour || q.P50 > 100*time.Hour {
		t.Errorf("%+v", q)
	}
}

// Buckets follow each other without a hole.
func TestHistogramBuckets(t *testing.T) {
	for v, last := uint64(0), 0; v < 1<<20; v++ {
		b := bucketOf(v)
		if b < last {
			t.Fatalf("%d is in bucket %d, after %d", v, b, last)
		}
		if top(b) < time.Duration(v) || b > 0 && b != last && top(last) != time.Duration(v-1) {
			t.Fatalf("%d is in bucket %d up to %d; the one before ends at %d", v, b, top(b), top(last))
		}
		last = b
	}
}

func TestHistogramConcurrent(t *testing.T) {
	var h Histogram
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 10_000 {
				h.Add(time.Duration(i))
			}
		})
	}
	wg.Wait()
	if q := h.Quantiles(); q.Count != 80_000 || q.Max != 9_999 {
		t.Errorf("%+v", q)
	}
}

func BenchmarkHistogram(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Add(time.Duration(i))
	}
}
