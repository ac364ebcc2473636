package notice_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/dialect/qri/notice"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
)

// house is an engine with a domain, and a registry that can be made to fail
// or to be changed by another node in between.
type house struct {
	t      *testing.T
	hub    *hub.Hub
	domain *hub.Domain
	engine.Registry
	afterPut atomic.Pointer[func()]
}

func (h *house) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	v, err := h.Registry.Put(ctx, kind, name, value, expect, fence)
	if fn := h.afterPut.Swap(nil); fn != nil {
		(*fn)()
	}
	return v, err
}

func newHouse(t *testing.T) *house {
	t.Helper()
	e := memory.New(memory.Config{})
	hb, err := hub.New(context.Background(), hub.Config{Engine: e, Defaults: hub.Settings{Durability: engine.Memory}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hb.Close()
		_ = e.Close()
	})
	d, err := hb.Domain(hub.Main)
	if err != nil {
		t.Fatal(err)
	}
	return &house{t: t, hub: hb, domain: d, Registry: e.Registry()}
}

func (h *house) open() *notice.Board {
	h.t.Helper()
	b, err := notice.Open(context.Background(), notice.Config{Registry: h, Domain: h.domain})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(b.Close)
	return b
}

// told gives the messages of changes, "topic data".
func (h *house) told() string {
	h.t.Helper()
	page, err := h.domain.Log().Read(context.Background(), engine.Query{Filter: topic.NewFilter(topic.All())})
	if err != nil {
		h.t.Fatal(err)
	}
	var all []string
	for _, m := range page.Messages {
		if m.ContentType != message.DefaultContentType || m.Binary {
			h.t.Errorf("%+v is no text", m)
		}
		all = append(all, fmt.Sprintf("%s %s", m.Topic, m.Data))
	}
	return strings.Join(all, "; ")
}

func texts(b *notice.Board) string {
	var all []string
	for _, n := range b.Current() {
		all = append(all, n.Text())
	}
	return strings.Join(all, "; ")
}

func TestChanges(t *testing.T) {
	h := newHouse(t)
	b := h.open()
	ctx := t.Context()
	if _, err := b.Get(ctx, "102"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("get of one that is not set: %v", err)
	}
	for _, set := range [][2]string{{"102", "We restart at noon"}, {"10é", "é"}, {"102", "We restart at one"}, {"a/b", ""}} {
		if n, err := b.Set(ctx, set[0], set[1]); err != nil || n.Text() != set[0]+set[1] || n.Set.IsZero() {
			t.Fatalf("set %q: %+v, %v", set, n, err)
		}
	}
	if n, err := b.Get(ctx, "102"); err != nil || n.Message != "We restart at one" {
		t.Errorf("get: %+v, %v", n, err)
	}
	if got, want := texts(b), "102We restart at one; 10éé; a/b"; got != want {
		t.Errorf("current: %s, want %s", got, want)
	}
	for _, typ := range []string{"102", "102"} { // twice is told twice
		if err := b.Delete(ctx, typ); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := texts(b), "10éé; a/b"; got != want {
		t.Errorf("current: %s, want %s", got, want)
	}
	want := "qri-notice/102 102We restart at noon; qri-notice/10~C3~A9 10éé; qri-notice/102 102We restart at one; qri-notice/a~2Fb a/b; " +
		"qri-notice/102 102delete; qri-notice/102 102delete"
	if got := h.told(); got != want {
		t.Errorf("told: %s\nwant: %s", got, want)
	}
	// They outlive the board.
	if got := texts(h.open()); got != "10éé; a/b" {
		t.Errorf("after a restart: %s", got)
	}
}

func TestRefused(t *testing.T) {
	b := newHouse(t).open()
	for _, tt := range []struct{ typ, text, part string }{
		{"", "x", "3 characters"},
		{"10", "x", "3 characters"},
		{"1022", "x", "3 characters"},
		{"éé", "x", "3 characters"},
		{"10\n", "x", "3 characters"},
		{"10\xff", "x", "3 characters"},
		{"102", "\xff", "not UTF-8"},
		{"102", strings.Repeat("x", notice.MaxMessage+1), "limit is 16384"},
	} {
		if _, err := b.Set(t.Context(), tt.typ, tt.text); !errors.Is(err, notice.ErrInvalid) || !strings.Contains(err.Error(), tt.part) {
			t.Errorf("set %q: %v, want %s", tt.typ, err, tt.part)
		}
	}
	if err := b.Delete(t.Context(), "10"); !errors.Is(err, notice.ErrInvalid) {
		t.Errorf("delete: %v", err)
	}
	if _, err := b.Get(t.Context(), "10"); !errors.Is(err, notice.ErrInvalid) {
		t.Errorf("get: %v", err)
	}
	// Many, and much.
	long := strings.Repeat("x", notice.MaxMessage)
	for i := range 15 {
		if _, err := b.Set(t.Context(), fmt.Sprintf("m%02d", i), long); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Set(t.Context(), "m99", long); !errors.Is(err, notice.ErrFull) {
		t.Errorf("too much: %v", err)
	}
	if _, err := b.Set(t.Context(), "m00", "short"); err != nil {
		t.Errorf("a shorter text for one that is set: %v", err)
	}
	for i := range notice.MaxNotices - 15 {
		if _, err := b.Set(t.Context(), fmt.Sprintf("n%02d", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Set(t.Context(), "xxx", ""); !errors.Is(err, notice.ErrFull) {
		t.Errorf("too many: %v", err)
	}
}

// TestTwoNodes: what one node sets the other tells, and whoever's message
// comes last, it says what the registry says.
func TestTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		one, two := h.open(), h.open()
		if _, err := one.Set(t.Context(), "102", "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := texts(two); got != "102a" {
			t.Errorf("the other node knows %q", got)
		}
		// The other's change comes between this one's entry and its message.
		other := func() {
			if err := two.Delete(t.Context(), "102"); err != nil {
				t.Error(err)
			}
		}
		h.afterPut.Store(&other)
		if _, err := one.Set(t.Context(), "102", "b"); err != nil {
			t.Fatal(err)
		}
		if got := h.told(); !strings.HasSuffix(got, "102delete; qri-notice/102 102b; qri-notice/102 102delete") {
			t.Errorf("told: %s", got)
		}
		time.Sleep(10 * time.Second)
		if texts(one) != "" || texts(two) != "" {
			t.Errorf("%q and %q are set", texts(one), texts(two))
		}
	})
}
