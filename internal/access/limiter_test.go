package access_test

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crier/internal/access"
)

// clock is a time that stands still until it is moved.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { return c.t }

func (c *clock) wait(d time.Duration) { c.t = c.t.Add(d) }

func TestLimiter(t *testing.T) {
	c := newClock()
	l := access.NewLimiter(10, 20, c.now)
	take := func(n int, want bool, after time.Duration) {
		t.Helper()
		if ok, retry := l.Take("a", n); ok != want || retry != after {
			t.Fatalf("%v, %v; want %v, %v", ok, retry, want, after)
		}
	}
	burst := func(n int) {
		t.Helper()
		for range n {
			take(1, true, 0)
		}
		take(1, false, time.Second)
	}
	burst(20)
	c.wait(100 * time.Millisecond)
	burst(1)
	c.wait(time.Second) // as long as it was told
	burst(10)
	c.wait(time.Hour)
	burst(20) // and not more
	c.wait(time.Second)
	take(15, false, time.Second) // ten are there
	take(10, true, 0)            // and still are, for what is refused takes none
	take(20, false, 2*time.Second)
	c.wait(2 * time.Second)
	take(20, true, 0)
	if ok, _ := l.Take("b", 20); !ok {
		t.Error("one credential takes another's")
	}
	take(0, true, 0)
}

// More than the burst goes through once the bucket is full, and is paid for.
func TestLimiterMoreThanTheBurst(t *testing.T) {
	c := newClock()
	l := access.NewLimiter(10, 20, c.now)
	if ok, _ := l.Take("a", 1000); !ok {
		t.Fatal("refused for ever")
	}
	ok, retry := l.Take("a", 1)
	if ok || retry != 99*time.Second { // in debt for 980, and one more
		t.Fatalf("%v, %v", ok, retry)
	}
	c.wait(50 * time.Second) // a debt is not forgotten, however many periods pass
	l.Take("b", 1)
	c.wait(10 * time.Second)
	l.Take("b", 1)
	c.wait(10 * time.Second)
	if ok, retry := l.Take("a", 1); ok || retry != 29*time.Second {
		t.Fatalf("%v, %v", ok, retry)
	}
	c.wait(29 * time.Second)
	if ok, _ := l.Take("a", 1); !ok {
		t.Error("refused after the wait it was told")
	}
}

func TestNoLimit(t *testing.T) {
	for _, rate := range []float64{0, -1} {
		l := access.NewLimiter(rate, 1, newClock().now)
		for range 1000 {
			if ok, _ := l.Take("a", 1000); !ok {
				t.Fatal("refused")
			}
		}
	}
}

// Whatever is asked for and when: never more than the burst and what came
// since passes, waiting as long as one is told is enough, and a credential
// that was never refused what it may have.
func TestLimiterIsATokenBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		rate, burst := rapid.IntRange(1, 50).Draw(t, "rate"), rapid.IntRange(1, 30).Draw(t, "burst")
		l := access.NewLimiter(float64(rate), burst, c.now)
		tokens := map[string]float64{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			d := time.Duration(rapid.IntRange(0, 5_000_000_000).Draw(t, "wait") / rapid.SampledFrom([]int{1, 10, 1000}).Draw(t, "short"))
			c.wait(d)
			for who := range tokens {
				tokens[who] = min(float64(burst), tokens[who]+d.Seconds()*float64(rate))
			}
			who, n := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "who"), rapid.IntRange(1, burst).Draw(t, "n")
			if _, known := tokens[who]; !known {
				tokens[who] = float64(burst)
			}
			const slack = 1e-3 // a nanosecond more or less
			ok, retry := l.Take(who, n)
			switch has := tokens[who]; {
			case ok && has < float64(n)-slack:
				t.Fatalf("%d passed of %v", n, has)
			case !ok && has > float64(n)+slack:
				t.Fatalf("%d refused of %v", n, has)
			case ok:
				tokens[who] -= float64(n)
			case retry < time.Second || retry%time.Second != 0 || has+retry.Seconds()*float64(rate) < float64(n)-slack:
				t.Fatalf("told to wait %v for %d, having %v", retry, n, has)
			}
		}
	})
}

// With more credentials than buckets, those that come late share one; once
// the others are full again they have their own.
func TestLimiterIsBounded(t *testing.T) {
	c := newClock()
	l := access.NewLimiter(1, 10, c.now)
	for i := range access.MaxBuckets {
		if ok, _ := l.Take(strconv.Itoa(i), 10); !ok {
			t.Fatal("refused")
		}
	}
	if ok, _ := l.Take("late", 10); !ok {
		t.Error("the shared bucket is empty")
	}
	if ok, _ := l.Take("later", 1); ok {
		t.Error("more buckets than the bound")
	}
	if ok, _ := l.Take("7", 1); ok {
		t.Error("forgot a bucket")
	}
	c.wait(10 * time.Second)
	l.Take("x", 1)
	c.wait(10 * time.Second)
	for _, who := range []string{"late", "later"} {
		if ok, _ := l.Take(who, 10); !ok {
			t.Error("still sharing")
		}
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := access.NewLimiter(1e9, 1000, time.Now)
	for b.Loop() {
		l.Take("key:ABCDEFGHIJKL", 1)
	}
}
