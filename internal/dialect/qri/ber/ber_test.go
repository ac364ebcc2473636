package ber_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	asn1ber "github.com/go-asn1-ber/asn1-ber"

	"crier/internal/dialect/qri/ber"
)

var limits = ber.Limits{Name: 300, Data: 5000, Frame: 20_000}

// unhex reads hex with blanks.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decode gives what a stream says, in pieces of a size: messages as
// "peer/checksum/data", and what is left.
func decode(stream []byte, piece int, l ber.Limits) (got []string, begun bool, err error) {
	d := ber.NewDecoder(l)
	for len(stream) > 0 {
		p := stream[:min(piece, len(stream))]
		stream = stream[len(p):]
		for len(p) > 0 {
			m, n, ok, err := d.Next(p)
			if err != nil {
				return got, d.Begun(), err
			}
			if ok {
				got = append(got, fmt.Sprintf("%s/%s/%s", m.Peer, m.Checksum, m.Data))
			}
			p = p[n:]
		}
	}
	return got, d.Begun(), nil
}

// TestForms has every form of X.690 that a message can have.
func TestForms(t *testing.T) {
	const hi = "123/s/hi"
	for _, tt := range []struct {
		name, stream string
		want         []string
		begun        bool
	}{
		{name: "nothing", stream: ""},
		{name: "short lengths", stream: "30 0C 04 03 313233 04 01 73 04 02 6869", want: []string{hi}},
		{name: "two in a row", stream: "30 0C 04 03 313233 04 01 73 04 02 6869 30 0C 04 03 313233 04 01 73 04 02 6869", want: []string{hi, hi}},
		{name: "an unfinished one", stream: "30 0C 04 03 313233 04 01 73 04 02 6869 30 0C 04", want: []string{hi}, begun: true},
		{name: "long lengths", stream: "30 81 10 04 82 0003 313233 04 81 01 73 04 81 02 6869", want: []string{hi}},
		{name: "leading zeros", stream: "30 88 0000000000000010 04 84 00000003 313233 04 01 73 04 02 6869", want: []string{hi}},
		{name: "all the zeros that there can be", stream: "30 FE" + strings.Repeat("00", 125) + "0C 04 03 313233 04 01 73 04 02 6869", want: []string{hi}},
		{name: "an indefinite sequence", stream: "30 80 04 03 313233 04 01 73 04 02 6869 00 00", want: []string{hi}},
		{name: "pieces", stream: "30 10 24 07 04 01 31 04 02 3233 04 01 73 04 02 6869", want: []string{hi}},
		{name: "indefinite pieces", stream: "30 80 24 80 04 01 31 04 02 3233 00 00 04 01 73 24 80 04 02 6869 00 00 00 00", want: []string{hi}},
		{name: "indefinite pieces in a definite sequence", stream: "30 16 24 80 04 01 31 04 02 3233 00 00 04 01 73 24 80 04 02 6869 00 00", want: []string{hi}},
		{name: "pieces of pieces", stream: "30 12 24 09 24 03 04 01 31 04 02 3233 04 01 73 04 02 6869", want: []string{hi}},
		{name: "no pieces", stream: "30 80 24 80 00 00 24 00 04 00 00 00", want: []string{"//"}},
		{name: "empty pieces", stream: "30 80 24 04 04 00 04 00 04 01 73 04 00 00 00", want: []string{"/s/"}},
		{name: "zeros as content", stream: "30 0A 04 02 0000 04 01 00 04 01 00", want: []string{"\x00\x00/\x00/\x00"}},
		{name: "a long message", stream: "30 82 0115 04 03 313233 04 01 73 04 82 0109" + strings.Repeat("61", 265), want: []string{"123/s/" + strings.Repeat("a", 265)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream := unhex(t, tt.stream)
			for piece := 1; piece <= len(stream)+1; piece++ {
				got, begun, err := decode(stream, piece, limits)
				if err != nil || begun != tt.begun || fmt.Sprint(got) != fmt.Sprint(tt.want) {
					t.Fatalf("in pieces of %d: %q, begun %v, %v; want %q", piece, got, begun, err, tt.want)
				}
			}
		})
	}
}

