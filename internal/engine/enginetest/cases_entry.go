package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"crier/internal/engine"
)

// registry opens an engine and returns its registry.
func (b *lab) registry() engine.Registry {
	b.Helper()
	return b.engine().Registry()
}

func (b *lab) put(r engine.Registry, kind, name, value string, expect engine.Version) engine.Version {
	b.Helper()
	v, err := r.Put(b.Context(), kind, name, []byte(value), expect, nil)
	if err != nil {
		b.Fatalf("put %s %s: %v", kind, name, err)
	}
	return v
}

func (b *lab) wantEntry(r engine.Registry, kind, name, value string, v engine.Version) {
	b.Helper()
	e, err := r.Get(b.Context(), kind, name)
	if err != nil {
		b.Errorf("get %s %s: %v", kind, name, err)
		return
	}
	if e.Kind != kind || e.Name != name || string(e.Value) != value || e.Version != v {
		b.Errorf("get %s %s: %+v, want %q at version %d", kind, name, e, value, v)
	}
}

func (b *lab) wantError(what string, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (b *lab) list(r engine.Registry, kind, after string, limit int) []string {
	b.Helper()
	entries, err := r.List(b.Context(), kind, after, limit)
	if err != nil {
		b.Fatalf("list %s after %q: %v", kind, after, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		if e.Kind != kind || e.Version == 0 {
			b.Errorf("list %s has the entry %+v", kind, e)
		}
		names[i] = e.Name
	}
	return names
}

func entryCases() []testCase {
	return []testCase{
		{name: "get and put", run: getAndPut,
			rule: "Get gives what Put wrote, at the version that Put returned; what is not there is ErrNotFound; kinds are apart"},
		{name: "compare and set", run: compareAndSet,
			rule: "Put and Delete change an entry only at the expected version: 0 is none, AnyVersion whatever; else ErrConflict and nothing changes"},
		{name: "versions", run: versions,
			rule: "versions grow, and none comes twice, also when an entry was deleted and made again: a late writer is refused"},
		{name: "delete", run: deleteEntry,
			rule: "a deleted entry is gone; deleting what is not there is ErrNotFound"},
		{name: "list", run: listEntries,
			rule: "List gives a kind's entries in byte order of their names, after the given name, at most limit (1,000 if it is 0)"},
		{name: "values are copies", run: valuesAreCopies,
			rule: "what a caller does to the bytes that it gave or got changes nothing"},
		{name: "entry limits", run: entryLimits,
			rule: "kinds and names of 1 to MaxEntryName bytes, values of up to MaxEntryValue; beyond them an error, and nothing changes"},
		{name: "two writers", run: twoWriters,
			rule: "of several that write one entry at one version exactly one wins"},
		{name: "two writers at several openers", run: twoWritersSeveral, need: needSeveral,
			rule: "of several openers that write one entry at one version exactly one wins"},
		{name: "random entries", run: randomEntries,
			rule: "whatever is done, the registry answers as a map does"},
	}
}

func getAndPut(b *lab) {
	r := b.registry()
	_, err := r.Get(b.Context(), "key", "a")
	b.wantError("get of what is not there", err, engine.ErrNotFound)
	v1 := b.put(r, "key", "a", "1", 0)
	b.wantEntry(r, "key", "a", "1", v1)
	v2 := b.put(r, "key", "a", "2", v1)
	if v2 <= v1 || v1 == 0 {
		b.Errorf("versions %d, then %d", v1, v2)
	}
	b.wantEntry(r, "key", "a", "2", v2)
	v3 := b.put(r, "app", "a", "", 0)
	b.wantEntry(r, "app", "a", "", v3)
	b.wantEntry(r, "key", "a", "2", v2)
	for _, name := range []string{"a/b", "A", " ", "ü", "\x00", "\xff\xfe"} {
		v := b.put(r, "key", name, "of "+name, 0)
		b.wantEntry(r, "key", name, "of "+name, v)
	}
}

func compareAndSet(b *lab) {
	r := b.registry()
	put := func(expect engine.Version) error {
		_, err := r.Put(b.Context(), "key", "a", []byte("new"), expect, nil)
		return err
	}
	b.wantError("put at version 7 of what is not there", put(7), engine.ErrConflict)
	v := b.put(r, "key", "a", "1", 0)
	b.wantError("put of what must not exist", put(0), engine.ErrConflict)
	b.wantError("put at a later version", put(v+1), engine.ErrConflict)
	b.wantError("delete at a later version", r.Delete(b.Context(), "key", "a", v+1, nil), engine.ErrConflict)
	b.wantEntry(r, "key", "a", "1", v)
	v2 := b.put(r, "key", "a", "2", engine.AnyVersion)
	b.wantError("put at the version before", put(v), engine.ErrConflict)
	b.wantError("delete at the version before", r.Delete(b.Context(), "key", "a", v, nil), engine.ErrConflict)
	b.wantEntry(r, "key", "a", "2", v2)
	b.put(r, "key", "b", "1", engine.AnyVersion)
	if err := r.Delete(b.Context(), "key", "a", v2, nil); err != nil {
		b.Errorf("delete at its version: %v", err)
	}
	if err := r.Delete(b.Context(), "key", "b", engine.AnyVersion, nil); err != nil {
		b.Errorf("delete at any version: %v", err)
	}
}

func versions(b *lab) {
	r := b.registry()
	seen := map[engine.Version]bool{}
	for range 5 {
		v1 := b.put(r, "key", "a", "1", 0)
		v2 := b.put(r, "key", "a", "2", v1)
		if seen[v1] || seen[v2] || v2 <= v1 || v2 == engine.AnyVersion {
			b.Fatalf("versions %d and %d, after %v", v1, v2, seen)
		}
		for old := range seen {
			_, err := r.Put(b.Context(), "key", "a", []byte("late"), old, nil)
			b.wantError("a writer of an entry that was deleted and made again", err, engine.ErrConflict)
		}
		seen[v1], seen[v2] = true, true
		if err := r.Delete(b.Context(), "key", "a", v2, nil); err != nil {
			b.Fatalf("delete: %v", err)
		}
	}
}

func deleteEntry(b *lab) {
	r := b.registry()
	del := func(name string, expect engine.Version) error {
		return r.Delete(b.Context(), "key", name, expect, nil)
	}
	for _, expect := range []engine.Version{engine.AnyVersion, 0, 3} {
		b.wantError("delete of what is not there", del("a", expect), engine.ErrNotFound)
	}
	b.put(r, "key", "a", "1", 0)
	b.put(r, "key", "b", "1", 0)
	if err := del("a", engine.AnyVersion); err != nil {
		b.Errorf("delete: %v", err)
	}
	_, err := r.Get(b.Context(), "key", "a")
	b.wantError("get of what was deleted", err, engine.ErrNotFound)
	b.wantError("second delete", del("a", engine.AnyVersion), engine.ErrNotFound)
	if got := b.list(r, "key", "", 0); fmt.Sprint(got) != "[b]" {
		b.Errorf("list %v, want b alone", got)
	}
}

func listEntries(b *lab) {
	r := b.registry()
	if got := b.list(r, "key", "", 0); len(got) != 0 {
		b.Errorf("list of nothing: %v", got)
	}
	names := []string{"a", "a ", "a/b", "aa", "b", "B", "ü", "\xff", "z"}
	for _, name := range names {
		b.put(r, "key", name, "of "+name, 0)
		b.put(r, "other", name+"x", "", 0)
	}
	slices.Sort(names)
	for after := -1; after < len(names); after++ {
		from := ""
		if after >= 0 {
			from = names[after]
		}
		for _, limit := range []int{0, 1, 3, 100} {
			want := names[after+1:]
			if limit > 0 {
				want = want[:min(limit, len(want))]
			}
			if got := b.list(r, "key", from, limit); !slices.Equal(got, want) {
				b.Errorf("list after %q, limit %d: %q, want %q", from, limit, got, want)
			}
		}
	}
	if got := b.list(r, "key", "az", 1); fmt.Sprint(got) != "[b]" {
		b.Errorf("list after a name that is not there: %q", got)
	}
	entries, err := r.List(b.Context(), "key", "", 3)
	if err != nil || len(entries) != 3 {
		b.Fatalf("list: %v, %v", entries, err)
	}
	for _, e := range entries {
		b.wantEntry(r, "key", e.Name, string(e.Value), e.Version)
	}
}

func valuesAreCopies(b *lab) {
	r := b.registry()
	value := []byte("value")
	v, err := r.Put(b.Context(), "key", "a", value, 0, nil)
	if err != nil {
		b.Fatalf("put: %v", err)
	}
	value[0] = 'X'
	b.wantEntry(r, "key", "a", "value", v)
	e, err := r.Get(b.Context(), "key", "a")
	if err != nil {
		b.Fatalf("get: %v", err)
	}
	e.Value[0] = 'Y'
	entries, err := r.List(b.Context(), "key", "", 0)
	if err != nil || len(entries) != 1 {
		b.Fatalf("list: %v, %v", entries, err)
	}
	if string(entries[0].Value) != "value" {
		b.Errorf("list gives %q", entries[0].Value)
	}
	entries[0].Value[0] = 'Z'
	b.wantEntry(r, "key", "a", "value", v)
	for i := range 50 { // what was got stays when the registry's storage moves
		b.put(r, "key", fmt.Sprintf("n%d", i), strings.Repeat("x", 2000), 0)
	}
	if err := r.Delete(b.Context(), "key", "a", v, nil); err != nil {
		b.Fatalf("delete: %v", err)
	}
	if string(e.Value) != "Yalue" {
		b.Errorf("a value that was got changed to %q", e.Value)
	}
}

func entryLimits(b *lab) {
	r := b.registry()
	long := strings.Repeat("n", engine.MaxEntryName)
	big := string(bytes.Repeat([]byte("v"), engine.MaxEntryValue))
	v := b.put(r, long, long, big, 0)
	b.wantEntry(r, long, long, big, v)
	for _, bad := range []struct{ kind, name, value string }{
		{"", "a", ""}, {"key", "", ""}, {long + "x", "a", ""}, {"key", long + "x", ""}, {"key", "a", big + "x"},
	} {
		if _, err := r.Put(b.Context(), bad.kind, bad.name, []byte(bad.value), engine.AnyVersion, nil); err == nil {
			b.Errorf("an entry with kind, name and value of %d, %d and %d bytes was taken", len(bad.kind), len(bad.name), len(bad.value))
		}
	}
	if got := b.list(r, "key", "", 0); len(got) != 0 {
		b.Errorf("refused entries are there: %d", len(got))
	}
}

func twoWriters(b *lab) { writeAtOneVersion(b, b.registry()) }

func twoWritersSeveral(b *lab) { writeAtOneVersion(b, b.registry(), b.registry(), b.registry()) }

// writeAtOneVersion has several write an entry at the version that it has, in
// turns.
func writeAtOneVersion(b *lab, rs ...engine.Registry) {
	const writers, turns = 6, 10
	v := b.put(rs[0], "key", "a", "", 0)
	for turn := range turns {
		var mu sync.Mutex
		var won []engine.Entry
		together(writers, func(w int) {
			value := fmt.Sprintf("%d of writer %d", turn, w)
			after, err := rs[w%len(rs)].Put(b.Context(), "key", "a", []byte(value), v, nil)
			switch {
			case err == nil:
				mu.Lock()
				won = append(won, engine.Entry{Value: []byte(value), Version: after})
				mu.Unlock()
			case !errors.Is(err, engine.ErrConflict):
				b.Errorf("put: %v", err)
			}
		})
		if len(won) != 1 || won[0].Version <= v {
			b.Fatalf("%d writers won at version %d: %+v", len(won), v, won)
		}
		v = won[0].Version
		for _, r := range rs {
			b.wantEntry(r, "key", "a", string(won[0].Value), v)
		}
	}
}

func randomEntries(b *lab) {
	rnd := rand.New(rand.NewPCG(8, 9))
	r := b.registry()
	model := map[string]engine.Entry{}
	for step := range 400 {
		name := fmt.Sprintf("n%d", rnd.IntN(12))
		have, there := model[name]
		expect := []engine.Version{have.Version, have.Version, 0, engine.AnyVersion, have.Version + 1}[rnd.IntN(5)]
		var want error
		if expect != engine.AnyVersion && expect != have.Version {
			want = engine.ErrConflict
		}
		switch rnd.IntN(4) {
		case 0:
			if !there {
				want = engine.ErrNotFound
			}
			err := r.Delete(b.Context(), "key", name, expect, nil)
			if !errors.Is(err, want) {
				b.Fatalf("step %d: delete %s: %v, want %v", step, name, err, want)
			}
			if err == nil {
				delete(model, name)
			}
		default:
			value := fmt.Sprint(rnd.Uint64())
			v, err := r.Put(b.Context(), "key", name, []byte(value), expect, nil)
			if !errors.Is(err, want) {
				b.Fatalf("step %d: put %s: %v, want %v", step, name, err, want)
			}
			if err == nil {
				model[name] = engine.Entry{Kind: "key", Name: name, Value: []byte(value), Version: v}
			}
		}
	}
	compareEntries(b.Context(), b, r, model)
}

// compareEntries compares all entries of the kind "key".
func compareEntries(ctx context.Context, b *lab, r engine.Registry, want map[string]engine.Entry) {
	b.Helper()
	entries, err := r.List(ctx, "key", "", 0)
	if err != nil {
		b.Fatalf("list: %v", err)
	}
	if len(entries) != len(want) {
		b.Errorf("%d entries, want %d", len(entries), len(want))
	}
	for _, e := range entries {
		if w := want[e.Name]; string(e.Value) != string(w.Value) || e.Version != w.Version {
			b.Errorf("entry %s: %q at %d, want %q at %d", e.Name, e.Value, e.Version, w.Value, w.Version)
		}
	}
}
