package packet_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"crier/internal/transport/engineio/packet"
)

func text(s string) packet.Packet {
	return packet.Packet{Type: packet.Message, Data: []byte(s)}
}

func bin(b ...byte) packet.Packet {
	return packet.Packet{Type: packet.Message, Binary: true, Data: b}
}

func control(t packet.Type, s string) packet.Packet {
	return packet.Packet{Type: t, Data: []byte(s)}
}

// TestPayload has what the protocol's description, its test suites and the
// servers in use agree on, byte for byte.
func TestPayload(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version packet.Version
		b64     bool
		binary  bool
		wire    string
		packets []packet.Packet
	}{
		{"4: text", packet.V4, false, false, "4hello\x1e2\x1e4world", []packet.Packet{text("hello"), control(packet.Ping, ""), text("world")}},
		{"4: binary", packet.V4, false, false, "4hello\x1ebAQIDBA==", []packet.Packet{text("hello"), bin(1, 2, 3, 4)}},
		{"4: empty binary", packet.V4, false, false, "b", []packet.Packet{bin()}},
		{"4: unicode", packet.V4, false, false, "4€\x1e4😀", []packet.Packet{text("€"), text("😀")}},
		{"4: empty message", packet.V4, false, false, "4", []packet.Packet{text("")}},
		{"3: one", packet.V3, false, false, "6:4hello", []packet.Packet{text("hello")}},
		{"3: several", packet.V3, false, false, "6:4test16:4test26:4test3", []packet.Packet{text("test1"), text("test2"), text("test3")}},
		{"3: beyond ASCII", packet.V3, false, false, "2:4€", []packet.Packet{text("€")}},
		{"3: surrogates", packet.V3, false, false, "3:4😀6:4a😀é2", []packet.Packet{text("😀"), text("a😀é2")}},
		{"3: empty message", packet.V3, false, false, "1:4", []packet.Packet{text("")}},
		{"3: base64", packet.V3, true, false, "2:4€10:b4AQIDBA==", []packet.Packet{text("€"), bin(1, 2, 3, 4)}},
		{"3: binary", packet.V3, false, true, "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", []packet.Packet{text("hello"), bin(1, 2, 3, 4)}},
		{"3: binary, text in bytes", packet.V3, false, true, "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", []packet.Packet{text("€"), bin(1, 2, 3, 4)}},
		{"3: binary, two digits", packet.V3, false, true, "\x01\x01\x03\xff\x04" + strings.Repeat("\x07", 12), []packet.Packet{bin(bytes.Repeat([]byte{7}, 12)...)}},
		{"3: binary for a text client", packet.V3, false, false, "1:3", []packet.Packet{control(packet.Pong, "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire, binary := packet.AppendPayload([]byte("before"), tt.version, tt.b64, tt.packets)
			if string(wire) != "before"+tt.wire || binary != tt.binary {
				t.Errorf("written as %q, binary %v; want %q, %v", wire[6:], binary, tt.wire, tt.binary)
			}
			check(t, tt.version, tt.binary, tt.wire, tt.packets)
		})
	}
}

func check(t *testing.T, v packet.Version, binary bool, wire string, want []packet.Packet) {
	t.Helper()
	i := 0
	for p, err := range packet.Payload(v, binary, []byte(wire)) {
		if err != nil {
			t.Fatalf("packet %d of %q: %v", i, wire, err)
		}
		if i >= len(want) || !same(p, want[i]) {
			t.Fatalf("packet %d of %q is %+v, want %+v", i, wire, p, want)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%q has %d packets, want %d", wire, i, len(want))
	}
}

func same(a, b packet.Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
}

// TestPayloadTolerance has what servers in use take beside what they send.
func TestPayloadTolerance(t *testing.T) {
	check(t, packet.V4, false, "bAQ", []packet.Packet{bin(1)})
	check(t, packet.V3, false, "06:4hello", []packet.Packet{text("hello")})
	check(t, packet.V3, false, "0:6:4hello", []packet.Packet{text("hello")})
	check(t, packet.V3, false, "0:", nil)
	check(t, packet.V3, false, "6:4a\x1ebcd", []packet.Packet{text("a\x1ebcd")})
}

func TestPayloadErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version packet.Version
		binary  bool
		wire    string
		good    int // packets before the error
	}{
		{"4: empty", packet.V4, false, "", 0},
		{"4: no type", packet.V4, false, "abc", 0},
		{"4: type 7", packet.V4, false, "7", 0},
		{"4: separator first", packet.V4, false, "\x1e4a", 0},
		{"4: separator last", packet.V4, false, "4a\x1e", 1},
		{"4: separator doubled", packet.V4, false, "4a\x1e\x1e4b", 1},
		{"4: not base64", packet.V4, false, "b$", 0},
		{"4: not UTF-8", packet.V4, false, "4\xff", 0},
		{"3: empty", packet.V3, false, "", 0},
		{"3: no colon", packet.V3, false, "abc", 0},
		{"3: no length", packet.V3, false, ":4", 0},
		{"3: negative", packet.V3, false, "-1:4", 0},
		{"3: fraction", packet.V3, false, "1.5:4", 0},
		{"3: endless length", packet.V3, false, strings.Repeat("1", 100) + ":4", 0},
		{"3: too short", packet.V3, false, "3:4a", 0},
		{"3: bytes for units", packet.V3, false, "4:4€", 0},
		{"3: within a pair", packet.V3, false, "2:4😀", 0},
		{"3: type after a good one", packet.V3, false, "1:41:9", 1},
		{"3: base64 of no message", packet.V3, false, "4:b2AQ", 0},
		{"3: binary, empty", packet.V3, true, "", 0},
		{"3: binary, kind", packet.V3, true, "\x02\x01\xff4", 0},
		{"3: binary, no length", packet.V3, true, "\x00\xff4", 0},
		{"3: binary, endless length", packet.V3, true, "\x00" + strings.Repeat("\x01", 100), 0},
		{"3: binary, digit", packet.V3, true, "\x00\x0b\xff4", 0},
		{"3: binary, too short", packet.V3, true, "\x00\x02\xff4", 0},
		{"3: binary, no message", packet.V3, true, "\x01\x01\xff\x02", 0},
		{"3: binary, text not UTF-8", packet.V3, true, "\x00\x02\xff4\xff", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := 0
			var failed error
			for _, err := range packet.Payload(tt.version, tt.binary, []byte(tt.wire)) {
				if failed != nil {
					t.Fatal("it goes on after an error")
				}
				if failed = err; err == nil {
					good++
				}
			}
			if !errors.Is(failed, packet.ErrSyntax) || good != tt.good {
				t.Errorf("%d packets, then %v; want %d, then ErrSyntax", good, failed, tt.good)
			}
		})
	}
}

