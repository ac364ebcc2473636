package enginetest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

type logFaultCase struct {
	fault   string
	foundBy []string
	make    func(l engine.Log, f *logFault)
}

func logFaults() []logFaultCase {
	return slices.Concat(appendFaults(), readFaults(), changeFaults(), ringFaults())
}

func appendFaults() []logFaultCase {
	return []logFaultCase{
		{"blocks are taken apart", []string{"concurrent appenders"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				var first engine.Receipt
				for i, d := range b.Drafts {
					r, err := l.Append(ctx, engine.Block{Drafts: []message.Draft{d}})
					if err != nil {
						return r, err
					}
					if i == 0 {
						first = r
					}
					runtime.Gosched()
				}
				first.N = len(b.Drafts)
				return first, nil
			}
		}},
		{"receipts name the next message", []string{"order", "acknowledged is visible"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				r, err := l.Append(ctx, b)
				r.First.Seq++
				return r, err
			}
		}},
		{"sequence numbers with holes", []string{"order", "random operations"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				r, err := l.Append(ctx, b)
				if err == nil && r.First.Seq%3 == 1 {
					_, err = l.Append(ctx, engine.Block{Drafts: drafts("hole", 1)})
				}
				return r, err
			}
		}},
		{"keys are ignored", []string{"repeat", "repeat of a batch", "repeats in one burst", "keys outlive messages"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				return l.Append(ctx, engine.Block{Drafts: b.Drafts})
			}
		}},
		{"another body under a key passes for a repeat", []string{"repeat", "random operations"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				if !b.Key.IsZero() {
					b.Key.Body = [16]byte{}
				}
				return l.Append(ctx, b)
			}
		}},
		{"keys are looked up, but not in the commit", []string{"repeats in one burst"}, func(l engine.Log, f *logFault) {
			var known sync.Map
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				if r, ok := known.Load(b.Key); ok {
					r := r.(engine.Receipt)
					r.Repeated = true
					return r, nil
				}
				runtime.Gosched()
				r, err := l.Append(ctx, engine.Block{Drafts: b.Drafts})
				if !b.Key.IsZero() {
					known.Store(b.Key, r)
				}
				return r, err
			}
		}},
		{"receipts claim too much", []string{"durability claims"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				r, err := l.Append(ctx, b)
				r.Durability = engine.Fsync
				return r, err
			}
		}},
		{"the log claims too much", []string{"durability claims"}, func(_ engine.Log, f *logFault) {
			f.durability = func() engine.Durability { return engine.Fsync }
		}},
		{"any durability is taken", []string{"unsupported durability"}, func(_ engine.Log, f *logFault) {
			f.set = func(context.Context, engine.Durability) error { return nil }
		}},
		{"the head lags", []string{"acknowledged is visible", "heads never go back"}, func(l engine.Log, f *logFault) {
			f.state = func(ctx context.Context) (engine.State, error) {
				s, err := l.State(ctx)
				s.Head -= min(s.Head, 1)
				return s, err
			}
		}},
		{"blocks have no limit", []string{"block limits"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				b.Drafts = b.Drafts[:min(len(b.Drafts), engine.MaxBlock)]
				return l.Append(ctx, b)
			}
		}},
		{"times to live are ignored", []string{"time to live", "time to live and retention", "random operations"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				for i := range b.Drafts {
					b.Drafts[i].TTL = 0
				}
				return l.Append(ctx, b)
			}
		}},
	}
}

