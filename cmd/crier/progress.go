package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells on a terminal how far a long publish is.
type progress struct {
	out   io.Writer // nil: nobody watches
	begun time.Time
	shown time.Time // zero: not yet
	n     int
}

// Progress is shown after the first of these, and then each second.
const (
	progressAfter = 2 * time.Second
	progressEvery = time.Second
)

func startProgress(std *streams) *progress {
	p := &progress{begun: time.Now()}
	if f, ok := std.err.(*os.File); ok && isTerminal(f) {
		p.out = std.err
	}
	return p
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// add counts messages.
func (p *progress) add(n int) {
	p.n += n
	now := time.Now()
	if p.out == nil || now.Sub(p.begun) < progressAfter || now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	fmt.Fprintf(p.out, "\rpublished %d, %.0f/s ", p.n, float64(p.n)/now.Sub(p.begun).Seconds())
}

// end takes the line away.
func (p *progress) end() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// summary says what was done.
func (p *progress) summary(last string) string {
	switch p.n {
	case 0:
		return "nothing was published"
	case 1:
		return "published 1 message, " + last
	}
	return fmt.Sprintf("published %d messages in %.1f s, the last %s", p.n, time.Since(p.begun).Seconds(), last)
}