func TestFrames(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version packet.Version
		b64     bool
		wire    string
		binary  bool
		packet  packet.Packet
	}{
		{"4: text", packet.V4, false, "4hé", false, text("hé")},
		{"4: binary", packet.V4, false, "\x01\x02\x03", true, bin(1, 2, 3)},
		{"4: base64", packet.V4, true, "bAQID", false, bin(1, 2, 3)},
		{"4: ping", packet.V4, false, "2", false, control(packet.Ping, "")},
		{"4: text with a separator", packet.V4, false, "4a\x1eb", false, text("a\x1eb")},
		{"3: text", packet.V3, false, "4hé", false, text("hé")},
		{"3: binary", packet.V3, false, "\x04\x01\x02\x03", true, bin(1, 2, 3)},
		{"3: base64", packet.V3, true, "b4AQID", false, bin(1, 2, 3)},
		{"3: probe", packet.V3, false, "3probe", false, control(packet.Pong, "probe")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire, binary := packet.AppendFrame(nil, tt.version, tt.b64, tt.packet)
			if string(wire) != tt.wire || binary != tt.binary {
				t.Errorf("written as %q, binary %v", wire, binary)
			}
			p, err := packet.ParseFrame(tt.version, tt.binary, []byte(tt.wire))
			if err != nil || !same(p, tt.packet) {
				t.Errorf("read as %+v, %v", p, err)
			}
		})
	}
	for _, tt := range []struct {
		version packet.Version
		binary  bool
		wire    string
	}{{packet.V4, false, ""}, {packet.V4, false, "abc"}, {packet.V3, true, ""}, {packet.V3, true, "\x02"}, {packet.V3, false, "b"}, {packet.V3, false, "b4$"}} {
		if p, err := packet.ParseFrame(tt.version, tt.binary, []byte(tt.wire)); !errors.Is(err, packet.ErrSyntax) {
			t.Errorf("%d %q is read as %+v, %v", tt.version, tt.wire, p, err)
		}
	}
}

func TestFits(t *testing.T) {
	if packet.Fits(packet.V4, text("a\x1eb")) || !packet.Fits(packet.V4, bin(0x1e)) || !packet.Fits(packet.V3, text("a\x1eb")) {
		t.Error("only text with a separator does not fit, in protocol 4")
	}
}

// FuzzPayload writes again what it could read, and reads it the same.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{"4hello\x1ebAQIDBA==", "6:4hello10:b4AQIDBA==", "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", "3:4😀", "0:"} {
		for i := range 4 {
			f.Add(uint8(i), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, how uint8, body []byte) {
		v, binary := packet.V4, false
		if how&1 != 0 {
			v, binary = packet.V3, how&2 != 0
		}
		var packets []packet.Packet
		total := 0
		for p, err := range packet.Payload(v, binary, bytes.Clone(body)) {
			if err != nil {
				if !errors.Is(err, packet.ErrSyntax) {
					t.Fatal(err)
				}
				break
			}
			if p.Binary && p.Type != packet.Message || !packet.Fits(v, p) {
				t.Fatalf("%+v", p)
			}
			total += len(p.Data)
			packets = append(packets, p)
		}
		if total > len(body) {
			t.Fatalf("%d bytes became %d", len(body), total)
		}
		if len(packets) == 0 {
			return
		}
		for _, b64 := range []bool{false, true} {
			wire, isBinary := packet.AppendPayload(nil, v, b64, packets)
			check(t, v, isBinary, string(wire), packets)
		}
	})
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{"4hello", "bAQID", "b4AQID", "\x04\x01", "2probe"} {
		for i := range 4 {
			f.Add(uint8(i), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, how uint8, data []byte) {
		v := packet.V4
		if how&1 != 0 {
			v = packet.V3
		}
		p, err := packet.ParseFrame(v, how&2 != 0, data)
		if err != nil {
			return
		}
		for _, b64 := range []bool{false, true} {
			wire, binary := packet.AppendFrame(nil, v, b64, p)
			again, err := packet.ParseFrame(v, binary, wire)
			if err != nil || !same(p, again) {
				t.Fatalf("%+v became %+v, %v", p, again, err)
			}
		}
	})
}