func TestFaults(t *testing.T) {
	const good = "30 0C 04 03 313233 04 01 73 04 02 6869 "
	deep := strings.Repeat("24 80 ", ber.MaxDepth)
	for _, tt := range []struct {
		name, stream string
		offset       int64
		reason       string
		tooBig       bool
	}{
		{"another tag", "31", 0, "begins with 30 (SEQUENCE), not 31", false},
		{"after a good one", good + "00 00", 14, "not 00", false},
		{"a member of another kind", "30 0C 02 03", 2, "tag 02 where an OCTET STRING", false},
		{"a tag of a high number", "30 0C 1F 04", 2, "tag 1F", false},
		{"a piece of another kind", "30 80 24 80 0C 01", 4, "tag 0C", false},
		{"a fourth member", "30 0E 04 03 313233 04 01 73 04 02 6869 04 00", 14, "has more", false},
		{"no members", "30 00", 2, "without its peer", false},
		{"no message", "30 08 04 03 313233 04 01 73", 10, "without its message", false},
		{"no checksum, indefinite", "30 80 04 03 313233 00 00", 9, "without its checksum", false},
		{"an end in a definite one", "30 0C 00 00", 2, "tag 00", false},
		{"half an end", "30 80 04 01 31 04 01 32 04 01 33 00 01", 12, "not 00 01", false},
		{"an indefinite primitive", "30 80 04 80", 3, "primitive", false},
		{"reserved length", "30 FF", 1, "reserved", false},
		{"a member over the end", "30 03 04 02 31", 4, "by 1 bytes", false},
		{"a length over the end", "30 02 04 81 01", 4, "runs over", false},
		{"pieces over the end", "30 06 24 03 04 02 31", 6, "by 1 bytes", false},
		{"an indefinite piece over the end", "30 05 24 80 04 01 31 00", 7, "runs over", false},
		{"a frame too big by its length", "30 82 4E1D", 4, "over the limit of 20000", true},
		{"a length beyond all bounds", "30 88 FFFFFFFFFFFFFFFF", 5, "2^31", true},
		{"a peer too long", "30 80 04 82 012D", 6, "the peer is over the limit of 300", true},
		{"a peer too long in pieces", "30 80 24 80 04 81 C8" + strings.Repeat("61", 200) + "04 65", 209, "the peer is over", true},
		{"a message too long", "30 80 04 00 04 00 04 82 1389", 10, "the message is over the limit of 5000", true},
		{"a frame too big by its pieces", "30 80 24 80" + strings.Repeat("04 00", 10_000), 20_000, "the frame is over", true},
		{"too deep", "30 80" + deep + "24 80", 2 + 2*ber.MaxDepth + 2, "deep", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream := unhex(t, tt.stream)
			for _, piece := range []int{1, 2, 3, 7, len(stream)} {
				_, _, err := decode(stream, piece, limits)
				fault, ok := errors.AsType[*ber.Error](err)
				if !ok || fault.Offset != tt.offset || !strings.Contains(fault.Reason, tt.reason) || fault.TooBig != tt.tooBig {
					t.Fatalf("in pieces of %d: %v (too big %v), want %d: %s", piece, err, ok && fault.TooBig, tt.offset, tt.reason)
				}
			}
		})
	}
	// What is deepest is still good.
	ends := strings.Repeat("00 00 ", ber.MaxDepth)
	if got, _, err := decode(unhex(t, "30 80"+deep+ends+"04 00 04 00 00 00"), 1, limits); err != nil || len(got) != 1 {
		t.Errorf("%d deep: %q, %v", ber.MaxDepth, got, err)
	}
}

// TestErrorsStay: a decoder that failed takes nothing more.
func TestErrorsStay(t *testing.T) {
	d := ber.NewDecoder(limits)
	_, _, _, first := d.Next([]byte{0x31})
	_, n, ok, again := d.Next(unhex(t, "30 0C 04 03 313233 04 01 73 04 02 6869"))
	if first == nil || again != first || ok || n != 0 {
		t.Errorf("%v, then %v, %d bytes taken, message %v", first, again, n, ok)
	}
}

// encode writes a message in forms drawn at random.
func encode(r *rand.Rand, peer, checksum, data []byte) []byte {
	var body []byte
	for _, field := range [][]byte{peer, checksum, data} {
		body = append(body, octets(r, field, 3)...)
	}
	return wrap(r, 0x30, body)
}

