package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Limits of lines that are read.
const (
	maxLine = 16 << 20
	// maxBatchText keeps a batch below what a server takes in a WebSocket
	// message, 1 MiB: text may take six bytes for one as JSON.
	maxBatchText = 128 << 10
)

// batch is some lines, the first of them with its number in the input.
type batch struct {
	lines [][]byte
	first int // counted from 1; blank lines count
	last  int
	size  int
}

// where names the lines, for people.
func (b *batch) where() string {
	if b.first == b.last {
		return fmt.Sprintf("line %d", b.first)
	}
	return fmt.Sprintf("lines %d to %d", b.first, b.last)
}

func (b *batch) add(l line) {
	if len(b.lines) == 0 {
		b.first = l.number
	}
	b.lines = append(b.lines, l.text)
	b.last = l.number
	b.size += len(l.text)
}

// batchLimits say when a batch is closed.
type batchLimits struct {
	lines int
	full  bool // wait until it is full; else it goes as soon as somebody takes it
}

// fits reports whether a line still belongs into a batch.
func (m batchLimits) fits(b *batch, l line) bool {
	return len(b.lines) == 0 || len(b.lines) < m.lines && b.size+len(l.text) <= maxBatchText
}

type line struct {
	text   []byte
	number int
}

// batches yields the lines of a reader that are not blank. While the loop's
// body is busy one batch is gathered, so that a slow source is not waited for
// and a fast one goes out in few requests. The error is the reader's, after
// all lines before it. When the loop ends early a read may still be under way.
func batches(ctx context.Context, in io.Reader, limits batchLimits) iter.Seq2[batch, error] {
	return func(yield func(batch, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines := make(chan line)
		var readErr error // written before lines is closed
		go func() {       // ends with the input, or after the read that is under way
			defer close(lines)
			readErr = readLines(ctx, in, lines)
		}()
		gathered := make(chan batch)
		go func() { // ends with lines or ctx
			defer close(gathered)
			gather(ctx, lines, gathered, limits)
		}()
		for b := range gathered {
			if !yield(b, nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(batch{}, context.Cause(ctx))
		} else if readErr != nil {
			yield(batch{}, readErr)
		}
	}
}

// readLines sends the lines that are not blank, without their ends.
func readLines(ctx context.Context, in io.Reader, lines chan<- line) error {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 64<<10), maxLine)
	number := 0
	for s.Scan() {
		number++
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		select {
		case lines <- line{bytes.Clone(s.Bytes()), number}:
		case <-ctx.Done():
			return nil
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d bytes", number+1, maxLine)
	}
	return s.Err()
}

// gather puts lines together until somebody takes them.
func gather(ctx context.Context, lines <-chan line, gathered chan<- batch, limits batchLimits) {
	var b batch
	for {
		ready := gathered
		if len(b.lines) == 0 || limits.full {
			ready = nil
		}
		select {
		case <-ctx.Done():
			return
		case ready <- b:
			b = batch{}
		case l, more := <-lines:
			if !more || !limits.fits(&b, l) {
				if len(b.lines) > 0 && !hand(ctx, gathered, b) {
					return
				}
				b = batch{}
			}
			if !more {
				return
			}
			b.add(l)
		}
	}
}

func hand(ctx context.Context, gathered chan<- batch, b batch) bool {
	select {
	case gathered <- b:
		return true
	case <-ctx.Done():
		return false
	}
}
