package bench

import (
	"errors"
	"fmt"
	"time"
)

// Load is what the loads have in common.
type Load struct {
	Domain   string        // the domain, or the beginning of the names of several; "main" if empty
	Domains  int           // over how many domains the load is spread; 1 if 0
	Topics   int           // over how many topics of each domain; 1 if 0
	Size     int           // bytes of a message; 200 if 0
	Duration time.Duration // of the measured part; 10 s if 0
	Warmup   time.Duration // before it; 1 s if 0, none if below
	Progress func(string)  // told what is being done; may be nil
}

func (l *Load) defaults() error {
	if l.Domain == "" {
		l.Domain = "main"
	}
	orElse(&l.Domains, 1)
	orElse(&l.Topics, 1)
	orElse(&l.Size, 200)
	orElse(&l.Duration, 10*time.Second)
	orElse(&l.Warmup, time.Second)
	l.Warmup = max(l.Warmup, 0)
	if l.Progress == nil {
		l.Progress = func(string) {}
	}
	switch {
	case l.Size < MinSize || l.Size > MaxSize:
		return fmt.Errorf("size %d is outside %d to %d bytes", l.Size, MinSize, MaxSize)
	case l.Topics < 1 || l.Topics > maxTopics:
		return fmt.Errorf("topics %d is outside 1 to %d", l.Topics, maxTopics)
	case l.Domains < 1 || l.Domains > 10_000:
		return fmt.Errorf("domains %d is outside 1 to 10000", l.Domains)
	case l.Duration < 0:
		return errors.New("duration is below 0")
	}
	return nil
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// positive checks numbers of connections.
func positive(name string, n, most int) error {
	if n < 1 || n > most {
		return fmt.Errorf("%s %d is outside 1 to %d", name, n, most)
	}
	return nil
}
