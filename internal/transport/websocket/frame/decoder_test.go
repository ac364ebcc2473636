package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"crier/internal/transport/websocket/frame"
)

const limit = 1 << 10

// client makes a frame as a client sends it. first is the byte with FIN, RSV
// and opcode; the length is written in the shortest form.
func client(first byte, payload string) string {
	var b []byte
	switch n := len(payload); {
	case n < 126:
		b = []byte{first, 0x80 | byte(n)}
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(n))
	default:
		b = binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(n))
	}
	return string(b) + mask(payload)
}

var key = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// mask gives the key and the payload masked with it.
func mask(payload string) string {
	b := append([]byte(nil), key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

const (
	fin  = 0x80
	text = 0x1
	bin  = 0x2
	cls  = 0x8
	ping = 0x9
	pong = 0xa
)

// run feeds a decoder in chunks and tells what came of it, a line each.
func run(d *frame.Decoder, chunks ...[]byte) []string {
	var got []string
	for _, chunk := range chunks {
		for p := bytes.Clone(chunk); len(p) > 0; {
			ev, n, err := d.Next(p)
			if fault, ok := errors.AsType[*frame.Error](err); ok {
				return append(got, fmt.Sprintf("fail %d", fault.Code))
			}
			switch ev.Op {
			case frame.Continuation:
			case frame.Close:
				got = append(got, fmt.Sprintf("8 %d %s", ev.Code, ev.Payload))
			default:
				got = append(got, fmt.Sprintf("%x %s", uint8(ev.Op), ev.Payload))
			}
			p = p[n:]
		}
	}
	return got
}

// one cuts b into single bytes.
func one(b []byte) [][]byte {
	var chunks [][]byte
	for i := range b {
		chunks = append(chunks, b[i:i+1])
	}
	return chunks
}

var decoderTests = []struct {
	name, in, want string
}{
	{"text", client(fin|text, "hello"), "1 hello"},
	{"binary", client(fin|bin, "\xff\x00"), "2 \xff\x00"},
	{"empty text", client(fin|text, ""), "1 "},
	{"two messages", client(fin|text, "a") + client(fin|bin, "b"), "1 a|2 b"},
	{"length in 16 bits", client(fin|text, strings.Repeat("x", 126)), "1 " + strings.Repeat("x", 126)},
	{"all that is taken", client(fin|bin, strings.Repeat("x", limit)), "2 " + strings.Repeat("x", limit)},

	{"fragments", client(text, "hel") + client(0, "l") + client(fin, "o"), "1 hello"},
	{"empty fragments", client(text, "") + client(0, "") + client(fin, ""), "1 "},
	{"empty around", client(bin, "") + client(0, "all") + client(fin, ""), "2 all"},
	{"fragments, then another message", client(bin, "a") + client(fin, "b") + client(fin|text, "c"), "2 ab|1 c"},
	{"control between fragments", client(text, "a") + client(fin|ping, "p") + client(0, "b") + client(fin|pong, "q") + client(fin, "c"), "9 p|a q|1 abc"},
	{"close between fragments", client(text, "a") + client(fin|cls, "\x03\xe8") + client(fin, "b"), "8 1000 "},
	{"many empty fragments", client(text, "") + strings.Repeat(client(0, ""), 63) + client(fin, "x"), "1 x"},
	{"too many empty fragments", client(text, "") + strings.Repeat(client(0, ""), 64), "fail 1008"},
	{"one byte each", client(bin, "x") + strings.Repeat(client(0, "x"), 200) + client(fin, ""), "2 " + strings.Repeat("x", 201)},
	{"continuation of nothing", client(fin, "a"), "fail 1002"},
	{"continuation of nothing, not the last", client(0, "a"), "fail 1002"},
	{"continuation after a whole message", client(fin|text, "a") + client(fin, "b"), "1 a|fail 1002"},
	{"message inside a message", client(text, "a") + client(fin|text, "b"), "fail 1002"},
	{"binary inside a text", client(text, "a") + client(bin, "b"), "fail 1002"},

	{"ping", client(fin|ping, ""), "9 "},
	{"longest ping", client(fin|ping, strings.Repeat("p", 125)), "9 " + strings.Repeat("p", 125)},
	{"longer ping", client(fin|ping, strings.Repeat("p", 126)), "fail 1002"},
	{"much longer ping", client(fin|ping, strings.Repeat("p", 1<<16)), "fail 1002"},
	{"pong nobody asked for", client(fin|pong, "\xff"), "a \xff"},
	{"fragmented ping", client(ping, "p"), "fail 1002"},
	{"fragmented close", client(cls, "\x03\xe8"), "fail 1002"},

	{"not masked", "\x81\x01a", "fail 1002"},
	{"not masked, empty", "\x81\x00", "fail 1002"},
	{"ping not masked", "\x89\x00", "fail 1002"},
	{"RSV1", client(fin|0x40|text, "a"), "fail 1002"},
	{"RSV2", client(fin|0x20|text, "a"), "fail 1002"},
	{"RSV3", client(fin|0x10|bin, "a"), "fail 1002"},
	{"RSV1 on a continuation", client(text, "a") + client(fin|0x40, "a"), "fail 1002"},
	{"RSV1 on a ping", client(fin|0x40|ping, "a"), "fail 1002"},
	{"opcode 3", client(fin|3, "a"), "fail 1002"},
	{"opcode 7", client(fin|7, "a"), "fail 1002"},
	{"opcode b", client(fin|0xb, "a"), "fail 1002"},
	{"opcode f", client(fin|0xf, "a"), "fail 1002"},
	{"16 bits for 125", "\x82\xfe\x00\x7d" + mask(strings.Repeat("x", 125)), "fail 1002"},
	{"16 bits for nothing", "\x82\xfe\x00\x00" + mask(""), "fail 1002"},
	{"64 bits for 65535", "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff" + mask(""), "fail 1002"},
	{"64 bits for 5", "\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05" + mask("hello"), "fail 1002"},
	{"64th bit", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" + mask(""), "fail 1002"},
	{"63 bits", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + mask(""), "fail 1009"},

	{"one byte too many", client(fin|bin, strings.Repeat("x", limit+1)), "fail 1009"},
	{"too much is said before it is sent", client(fin|bin, strings.Repeat("x", limit+1))[:8], "fail 1009"},
	{"too much in fragments", client(bin, strings.Repeat("x", limit)) + client(fin, "x"), "fail 1009"},
	{"all in fragments", client(bin, strings.Repeat("x", limit-1)) + client(fin, "x"), "2 " + strings.Repeat("x", limit)},

	{"UTF-8", client(fin|text, "κόσμε €😀"), "1 κόσμε €😀"},
	{"U+FFFD itself", client(fin|text, "\uFFFD"), "1 \uFFFD"},
	{"character across fragments", client(text, "\xf0\x9f") + client(0, "") + client(0, "\x98") + client(fin, "\x80"), "1 😀"},
	{"not UTF-8", client(fin|text, "a\xff"), "fail 1007"},
	{"overlong", client(fin|text, "\xc0\xaf"), "fail 1007"},
	{"surrogate", client(fin|text, "\xed\xa0\x80"), "fail 1007"},
	{"above U+10FFFF", client(fin|text, "\xf4\x90\x80\x80"), "fail 1007"},
	{"cut character", client(fin|text, "a\xe2\x82"), "fail 1007"},
	{"cut character in fragments", client(text, "a\xe2\x82") + client(fin, ""), "fail 1007"},
	{"not UTF-8, before the message ends", client(text, "a") + client(0, "\xff"), "fail 1007"},
	{"not UTF-8, before the frame ends", client(text, "\xf4\x90"+strings.Repeat("x", 50))[:8], "fail 1007"},
	{"surrogate, known by its second byte", client(text, "\xed") + client(0, "\xa0"), "fail 1007"},
	{"a ping between the halves of a character", client(text, "\xe2\x82") + client(fin|ping, "\xff") + client(fin, "\xac"), "9 \xff|1 €"},
	{"the next message begins afresh", client(text, "é") + client(fin, "é") + client(fin|text, "é"), "1 éé|1 é"},

	{"close", client(fin|cls, ""), "8 1005 "},
	{"close with a code", client(fin|cls, "\x03\xe8"), "8 1000 "},
	{"close with a reason", client(fin|cls, "\x0f\xa0bye €"), "8 4000 bye €"},
	{"longest close", client(fin|cls, "\x03\xe9"+strings.Repeat("r", 123)), "8 1001 " + strings.Repeat("r", 123)},
	{"nothing after a close", client(fin|cls, "\x03\xe8") + client(fin|text, "a") + "\xff\xff", "8 1000 "},
	{"close of one byte", client(fin|cls, "\x03"), "fail 1002"},
	{"close 0", client(fin|cls, "\x00\x00"), "fail 1002"},
	{"close 999", client(fin|cls, "\x03\xe7"), "fail 1002"},
	{"close 1004", client(fin|cls, "\x03\xec"), "fail 1002"},
	{"close 1005", client(fin|cls, "\x03\xed"), "fail 1002"},
	{"close 1006", client(fin|cls, "\x03\xee"), "fail 1002"},
	{"close 1012", client(fin|cls, "\x03\xf4"), "8 1012 "},
	{"close 1015", client(fin|cls, "\x03\xf7"), "fail 1002"},
	{"close 2999", client(fin|cls, "\x0b\xb7"), "fail 1002"},
	{"close 3000", client(fin|cls, "\x0b\xb8"), "8 3000 "},
	{"close 4999", client(fin|cls, "\x13\x87"), "8 4999 "},
	{"close 5000", client(fin|cls, "\x13\x88"), "fail 1002"},
	{"close reason not UTF-8", client(fin|cls, "\x03\xe8\xff"), "fail 1007"},
	{"close reason cut", client(fin|cls, "\x03\xe8\xe2\x82"), "fail 1007"},

	{"nothing", "", ""},
	{"half a header", client(fin|text, "hello")[:1], ""},
	{"half a mask", client(fin|text, "hello")[:4], ""},
	{"half a message", client(fin|text, "hello")[:8], ""},
}

// Whatever a message is cut into, the same comes of it.
func TestDecoder(t *testing.T) {
	for _, tt := range decoderTests {
		t.Run(tt.name, func(t *testing.T) {
			in := []byte(tt.in)
			check := func(how string, chunks ...[]byte) {
				t.Helper()
				d := frame.NewDecoder(limit)
				if got := strings.Join(run(&d, chunks...), "|"); got != tt.want {
					t.Errorf("%s: %.200q, want %.200q", how, got, tt.want)
				}
			}
			check("whole", in)
			check("byte by byte", one(in)...)
			for at := range min(len(in), 64) {
				check(fmt.Sprintf("cut at %d", at), in[:at], in[at:])
				check(fmt.Sprintf("cut at -%d", at), in[:len(in)-at], in[len(in)-at:])
			}
		})
	}
}

// Errors are told with the first byte that breaks a rule.
func TestDecoderFailsEarly(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		at       int // bytes after which it must have failed
	}{
		{"RSV", client(fin|0x40|text, "a"), 1},
		{"opcode", client(fin|3, "a"), 1},
		{"continuation of nothing", client(0, "a"), 1},
		{"fragmented ping", client(ping, "p"), 1},
		{"mask", "\x81\x05hello", 2},
		{"long ping", client(fin|ping, strings.Repeat("p", 126)), 2},
		{"size", client(fin|bin, strings.Repeat("x", limit+1)), 8},
		{"UTF-8", client(text, "ab\xffcd"), 9},
		{"UTF-8, second byte", client(text, "\xf4\x90"), 8},
		{"UTF-8 in the next fragment", client(text, "\xe2") + client(0, "xx"), 14},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := frame.NewDecoder(limit)
			chunks := one([]byte(tt.in))
			if got := run(&d, chunks[:tt.at-1]...); got != nil {
				t.Fatalf("after %d bytes: %q", tt.at-1, got)
			}
			if got := run(&d, chunks[tt.at-1]); len(got) != 1 || !strings.HasPrefix(got[0], "fail") {
				t.Fatalf("after %d bytes: %q", tt.at, got)
			}
			if got := run(&d, []byte(client(fin|text, "more"))); len(got) != 1 || !strings.HasPrefix(got[0], "fail") {
				t.Fatalf("afterwards: %q", got)
			}
		})
	}
}