func octets(r *rand.Rand, b []byte, deep int) []byte {
	if deep == 0 || r.IntN(2) == 0 {
		return append(append([]byte{0x04}, length(r, len(b))...), b...)
	}
	var pieces []byte
	for len(b) > 0 || r.IntN(3) == 0 {
		n := r.IntN(len(b) + 1)
		pieces = append(pieces, octets(r, b[:n], deep-1)...)
		b = b[n:]
	}
	return wrap(r, 0x24, pieces)
}

func wrap(r *rand.Rand, tag byte, body []byte) []byte {
	if r.IntN(2) == 0 {
		return append(append([]byte{tag, 0x80}, body...), 0, 0)
	}
	return append(append([]byte{tag}, length(r, len(body))...), body...)
}

func length(r *rand.Rand, n int) []byte {
	if n < 0x80 && r.IntN(2) == 0 {
		return []byte{byte(n)}
	}
	zeros := r.IntN(4)
	b := []byte{0}
	for range zeros {
		b = append(b, 0)
	}
	b = append(b, byte(n>>16), byte(n>>8), byte(n))
	b[0] = 0x80 | byte(len(b)-1)
	return b
}

// TestRandomForms decodes what was encoded in whatever forms.
func TestRandomForms(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	text := func(most int) []byte {
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for range 300 {
		var stream []byte
		var want []string
		for range 1 + r.IntN(5) {
			peer, checksum, data := text(20), text(20), text(300)
			stream = append(stream, encode(r, peer, checksum, data)...)
			want = append(want, fmt.Sprintf("%s/%s/%s", peer, checksum, data))
		}
		got, begun, err := decode(stream, 1+r.IntN(len(stream)), limits)
		if err != nil || begun || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("seed %d: % x: %q, begun %v, %v; want %q", seed, stream, got, begun, err, want)
		}
	}
}

// FuzzDecoder: the outcome does not depend on the pieces, and what is taken
// for a message says the same to another decoder.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"300C0403313233040173040268693000", "3080240004000400 0000", "30802480040131040232330000040173248004026869 00000000",
		"308800000000000000100484000000033132330401730402686930", "31", "30FF", "3080248004C8",
	} {
		f.Add(unhex(f, s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		whole, begun, err := decode(stream, max(1, len(stream)), limits)
		some, alsoBegun, other := decode(stream, 1+int(piece), limits)
		if fmt.Sprintf("%q %v %v", whole, begun, err) != fmt.Sprintf("%q %v %v", some, alsoBegun, other) {
			t.Fatalf("whole: %q %v %v, in pieces: %q %v %v", whole, begun, err, some, alsoBegun, other)
		}
		r := bytes.NewReader(stream)
		for _, want := range whole {
			packet, err := asn1ber.ReadPacket(r)
			if err != nil {
				t.Skip("not for the other decoder:", err)
			}
			if len(packet.Children) < 3 {
				t.Fatalf("%d members: %q", len(packet.Children), want)
			}
			got := fmt.Sprintf("%s/%s/%s", flat(packet.Children[0]), flat(packet.Children[1]), flat(packet.Children[2]))
			if got != want {
				t.Fatalf("%q, the other decoder says %q", want, got)
			}
		}
	})
}

func flat(p *asn1ber.Packet) []byte {
	if p.TagType == asn1ber.TypePrimitive {
		return p.ByteValue
	}
	var b []byte
	for _, c := range p.Children {
		b = append(b, flat(c)...)
	}
	return b
}

func BenchmarkDecoder(b *testing.B) {
	frame := append([]byte{0x30, 0x81, 0x8c, 0x04, 0x03, '1', '2', '3', 0x04, 0x04, 'a', 'b', 'c', 'd', 0x04, 0x81, 0x7e}, bytes.Repeat([]byte{'x'}, 126)...)
	stream := bytes.Repeat(frame, 400)
	b.SetBytes(int64(len(stream)))
	d := ber.NewDecoder(limits)
	for b.Loop() {
		for p := stream; len(p) > 0; {
			_, n, ok, err := d.Next(p)
			if err != nil || !ok {
				b.Fatal(err)
			}
			p = p[n:]
		}
	}
}
