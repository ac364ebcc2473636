package record_test

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crier/internal/engine"
	"crier/internal/engine/embedded/record"
	"crier/internal/message"
)

func drafts(t *rapid.T) message.Draft {
	d := message.Draft{
		Topic:       rapid.StringN(1, 20, 60).Draw(t, "topic"),
		Data:        rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
		ContentType: rapid.OneOf(rapid.SampledFrom([]string{"", message.DefaultContentType, "image/png", "text/x"}), rapid.String()).Draw(t, "content type"),
		Binary:      rapid.Bool().Draw(t, "binary"),
		Type:        rapid.SampledFrom([]string{"", "tick"}).Draw(t, "type"),
		App:         rapid.SampledFrom([]string{"", "shop"}).Draw(t, "app"),
		TTL:         time.Duration(rapid.SampledFrom([]int64{0, 1, 3600, 1 << 31}).Draw(t, "ttl")) * time.Second,
	}
	return d
}

// TestMessage: what Append writes, Parse reads.
func TestMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drafts(t)
		b := record.Block{Time: rapid.Int64().Draw(t, "time"), Fsync: rapid.Bool().Draw(t, "fsync"), N: rapid.IntRange(1, engine.MaxBlock).Draw(t, "n")}
		if rapid.Bool().Draw(t, "key") {
			b.Key.Hash[0], b.Key.Body[15] = 1, 2
		}
		i := rapid.IntRange(0, 2).Draw(t, "i")
		p := record.Append(nil, &b, i, &d)
		if len(p) > record.MaxSize(&d) {
			t.Fatalf("%d bytes, MaxSize says %d", len(p), record.MaxSize(&d))
		}
		var m record.Message
		if err := record.Parse(p, &m); err != nil {
			t.Fatal(err)
		}
		if i > 0 || b.Key.IsZero() {
			b.Key, b.N = engine.Key{}, 0
		}
		if m.Block != b {
			t.Fatalf("block %+v, want %+v", m.Block, b)
		}
		got := message.Draft{
			Topic: string(m.Topic), Data: m.Data, Binary: m.Binary, Type: string(m.Type), App: string(m.App),
			TTL: time.Duration(m.TTL) * time.Microsecond, ContentType: string(m.ContentType),
		}
		if m.Code != 0 {
			got.ContentType = record.KnownContentType(m.Code)
		}
		if !bytes.Equal(got.Data, d.Data) {
			t.Fatalf("data %q, want %q", got.Data, d.Data)
		}
		got.Data, d.Data = nil, nil
		if !reflect.DeepEqual(got, d) {
			t.Fatalf("draft %+v, want %+v", got, d)
		}
	})
}

// TestFormat pins the bytes of version 1: what one version wrote, later ones
// must read.
func TestFormat(t *testing.T) {
	b := record.Block{Time: 0x0102030405060708, Fsync: true, N: 300, Key: engine.Key{Hash: [16]byte{1}, Body: [16]byte{2}}}
	d := message.Draft{Topic: "a/b", Data: []byte("hi"), ContentType: "text/x", Type: "t", App: "app", Binary: true, TTL: time.Second}
	want := "\x13\xe1\x08\x07\x06\x05\x04\x03\x02\x01" +
		"\x01" + strings.Repeat("\x00", 15) + "\x02" + strings.Repeat("\x00", 15) + "\xac\x02" +
		"\x03a/b\x06text/x\x01t\x03app\xc0\x84\x3dhi"
	if got := string(record.Append(nil, &b, 0, &d)); got != want {
		t.Errorf("with everything: %q, want %q", got, want)
	}
	b = record.Block{Time: 1}
	d = message.Draft{Topic: "a", ContentType: message.DefaultContentType}
	if got := string(record.Append(nil, &b, 0, &d)); got != "\x10\x02\x01\x00\x00\x00\x00\x00\x00\x00\x01a" {
		t.Errorf("with little: %q", got)
	}
}