// A frame's header is no reason to take memory: only bytes that came are.
func TestDecoderTakesMemoryAsBytesCome(t *testing.T) {
	const huge = 1 << 30
	header := binary.BigEndian.AppendUint64([]byte{fin | bin, 0xff}, huge)
	header = append(header, key[:]...)
	chunk := make([]byte, 100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		d := frame.NewDecoder(huge)
		for _, p := range [][]byte{header, chunk} {
			if _, n, err := d.Next(p); n != len(p) || err != nil {
				t.Fatal(n, err)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 100; got > 2048 {
		t.Errorf("%d bytes taken for a header and 100 bytes", got)
	}
}

func TestDecoderIdle(t *testing.T) {
	d := frame.NewDecoder(limit)
	step := func(in string, idle bool) {
		t.Helper()
		run(&d, []byte(in))
		if d.Idle() != idle {
			t.Errorf("after % x: Idle() = %v", in, !idle)
		}
	}
	step("", true)
	step(client(fin|text, "a"), true)
	step("\x81", false)
	step(client(fin|text, "a")[1:], true)
	step(client(text, "a"), false)
	step(client(fin|ping, ""), false)
	step(client(fin, "b"), true)
}

func BenchmarkDecoder(b *testing.B) {
	for _, n := range []int{20, 200, 4096, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := []byte(client(fin|text, strings.Repeat("x", n)))
			p := make([]byte, len(in))
			d := frame.NewDecoder(1 << 20)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				copy(p, in)
				if ev, _, err := d.Next(p); err != nil || ev.Op != frame.Text {
					b.Fatal(ev, err)
				}
			}
		})
	}
}
