package packet_test

import (
	"testing"

	"crier/internal/transport/engineio/packet"
)

func TestDoubled(t *testing.T) {
	for _, tt := range []struct {
		wire, plain string
		ok          bool
	}{
		{"hâ\u0082¬", "h€", true},
		{"Ã©", "é", true},
		{"ð\u009f\u0098\u0080", "😀", true},
		{"hello", "", false},
		{"é", "", false},    // as bytes it is no UTF-8
		{"€", "", false},    // beyond U+00FF
		{"Ã© €", "", false}, // in part
		{"Ã©é", "", false},  // likewise
		{"", "", false},
	} {
		got, ok := packet.Undouble([]byte(tt.wire))
		if ok != tt.ok || ok && string(got) != tt.plain {
			t.Errorf("%q became %q, %v", tt.wire, got, ok)
		}
		if tt.ok && string(packet.Double([]byte(tt.plain))) != tt.wire {
			t.Errorf("%q doubled is %q", tt.plain, packet.Double([]byte(tt.plain)))
		}
	}
	if !packet.ASCII([]byte("a\x7f")) || packet.ASCII([]byte("é")) {
		t.Error("ASCII")
	}
}
