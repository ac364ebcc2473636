package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// report is text for people: a line for each figure.
type report struct {
	w *tabwriter.Writer
}

func newReport(w io.Writer, title string) *report {
	fmt.Fprintln(w, title)
	return &report{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (r *report) line(name, format string, args ...any) {
	fmt.Fprintf(r.w, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
}

func (r *report) row(cells ...string) { fmt.Fprintf(r.w, "  %s\n", strings.Join(cells, "\t")) }

func (r *report) latency(name string, q Quantiles) {
	if q.Count > 0 {
		r.line(name, "p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", short(q.P50), short(q.P90), short(q.P99), short(q.P999), short(q.Max))
	}
}

func (r *report) cpu(c CPU, elapsed time.Duration, per string) {
	if c.Server != nil {
		text := fmt.Sprintf("%.2f s, %.0f%% of one processor", c.Server.Seconds(), 100*c.Server.Seconds()/elapsed.Seconds())
		if c.PerMessage != nil {
			text = fmt.Sprintf("%s a %s (%s)", short(*c.PerMessage), per, text)
		}
		r.line("server processor time", "%s", text)
	}
	if c.Generator != nil {
		r.line("generator processor time", "%.2f s, %.0f%% of one processor", c.Generator.Seconds(), 100*c.Generator.Seconds()/elapsed.Seconds())
	}
}

func (r *report) memory(name string, m *Memory) {
	if m != nil {
		r.line(name, "PSS %s  RSS %s  anonymous %s", bytesText(m.PSS), bytesText(m.RSS), bytesText(m.Anonymous))
	}
}

func (r *report) faults(f Faults) {
	r.line("lost, doubled, swapped", "%d, %d, %d", f.Lost, f.Doubled, f.Swapped)
}

func (r *report) errors(n int64, what, first string) {
	if n > 0 {
		r.line(what, "%d, the first: %s", n, first)
	}
}

func (r *report) end() error { return r.w.Flush() }

func (p *PublishResult) title() string {
	how := ""
	switch {
	case p.Via == "ws" && p.Batch > 1:
		how = fmt.Sprintf(" in %s at a time of %d messages", count(p.Frames, "WebSocket frame"), p.Batch)
	case p.Via == "ws":
		how = fmt.Sprintf(" in %s at a time", count(p.Frames, "WebSocket frame"))
	case p.Batch > 1:
		how = fmt.Sprintf(" in batches of %d", p.Batch)
	}
	return fmt.Sprintf("publish%s: %d connections, %d bytes, %s, %s", how, p.Connections, p.Size, count(p.Domains, "domain"), count(p.Topics, "topic"))
}

// WriteText writes the result for people.
func (p *PublishResult) WriteText(w io.Writer) error {
	r := newReport(w, p.title())
	r.line("published", "%d in %.1f s: %.0f/s", p.Published, p.Elapsed.Seconds(), p.PerSecond)
	r.latency("latency", p.Latency)
	r.cpu(p.CPU, p.Elapsed, "message")
	r.faults(p.Faults)
	r.line("read back", "%d", p.ReadBack)
	r.errors(p.Errors, "errors", p.FirstError)
	return r.end()
}

func (f *FanoutResult) title() string {
	return fmt.Sprintf("fanout: %d subscribers over %s, %d publishers, %d bytes, %s, %s",
		f.Subscribers, f.Transport, f.Connections, f.Size, count(f.Domains, "domain"), count(f.Topics, "topic"))
}

// WriteText writes the result for people.
func (f *FanoutResult) WriteText(w io.Writer) error {
	r := newReport(w, f.title())
	r.line("published", "%d in %.1f s: %.1f/s", f.Published, f.Elapsed.Seconds(), float64(f.Published)/f.Elapsed.Seconds())
	r.line("delivered", "%d: %.0f/s", f.Delivered, f.PerSecond)
	r.latency("latency", f.Latency)
	r.latency("to the last reader", f.LastReader)
	r.cpu(f.CPU, f.Elapsed, "delivered message")
	r.memory("server memory", f.Memory)
	r.faults(f.Faults)
	r.errors(f.Errors, "publish errors", f.FirstError)
	r.errors(f.Broken, "broken subscribers", f.FirstError)
	return r.end()
}

func (p *ReplayResult) title() string {
	cache := "warm"
	if p.Cold {
		cache = "cold"
	}
	return fmt.Sprintf("replay: %d messages of %d bytes, %s, %s over %s, %s", p.Messages, p.Size, count(p.Topics, "topic"), count(p.Readers, "reader"), p.Transport, cache)
}

// WriteText writes the result for people.
func (p *ReplayResult) WriteText(w io.Writer) error {
	r := newReport(w, p.title())
	r.line("loaded", "in %.1f s: %.0f/s", p.Loading.Seconds(), p.Loaded)
	r.line("delivered", "%d in %.2f s: %.0f/s", p.Delivered, p.Elapsed.Seconds(), p.PerSecond)
	r.line("first message", "after %s", short(p.First))
	r.cpu(p.CPU, p.Elapsed, "delivered message")
	r.memory("server memory", p.Memory)
	r.faults(p.Faults)
	return r.end()
}

func (i *IdleResult) title() string {
	return fmt.Sprintf("idle: %d subscribers over %s, %s, %s", i.Subscribers, i.Transport, count(i.Domains, "domain"), count(i.Topics, "topic"))
}

// WriteText writes the result for people.
func (i *IdleResult) WriteText(w io.Writer) error {
	r := newReport(w, i.title())
	r.line("connected", "in %.2f s: %.0f/s", i.Connecting.Seconds(), i.ConnectPerSec)
	if c := i.ConnectCPU; c.PerMessage != nil {
		r.line("server processor time", "%s a connection", short(*c.PerMessage))
	}
	if c := i.CPU.Server; c != nil {
		r.line("while idle", "%.2f s of processor time in %.1f s", c.Seconds(), i.Elapsed.Seconds())
	}
	r.memory("memory before", i.Before)
	r.memory("memory after", i.After)
	if m := i.PerSubscriber; m != nil {
		r.line("memory a subscriber", "PSS %d  RSS %d  anonymous %d bytes", m.PSS, m.RSS, m.Anonymous)
	}
	r.line("reached at the end", "%d", i.Reached)
	r.faults(i.Faults)
	r.errors(i.Broken, "broken subscribers", i.FirstError)
	return r.end()
}

func (s *StormResult) title() string {
	return fmt.Sprintf("storm: %d subscribers over %s come back, each missed %s of %d bytes", s.Subscribers, s.Transport, count(s.Missed, "message"), s.Size)
}

// WriteText writes the result for people.
func (s *StormResult) WriteText(w io.Writer) error {
	r := newReport(w, s.title())
	r.line("all had what they missed", "after %s", short(s.Elapsed))
	r.latency("one had it after", s.Latency)
	r.cpu(s.CPU, s.Elapsed, "subscriber")
	r.memory("server memory", s.Memory)
	r.faults(s.Faults)
	r.errors(s.Broken, "broken subscribers", s.FirstError)
	return r.end()
}

// short is a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/1e6)
	case d >= 10*time.Microsecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%.2f µs", float64(d)/1e3)
}

// quantity is a value with its unit, in three digits or so.
func quantity(v float64, unit string) string {
	switch {
	case unit == "µs" && v < 0.01:
		return fmt.Sprintf("%.1f ns", v*1000)
	case unit == "µs" && v < 10:
		return fmt.Sprintf("%.2f µs", v)
	case unit == "µs":
		return short(time.Duration(v * 1e3))
	case unit == "s":
		return short(time.Duration(v * 1e9))
	case unit == "bytes":
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.0f%s", v, unit)
}

func bytesText(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
