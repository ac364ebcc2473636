package bench

import (
	"cmp"
	"slices"
	"time"
)

// figure is one number that a load came to; what is not known is left out of
// a result's figures.
type figure struct {
	name  string
	unit  string
	value float64
}

// figures collects them in the order in which they are printed.
type figures []figure

func (f *figures) add(name, unit string, value float64) { *f = append(*f, figure{name, unit, value}) }

func (f *figures) micros(name string, d time.Duration) { f.add(name, "µs", float64(d)/1e3) }

// cpu adds processor time, of the server and of the generator, each divided.
func (f *figures) cpu(c CPU, per string, n uint64) {
	if n == 0 {
		return
	}
	if c.Server != nil { // not PerMessage, which has no fractions of a nanosecond
		f.add("processor time a "+per, "µs", float64(*c.Server)/1e3/float64(n))
	}
	if c.Generator != nil {
		f.add("the generator's", "µs", float64(*c.Generator)/1e3/float64(n))
	}
}

func (f *figures) latency(name string, q Quantiles) {
	if q.Count > 0 {
		f.micros(name+", p50", q.P50)
		f.micros(name+", p99", q.P99)
	}
}

func (p *PublishResult) figures() (f figures) {
	f.add("published", "/s", p.PerSecond)
	f.cpu(p.CPU, "message", p.Published)
	f.latency("until acknowledged", p.Latency)
	return f
}

func (r *FanoutResult) figures() (f figures) {
	f.add("delivered", "/s", r.PerSecond)
	f.cpu(r.CPU, "delivery", r.Delivered)
	f.latency("to each reader", r.Latency)
	f.latency("to the last reader", r.LastReader)
	return f
}

func (p *ReplayResult) figures() (f figures) {
	f.add("delivered", "/s", p.PerSecond)
	f.cpu(p.CPU, "message", p.Delivered)
	f.micros("first message after", p.First)
	return f
}

func (i *IdleResult) figures() (f figures) {
	if m := i.PerSubscriber; m != nil {
		f.add("memory a connection, PSS", "bytes", float64(m.PSS))
		f.add("memory a connection, RSS", "bytes", float64(m.RSS))
	}
	f.add("connected", "/s", i.ConnectPerSec)
	f.cpu(i.ConnectCPU, "connection made", uint64(i.Subscribers))
	return f
}

func (s *StormResult) figures() (f figures) {
	f.add("all had what they missed", "s", s.Elapsed.Seconds())
	f.cpu(s.CPU, "subscriber", uint64(s.Subscribers))
	f.latency("one had it", s.Latency)
	return f
}

// failures of a result: how many, and the first.
func (p *PublishResult) failures() (int64, string) { return p.Errors, p.FirstError }
func (r *FanoutResult) failures() (int64, string)  { return r.Errors + r.Broken, r.FirstError }
func (p *ReplayResult) failures() (int64, string)  { return 0, "" }
func (i *IdleResult) failures() (int64, string)    { return i.Broken, i.FirstError }
func (s *StormResult) failures() (int64, string)   { return s.Broken, s.FirstError }

// median is the middle of the values; of an even number of them, the mean of
// the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.SortFunc(values, cmp.Compare[float64])
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
