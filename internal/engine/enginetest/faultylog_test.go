package enginetest

import (
	"context"
	"testing"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// logFault is a log of which one method is replaced.
type logFault struct {
	engine.Log
	append     func(ctx context.Context, b engine.Block) (engine.Receipt, error)
	read       func(ctx context.Context, q engine.Query) (engine.Page, error)
	last       func(ctx context.Context, f topic.Filter, n int) (uint64, uint64, error)
	complete   func(ctx context.Context, f topic.Filter) (uint64, error)
	state      func(ctx context.Context) (engine.State, error)
	topics     func(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error)
	trim       func(ctx context.Context, r engine.Retention) error
	forget     func(ctx context.Context, name string) error
	beginEpoch func(ctx context.Context) (message.Epoch, error)
	listen     func(fn func(engine.News)) func()
	durability func() engine.Durability
	set        func(ctx context.Context, d engine.Durability) error
}

func (l *logFault) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	if l.append != nil {
		return l.append(ctx, b)
	}
	return l.Log.Append(ctx, b)
}

func (l *logFault) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	if l.read != nil {
		return l.read(ctx, q)
	}
	return l.Log.Read(ctx, q)
}

func (l *logFault) Last(ctx context.Context, f topic.Filter, n int) (uint64, uint64, error) {
	if l.last != nil {
		return l.last(ctx, f, n)
	}
	return l.Log.Last(ctx, f, n)
}

func (l *logFault) Complete(ctx context.Context, f topic.Filter) (uint64, error) {
	if l.complete != nil {
		return l.complete(ctx, f)
	}
	return l.Log.Complete(ctx, f)
}

func (l *logFault) State(ctx context.Context) (engine.State, error) {
	if l.state != nil {
		return l.state(ctx)
	}
	return l.Log.State(ctx)
}

func (l *logFault) Topics(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error) {
	if l.topics != nil {
		return l.topics(ctx, f, after, limit)
	}
	return l.Log.Topics(ctx, f, after, limit)
}

func (l *logFault) Trim(ctx context.Context, r engine.Retention) error {
	if l.trim != nil {
		return l.trim(ctx, r)
	}
	return l.Log.Trim(ctx, r)
}

func (l *logFault) Forget(ctx context.Context, name string) error {
	if l.forget != nil {
		return l.forget(ctx, name)
	}
	return l.Log.Forget(ctx, name)
}

func (l *logFault) BeginEpoch(ctx context.Context) (message.Epoch, error) {
	if l.beginEpoch != nil {
		return l.beginEpoch(ctx)
	}
	return l.Log.BeginEpoch(ctx)
}

func (l *logFault) Listen(fn func(engine.News)) func() {
	if l.listen != nil {
		return l.listen(fn)
	}
	return l.Log.Listen(fn)
}

func (l *logFault) Durability() engine.Durability {
	if l.durability != nil {
		return l.durability()
	}
	return l.Log.Durability()
}

func (l *logFault) SetDurability(ctx context.Context, d engine.Durability) error {
	if l.set != nil {
		return l.set(ctx, d)
	}
	return l.Log.SetDurability(ctx, d)
}

// readFault changes what Read returns.
func readFault(change func(q engine.Query, p *engine.Page)) func(l engine.Log, f *logFault) {
	return func(l engine.Log, f *logFault) {
		f.read = func(ctx context.Context, q engine.Query) (engine.Page, error) {
			p, err := l.Read(ctx, q)
			change(q, &p)
			return p, err
		}
	}
}

func TestFaultyLogsAreFound(t *testing.T) {
	for _, m := range logFaults() {
		t.Run(m.fault, func(t *testing.T) {
			h := faultyHarness(func(l engine.Log) engine.Log {
				f := &logFault{Log: l}
				m.make(l, f)
				return f
			}, nil)
			for _, name := range m.foundBy {
				problems := try(t, h, find(t, logCases(), name))
				if problems == nil {
					t.Errorf("%q does not find it", name)
				} else if testing.Verbose() {
					t.Logf("%s: %.200s", name, problems[0])
				}
			}
		})
	}
}
