package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Result is what one run of a load came to.
type Result interface {
	WriteText(w io.Writer) error
	Any() bool // something was lost, doubled or swapped
	title() string
	figures() figures
	failures() (n int64, first string)
	faults() Faults
}

// Series says how often a load is run, and beside what.
type Series struct {
	Rounds     int          // 1 if 0
	Reference  bool         // each round is run on the limit too
	Together   bool         // the limit puts what waits for a subscriber into one write
	Executable string       // the crier binary, for the limit
	Fresh      bool         // each round has processes that did nothing before
	Progress   func(string) // told what is being done; may be nil
}

// Figure is a number of the server's and the limit's, each the median of the
// rounds.
type Figure struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit"`
	Server float64  `json:"server"`
	Limit  *float64 `json:"limit,omitempty"`
	Ratio  *float64 `json:"ratio,omitempty"` // of the two; left out if the limit's is 0
}

// Comparison is what a series came to.
type Comparison[R Result] struct {
	Load        string   `json:"load"`
	Rounds      int      `json:"rounds"`
	Together    bool     `json:"limit_together"`
	Figures     []Figure `json:"figures"`
	Server      []R      `json:"server"`
	Limit       []R      `json:"limit,omitempty"`
	Failures    int64    `json:"failures"`
	FirstFailed string   `json:"first_error,omitempty"`
	Faults
}

// Compare runs a load several times on the server, in turns with the limit,
// which is started beside it: both see the same machine. Who goes first
// changes from round to round.
func Compare[R Result](ctx context.Context, t *Target, s Series, load func(context.Context, *Target) (R, error)) (_ *Comparison[R], err error) {
	s.Rounds = max(s.Rounds, 1)
	if s.Progress == nil {
		s.Progress = func(string) {}
	}
	if s.Fresh && s.Rounds > 1 && !t.Own() {
		return nil, errors.New("more rounds than one need a server that the benchmark starts itself: each is to have a new process")
	}
	var limit *Target
	if s.Reference {
		if limit, err = StartLimit(ctx, s.Executable, s.Together); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, limit.Close()) }()
	}
	c := &Comparison[R]{Rounds: s.Rounds, Together: s.Together}
	for i := range s.Rounds {
		order := []*Target{t, limit}
		if i%2 == 1 {
			order = []*Target{limit, t}
		}
		for _, target := range order {
			if target == nil {
				continue
			}
			if s.Fresh && i > 0 {
				if err := target.renew(ctx); err != nil {
					return nil, err
				}
			}
			s.Progress(fmt.Sprintf("round %d of %d: %s", i+1, s.Rounds, target.role()))
			r, err := load(ctx, target)
			if err != nil {
				return nil, fmt.Errorf("round %d of %s: %w", i+1, target.role(), err)
			}
			if target == limit {
				c.Limit = append(c.Limit, r)
			} else {
				c.Server = append(c.Server, r)
			}
		}
	}
	c.sum()
	return c, nil
}

func (t *Target) role() string {
	if t.limit != nil {
		return "the limit"
	}
	return "the server"
}

// sum makes the figures out of the rounds.
func (c *Comparison[R]) sum() {
	c.Load = c.Server[0].title()
	for _, r := range append(append([]R(nil), c.Server...), c.Limit...) {
		f := r.faults()
		c.Lost += f.Lost
		c.Doubled += f.Doubled
		c.Swapped += f.Swapped
		n, first := r.failures()
		if c.Failures += n; c.FirstFailed == "" {
			c.FirstFailed = first
		}
	}
	for _, of := range c.Server[0].figures() {
		f := Figure{Name: of.name, Unit: of.unit}
		f.Server, _ = medianOf(c.Server, of.name)
		if limit, ok := medianOf(c.Limit, of.name); ok {
			f.Limit = &limit
			if limit != 0 {
				f.Ratio = new(f.Server / limit)
			}
		}
		c.Figures = append(c.Figures, f)
	}
}

// medianOf is the median of a figure over the rounds that have it.
func medianOf[R Result](rounds []R, name string) (m float64, ok bool) {
	var values []float64
	for _, r := range rounds {
		for _, f := range r.figures() {
			if f.name == name {
				values = append(values, f.value)
			}
		}
	}
	return median(values), len(values) > 0
}

// WriteText writes the figures for people: a row each, the server's, the
// limit's, and how many times the limit's the server's is.
func (c *Comparison[R]) WriteText(w io.Writer) error {
	title := fmt.Sprintf("%s\nmedians of %s", c.Load, count(c.Rounds, "round"))
	if len(c.Limit) > 0 {
		title += ", in turns with the limit: one write for each message and subscriber"
		if c.Together {
			title = strings.TrimSuffix(title, "each message and subscriber") + "all that waits for a subscriber"
		}
	}
	r := newReport(w, title)
	if len(c.Limit) > 0 {
		r.row("", "server", "limit", "ratio")
	}
	for _, f := range c.Figures {
		limit, ratio := "", ""
		if f.Limit != nil {
			limit = quantity(*f.Limit, f.Unit)
		}
		if f.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *f.Ratio)
		}
		r.row(f.Name, quantity(f.Server, f.Unit), limit, ratio)
	}
	r.row("lost, doubled, swapped", fmt.Sprintf("%d, %d, %d", c.Lost, c.Doubled, c.Swapped))
	if err := r.end(); err != nil || c.Failures == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "  failures: %d, the first: %s\n", c.Failures, c.FirstFailed)
	return err
}