func readFaults() []logFaultCase {
	return []logFaultCase{
		{"wildcards select all", []string{"filters equal the model", "random operations"}, func(l engine.Log, f *logFault) {
			f.read = func(ctx context.Context, q engine.Query) (engine.Page, error) {
				if _, exact := q.Filter.Topics(); !exact {
					q.Filter = filter("**")
				}
				return l.Read(ctx, q)
			}
		}},
		{"the last message of a full page is lost", []string{"limit", "filters equal the model"}, readFault(func(q engine.Query, p *engine.Page) {
			if q.Limit > 0 && len(p.Messages) == q.Limit {
				p.Messages = p.Messages[:q.Limit-1]
			}
		})},
		{"next leads too far", []string{"up to", "limit"}, readFault(func(_ engine.Query, p *engine.Page) { p.Next++ })},
		{"next is the page's last message", []string{"next skips what does not match"}, readFault(func(q engine.Query, p *engine.Page) {
			p.Next = q.After
			if n := len(p.Messages); n > 0 {
				p.Next = p.Messages[n-1].ID.Seq
			}
		})},
		{"up to is ignored", []string{"up to", "filters equal the model"}, func(l engine.Log, f *logFault) {
			f.read = func(ctx context.Context, q engine.Query) (engine.Page, error) { q.UpTo = 0; return l.Read(ctx, q) }
		}},
		{"limits are ignored", []string{"limit", "filters equal the model"}, func(l engine.Log, f *logFault) {
			f.read = func(ctx context.Context, q engine.Query) (engine.Page, error) { q.Limit = 1e6; return l.Read(ctx, q) }
		}},
		{"sizes are ignored", []string{"max bytes"}, func(l engine.Log, f *logFault) {
			f.read = func(ctx context.Context, q engine.Query) (engine.Page, error) {
				q.MaxBytes = 1 << 30
				return l.Read(ctx, q)
			}
		}},
		{"order is lost", []string{"order", "filters equal the model"}, readFault(func(_ engine.Query, p *engine.Page) { slices.Reverse(p.Messages) })},
		{"pages share their bytes", []string{"pages own their bytes"}, func(l engine.Log, f *logFault) {
			var mu sync.Mutex
			var pages []engine.Page
			f.read = func(ctx context.Context, q engine.Query) (engine.Page, error) {
				p, err := l.Read(ctx, q)
				mu.Lock()
				defer mu.Unlock()
				pages = append(pages, p)
				return p, err
			}
			f.trim = func(ctx context.Context, r engine.Retention) error {
				mu.Lock()
				defer mu.Unlock()
				for _, p := range pages {
					for _, m := range p.Messages {
						clear(m.Data)
					}
				}
				return l.Trim(ctx, r)
			}
		}},
		{"fields are lost", []string{"fields", "rings"}, readFault(func(_ engine.Query, p *engine.Page) {
			for i := range p.Messages {
				p.Messages[i].ContentType = ""
			}
		})},
		{"no gap is told", []string{"marks of trimmed topics", "trim while reading", "forget", "trim everything"}, readFault(func(_ engine.Query, p *engine.Page) { p.Lost, p.Reason = 0, "" })},
		{"the domain's mark decides for all topics", []string{"marks of trimmed topics", "random operations"}, func(l engine.Log, f *logFault) {
			f.read = func(ctx context.Context, q engine.Query) (engine.Page, error) {
				p, err := l.Read(ctx, q)
				s, _ := l.State(ctx)
				if s.Trimmed > p.Lost {
					p.Lost, p.Reason = s.Trimmed, message.Retention
				}
				return p, err
			}
		}},
		{"every gap is retention", []string{"forget", "forget then trim"}, readFault(func(_ engine.Query, p *engine.Page) {
			if p.Reason != "" {
				p.Reason = message.Retention
			}
		})},
		{"last counts one too many", []string{"last", "last does not count what is gone"}, func(l engine.Log, f *logFault) {
			f.last = func(ctx context.Context, flt topic.Filter, n int) (uint64, uint64, error) {
				return l.Last(ctx, flt, n+1)
			}
		}},
		{"complete is always true", []string{"marks of trimmed topics", "trim by bytes"}, func(_ engine.Log, f *logFault) {
			f.complete = func(context.Context, topic.Filter) (uint64, error) { return 0, nil }
		}},
		{"topics have no limit", []string{"topics"}, func(l engine.Log, f *logFault) {
			f.topics = func(ctx context.Context, flt topic.Filter, after string, _ int) ([]engine.TopicInfo, error) {
				return l.Topics(ctx, flt, after, 1000)
			}
		}},
		{"topics begin with the given one", []string{"topics"}, func(l engine.Log, f *logFault) {
			f.topics = func(ctx context.Context, flt topic.Filter, after string, n int) ([]engine.TopicInfo, error) {
				return l.Topics(ctx, flt, after[:max(len(after), 1)-1], n)
			}
		}},
	}
}

