package engine_test

import (
	"strings"
	"testing"

	"crier/internal/engine"
	"crier/internal/message"
)

func TestParseDurability(t *testing.T) {
	for _, d := range []engine.Durability{engine.Fsync, engine.Async, engine.Memory} {
		if got, err := engine.ParseDurability(string(d)); err != nil || got != d {
			t.Errorf("%s is read as %q, %v", d, got, err)
		}
	}
	for _, bad := range []string{"", "FSYNC", "fsync ", "disk", strings.Repeat("x", 1000)} {
		_, err := engine.ParseDurability(bad)
		if err == nil {
			t.Errorf("%.20q is taken", bad)
			continue
		}
		if s := err.Error(); !strings.Contains(s, "fsync, async or memory") || len(s) > 200 {
			t.Errorf("the error for %.20q is %q", bad, s)
		}
	}
}

func TestReceiptNamesEveryMessageOfItsBlock(t *testing.T) {
	r := engine.Receipt{First: message.ID{Epoch: message.Epoch{Began: 7, Rand: 1}, Seq: 41}, N: 3}
	for i, want := range []string{"000000070001000000000029", "00000007000100000000002a", "00000007000100000000002b"} {
		if got := r.ID(i).String(); got != want {
			t.Errorf("id %d is %s, want %s", i, got, want)
		}
	}
}

func TestOnlyTheZeroKeyIsNone(t *testing.T) {
	if !(engine.Key{}).IsZero() {
		t.Error("the zero key is one")
	}
	for _, k := range []engine.Key{{Hash: [16]byte{15: 1}}, {Body: [16]byte{15: 1}}} {
		if k.IsZero() {
			t.Errorf("%v is no key", k)
		}
	}
}
