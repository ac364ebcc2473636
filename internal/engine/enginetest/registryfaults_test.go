package enginetest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"crier/internal/engine"
)

// registryFault is a registry of which one method is replaced.
type registryFault struct {
	engine.Registry
	list    func(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error)
	put     func(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error)
	watch   func(kind string, fn func()) func()
	acquire func(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error)
	renew   func(ctx context.Context, l engine.Lease, ttl time.Duration) (engine.Lease, error)
	release func(ctx context.Context, l engine.Lease) error
}

func (r *registryFault) List(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
	if r.list != nil {
		return r.list(ctx, kind, after, limit)
	}
	return r.Registry.List(ctx, kind, after, limit)
}

func (r *registryFault) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	if r.put != nil {
		return r.put(ctx, kind, name, value, expect, fence)
	}
	return r.Registry.Put(ctx, kind, name, value, expect, fence)
}

func (r *registryFault) Watch(kind string, fn func()) func() {
	if r.watch != nil {
		return r.watch(kind, fn)
	}
	return r.Registry.Watch(kind, fn)
}

func (r *registryFault) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error) {
	if r.acquire != nil {
		return r.acquire(ctx, name, holder, ttl)
	}
	return r.Registry.Acquire(ctx, name, holder, ttl)
}

func (r *registryFault) Renew(ctx context.Context, l engine.Lease, ttl time.Duration) (engine.Lease, error) {
	if r.renew != nil {
		return r.renew(ctx, l, ttl)
	}
	return r.Registry.Renew(ctx, l, ttl)
}

func (r *registryFault) Release(ctx context.Context, l engine.Lease) error {
	if r.release != nil {
		return r.release(ctx, l)
	}
	return r.Registry.Release(ctx, l)
}

func TestFaultyRegistriesAreFound(t *testing.T) {
	for _, m := range []struct {
		fault   string
		foundBy []string
		make    func(r engine.Registry, f *registryFault)
	}{
		{"versions are not compared", []string{"compare and set", "versions", "two writers", "random entries"}, func(r engine.Registry, f *registryFault) {
			f.put = func(ctx context.Context, kind, name string, value []byte, _ engine.Version, fence *engine.Lease) (engine.Version, error) {
				return r.Put(ctx, kind, name, value, engine.AnyVersion, fence)
			}
		}},
		{"versions are compared before the commit", []string{"two writers"}, func(r engine.Registry, f *registryFault) {
			f.put = func(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
				if e, err := r.Get(ctx, kind, name); err == nil && expect != engine.AnyVersion && e.Version != expect {
					return 0, engine.ErrConflict
				}
				runtime.Gosched()
				return r.Put(ctx, kind, name, value, engine.AnyVersion, fence)
			}
		}},
		{"fences are not looked at", []string{"fenced writes", "late writes"}, func(r engine.Registry, f *registryFault) {
			f.put = func(ctx context.Context, kind, name string, value []byte, expect engine.Version, _ *engine.Lease) (engine.Version, error) {
				return r.Put(ctx, kind, name, value, expect, nil)
			}
		}},
		{"lists include the given name", []string{"list"}, func(r engine.Registry, f *registryFault) {
			f.list = func(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
				return r.List(ctx, kind, after[:max(len(after), 1)-1], limit)
			}
		}},
		{"nobody is told", []string{"watch", "registry closed"}, func(_ engine.Registry, f *registryFault) {
			f.watch = func(string, func()) func() { return func() {} }
		}},
		{"watchers do not stop", []string{"watch stops"}, func(r engine.Registry, f *registryFault) {
			f.watch = func(kind string, fn func()) func() { r.Watch(kind, fn); return func() {} }
		}},
		{"everybody is the holder", []string{"acquire", "lease expires", "one holder of many", "many leases"}, func(r engine.Registry, f *registryFault) {
			f.acquire = func(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error) {
				l, err := r.Acquire(ctx, name, "everybody", max(ttl, 1))
				l.Holder = holder
				return l, err
			}
		}},
		{"tokens begin again", []string{"acquire", "lease expires", "one holder of many"}, func(r engine.Registry, f *registryFault) {
			f.acquire = func(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error) {
				l, err := r.Acquire(ctx, name, holder, ttl)
				l.Token = 1
				return l, err
			}
		}},
		{"renewals never fail", []string{"acquire", "lease expires"}, func(r engine.Registry, f *registryFault) {
			f.renew = func(ctx context.Context, l engine.Lease, ttl time.Duration) (engine.Lease, error) {
				if got, err := r.Renew(ctx, l, ttl); err == nil {
					return got, nil
				}
				return l, nil
			}
		}},
		{"a late release takes the next one's lease", []string{"acquire"}, func(r engine.Registry, f *registryFault) {
			f.release = func(ctx context.Context, l engine.Lease) error {
				if held, err := r.Acquire(ctx, l.Name, "you", time.Second); err == nil {
					return r.Release(ctx, held)
				}
				return r.Release(ctx, l)
			}
		}},
	} {
		t.Run(m.fault, func(t *testing.T) {
			h := faultyHarness(nil, func(r engine.Registry) engine.Registry {
				f := &registryFault{Registry: r}
				m.make(r, f)
				return f
			})
			for _, name := range m.foundBy {
				problems := try(t, h, find(t, registryCases(), name))
				if problems == nil {
					t.Errorf("%q does not find it", name)
				} else if testing.Verbose() {
					t.Logf("%s: %.200s", name, problems[0])
				}
			}
		})
	}
}