func changeFaults() []logFaultCase {
	return []logFaultCase{
		{"trim does nothing", []string{"trim by age", "trim by bytes", "trim by several"}, func(_ engine.Log, f *logFault) {
			f.trim = func(context.Context, engine.Retention) error { return nil }
		}},
		{"trim takes one too many", []string{"trim by bytes", "trim by age", "trim nothing"}, func(l engine.Log, f *logFault) {
			f.trim = func(ctx context.Context, r engine.Retention) error {
				if !r.Before.IsZero() {
					r.Before = r.Before.Add(time.Microsecond)
				}
				r.Bytes -= min(r.Bytes, 1)
				return l.Trim(ctx, r)
			}
		}},
		{"forget does nothing", []string{"forget", "forget while appending"}, func(_ engine.Log, f *logFault) {
			f.forget = func(context.Context, string) error { return nil }
		}},
		{"forget takes everything", []string{"forget", "forget while appending"}, func(l engine.Log, f *logFault) {
			f.forget = func(ctx context.Context, _ string) error { return l.Trim(ctx, engine.Retention{Bytes: 1}) }
		}},
		{"epochs do not begin", []string{"begin epoch", "cursors and epochs"}, func(l engine.Log, f *logFault) {
			f.beginEpoch = func(ctx context.Context) (message.Epoch, error) {
				s, err := l.State(ctx)
				return s.Epochs[len(s.Epochs)-1].Epoch, err
			}
		}},
		{"the table forgets epochs", []string{"begin epoch"}, func(l engine.Log, f *logFault) {
			f.state = func(ctx context.Context) (engine.State, error) {
				s, err := l.State(ctx)
				s.Epochs = s.Epochs[max(len(s.Epochs), 1)-1:]
				return s, err
			}
		}},
	}
}

func ringFaults() []logFaultCase {
	return []logFaultCase{
		{"nobody rings", []string{"rings", "several listeners", "rings tell changes"}, func(_ engine.Log, f *logFault) {
			f.listen = func(func(engine.News)) func() { return func() {} }
		}},
		{"changes do not ring", []string{"rings tell changes"}, func(l engine.Log, f *logFault) {
			f.listen = func(fn func(engine.News)) func() {
				return l.Listen(func(n engine.News) { n.Changed = false; fn(n) })
			}
		}},
		{"stop does not stop", []string{"stop"}, func(l engine.Log, f *logFault) {
			f.listen = func(fn func(engine.News)) func() { l.Listen(fn); return func() {} }
		}},
		{"rings promise too much", []string{"rings"}, func(l engine.Log, f *logFault) {
			f.listen = func(fn func(engine.News)) func() {
				return l.Listen(func(n engine.News) { n.Head++; n.Messages = nil; fn(n) })
			}
		}},
		{"rings carry other messages", []string{"rings"}, func(l engine.Log, f *logFault) {
			f.listen = func(fn func(engine.News)) func() {
				return l.Listen(func(n engine.News) {
					if len(n.Messages) > 1 {
						n.Messages = n.Messages[:len(n.Messages)-1]
					}
					fn(n)
				})
			}
		}},
		{"errors after Close are others", []string{"closed"}, func(l engine.Log, f *logFault) {
			f.append = func(ctx context.Context, b engine.Block) (engine.Receipt, error) {
				r, err := l.Append(ctx, b)
				if errors.Is(err, engine.ErrClosed) {
					err = engine.ErrUnavailable
				}
				return r, err
			}
		}},
	}
}
