package enginetest

import (
	"context"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// view is a shared log as one opener has it.
type view struct {
	opener *opener
	log    engine.Log
}

// asked calls ask unless the opener is closed.
func asked[T any](o *opener, ask func() (T, error)) (T, error) {
	if o.closed.Load() {
		var none T
		return none, engine.ErrClosed
	}
	return ask()
}

// told is asked for calls without an answer.
func told(o *opener, tell func() error) error {
	_, err := asked(o, func() (struct{}, error) { return struct{}{}, tell() })
	return err
}

func (v *view) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	return asked(v.opener, func() (engine.Receipt, error) { return v.log.Append(ctx, b) })
}

func (v *view) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	return asked(v.opener, func() (engine.Page, error) { return v.log.Read(ctx, q) })
}

func (v *view) Last(ctx context.Context, f topic.Filter, n int) (after, head uint64, err error) {
	if v.opener.closed.Load() {
		return 0, 0, engine.ErrClosed
	}
	return v.log.Last(ctx, f, n)
}

func (v *view) Complete(ctx context.Context, f topic.Filter) (uint64, error) {
	return asked(v.opener, func() (uint64, error) { return v.log.Complete(ctx, f) })
}

func (v *view) State(ctx context.Context) (engine.State, error) {
	return asked(v.opener, func() (engine.State, error) { return v.log.State(ctx) })
}

func (v *view) Topics(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error) {
	return asked(v.opener, func() ([]engine.TopicInfo, error) { return v.log.Topics(ctx, f, after, limit) })
}

func (v *view) Trim(ctx context.Context, r engine.Retention) error {
	return told(v.opener, func() error { return v.log.Trim(ctx, r) })
}

func (v *view) Forget(ctx context.Context, name string) error {
	return told(v.opener, func() error { return v.log.Forget(ctx, name) })
}

func (v *view) BeginEpoch(ctx context.Context) (message.Epoch, error) {
	return asked(v.opener, func() (message.Epoch, error) { return v.log.BeginEpoch(ctx) })
}

func (v *view) Listen(fn func(engine.News)) (stop func()) {
	return v.opener.watched(func() func() { return v.log.Listen(fn) })
}

func (v *view) Durability() engine.Durability { return v.log.Durability() }

func (v *view) SetDurability(ctx context.Context, d engine.Durability) error {
	return told(v.opener, func() error { return v.log.SetDurability(ctx, d) })
}

// registryView is a shared registry as one opener has it.
type registryView struct{ opener *opener }

func (v registryView) shared() engine.Registry { return v.opener.shared.Registry() }

func (v registryView) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	return asked(v.opener, func() (engine.Entry, error) { return v.shared().Get(ctx, kind, name) })
}

func (v registryView) List(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
	return asked(v.opener, func() ([]engine.Entry, error) { return v.shared().List(ctx, kind, after, limit) })
}

func (v registryView) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	return asked(v.opener, func() (engine.Version, error) { return v.shared().Put(ctx, kind, name, value, expect, fence) })
}

func (v registryView) Delete(ctx context.Context, kind, name string, expect engine.Version, fence *engine.Lease) error {
	return told(v.opener, func() error { return v.shared().Delete(ctx, kind, name, expect, fence) })
}

func (v registryView) Watch(kind string, fn func()) (stop func()) {
	return v.opener.watched(func() func() { return v.shared().Watch(kind, fn) })
}

func (v registryView) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error) {
	return asked(v.opener, func() (engine.Lease, error) { return v.shared().Acquire(ctx, name, holder, ttl) })
}

func (v registryView) Renew(ctx context.Context, l engine.Lease, ttl time.Duration) (engine.Lease, error) {
	return asked(v.opener, func() (engine.Lease, error) { return v.shared().Renew(ctx, l, ttl) })
}

func (v registryView) Release(ctx context.Context, l engine.Lease) error {
	return told(v.opener, func() error { return v.shared().Release(ctx, l) })
}
