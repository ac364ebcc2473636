package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Durations below subBuckets nanoseconds are counted exactly; above that each
// power of two has subBuckets/2 buckets, so that a value is known to 3%. The
// last one takes all that is longer than about 18 minutes.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	maxBits    = 40
	buckets    = (maxBits - subBits + 1) * subBuckets
)

// Histogram counts durations in 18 KiB, whatever their number. It may be used
// concurrently; reading while others add gives a moment's view.
type Histogram struct {
	counts [buckets]atomic.Uint64
	max    atomic.Int64
	sum    atomic.Int64
}

// Add counts a duration; negative ones count as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))].Add(1)
	h.sum.Add(int64(d))
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	exp := bits.Len64(v) - subBits // at least 1; v>>exp has subBits bits
	if exp > maxBits-subBits {
		return buckets - 1
	}
	return exp*subBuckets + int(v>>exp) // the upper half of each power's buckets
}

// top is the largest value of a bucket.
func top(bucket int) time.Duration {
	exp, sub := bucket/subBuckets, bucket%subBuckets
	return time.Duration((sub+1)<<exp - 1)
}

// Quantiles are what people look at.
type Quantiles struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Quantiles gives the quantiles of what was added, each the top of its bucket.
func (h *Histogram) Quantiles() Quantiles {
	var counts [buckets]uint64
	var n uint64
	for i := range h.counts {
		counts[i] = h.counts[i].Load()
		n += counts[i]
	}
	q := Quantiles{Count: int64(n), Max: time.Duration(h.max.Load())}
	if n == 0 {
		return q
	}
	q.Mean = time.Duration(h.sum.Load() / int64(n))
	for _, want := range []struct {
		p    float64
		into *time.Duration
	}{{0.5, &q.P50}, {0.9, &q.P90}, {0.99, &q.P99}, {0.999, &q.P999}} {
		rank := uint64(want.p*float64(n)) + 1
		var seen uint64
		for i, c := range counts {
			if seen += c; seen >= min(rank, n) {
				*want.into = min(top(i), q.Max)
				break
			}
		}
	}
	return q
}