func FuzzParse(f *testing.F) {
	b := record.Block{Time: 1, Key: engine.Key{Hash: [16]byte{1}}, N: 2}
	d := message.Draft{Topic: "a/b", Data: []byte("hi"), ContentType: "text/x", Type: "t", App: "app", TTL: time.Second}
	f.Add(record.Append(nil, &b, 0, &d))
	f.Add(record.Append(nil, &b, 1, &d))
	f.Fuzz(func(t *testing.T, p []byte) {
		var m record.Message
		if err := record.Parse(p, &m); err != nil {
			if !errors.Is(err, record.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(m.Topic)+len(m.Data)+len(m.ContentType) > len(p) {
			t.Fatal("more came out than went in")
		}
	})
}

func epoch(n uint32) message.Epoch { return message.Epoch{Began: n, Rand: uint16(n)} }

// TestControl applies changes and looks at what is known.
func TestControl(t *testing.T) {
	all := map[string]*record.Control{}
	apply := func(changes func(dst []byte) []byte) {
		t.Helper()
		if err := record.ApplyControl(all, changes(record.BeginChange(nil, "x"))); err != nil {
			t.Fatal(err)
		}
	}
	apply(func(dst []byte) []byte {
		dst = record.AppendEpoch(dst, record.EpochStart{Epoch: epoch(1), First: 1})
		dst = record.AppendForget(dst, "a/b", 7)
		dst = record.AppendForgotten(dst, 3, 70)
		return record.AppendForgotten(dst, 4, 71)
	})
	apply(func(dst []byte) []byte {
		return record.AppendEpoch(dst, record.EpochStart{Epoch: epoch(2), First: 1<<40 + 1})
	})
	want := record.Control{
		Epochs:    []record.EpochStart{{Epoch: epoch(1), First: 1}, {Epoch: epoch(2), First: 1<<40 + 1}},
		Forgets:   map[string]uint64{"a/b": 7},
		Forgotten: map[uint64]int64{3: 70, 4: 71},
	}
	if !reflect.DeepEqual(*all["x"], want) {
		t.Errorf("%+v, want %+v", *all["x"], want)
	}
	ranges := all["x"].Ranges(1<<40 + 5)
	if !slices.Equal(ranges, []engine.EpochRange{{Epoch: epoch(1), First: 1, Last: 1 << 40}, {Epoch: epoch(2), First: 1<<40 + 1, Last: 1<<40 + 5}}) {
		t.Errorf("ranges %v", ranges)
	}
	apply(func(dst []byte) []byte {
		dst = record.AppendForgotten(record.AppendTrim(dst, 9, 90), 4, 1)
		return record.AppendUnforget(dst, "a/b")
	})
	want.Trimmed, want.TrimmedBytes, want.Forgotten, want.Forgets = 9, 90, map[uint64]int64{4: 1}, map[string]uint64{}
	if !reflect.DeepEqual(*all["x"], want) {
		t.Errorf("after a trim: %+v, want %+v", *all["x"], want)
	}

	again := map[string]*record.Control{"x": {Trimmed: 1000}}
	if err := record.ApplyControl(again, all["x"].AppendWhole(nil, "x")); err != nil {
		t.Fatal(err)
	}
	want.Forgets = nil
	if !reflect.DeepEqual(*again["x"], want) {
		t.Errorf("written as a whole: %+v, want %+v", *again["x"], want)
	}

	if err := record.ApplyControl(all, record.AppendDropped(nil, "x")); err != nil || !all["x"].Dropped || all["x"].Trimmed != 0 {
		t.Errorf("dropped: %+v, %v", all["x"], err)
	}
	if err := record.ApplyControl(all, record.AppendGone(nil, "x")); err != nil || len(all) != 0 {
		t.Errorf("gone: %v, %v", slices.Collect(maps.Keys(all)), err)
	}
}

// TestEpochTable forgets the oldest epochs, and leaves copies alone.
func TestEpochTable(t *testing.T) {
	var c record.Control
	for i := range uint32(engine.MaxEpochs) {
		c.BeginEpoch(record.EpochStart{Epoch: epoch(i + 1), First: uint64(i + 1)})
	}
	before := c.Epochs
	c.BeginEpoch(record.EpochStart{Epoch: epoch(5000), First: 5000})
	if len(c.Epochs) != engine.MaxEpochs || c.Epochs[0].Epoch != epoch(2) || c.Current().Epoch != epoch(5000) {
		t.Errorf("%d epochs from %v to %v", len(c.Epochs), c.Epochs[0], c.Current())
	}
	if len(before) != engine.MaxEpochs || before[0].Epoch != epoch(1) {
		t.Error("a copy changed")
	}
}

func FuzzControl(f *testing.F) {
	c := record.Control{
		Epochs: []record.EpochStart{{Epoch: epoch(1), First: 1}}, Trimmed: 5, TrimmedBytes: 50,
		Forgets: map[string]uint64{"a": 1}, Forgotten: map[uint64]int64{1: 2},
	}
	f.Add(c.AppendWhole(nil, "x"))
	f.Add(record.AppendUnforget(record.BeginChange(nil, "y"), "a"))
	f.Fuzz(func(t *testing.T, p []byte) {
		all := map[string]*record.Control{}
		if err := record.ApplyControl(all, p); err != nil && !errors.Is(err, record.ErrMalformed) {
			t.Fatal(err)
		}
		for name, c := range all {
			again := map[string]*record.Control{}
			if err := record.ApplyControl(again, c.AppendWhole(nil, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestEntry: what is put into an entry of the journal comes out.
func TestEntry(t *testing.T) {
	p := record.BeginEntry(nil, "d-x@1", epoch(9), 77, 3)
	p = record.AppendRecord(p, []byte("one"), true)
	p = record.AppendRecord(p, nil, false)
	p = record.AppendRecord(p, bytes.Repeat([]byte("z"), 1000), false)
	n, err := record.ParseEntry(p)
	if err != nil || n.Log != "d-x@1" || n.Epoch != epoch(9) || n.First != 77 || n.Last() != 79 {
		t.Fatalf("%+v, %v", n, err)
	}
	for i, want := range []struct {
		len    int
		joined bool
	}{{3, true}, {0, false}, {1000, false}} {
		payload, joined, ok := n.Next()
		if !ok || len(payload) != want.len || joined != want.joined {
			t.Errorf("record %d: %d bytes, %v, %v", i, len(payload), joined, ok)
		}
	}
	if _, _, ok := n.Next(); ok {
		t.Error("a record behind the last")
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(record.AppendRecord(record.BeginEntry(nil, "d-x@1", epoch(9), 77, 1), []byte("one"), true))
	f.Fuzz(func(t *testing.T, p []byte) {
		n, err := record.ParseEntry(p)
		if err != nil {
			return
		}
		for range n.Count {
			if payload, _, ok := n.Next(); !ok || len(payload) > len(p) {
				return
			}
		}
	})
}
