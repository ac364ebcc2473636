package message_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"crier/internal/message"
)

var genID = rapid.Custom(func(t *rapid.T) message.ID {
	return message.ID{
		Epoch: message.Epoch{
			Began: rapid.Uint32().Draw(t, "began"),
			Rand:  rapid.Uint16().Draw(t, "rand"),
		},
		Seq: rapid.Uint64Range(0, message.MaxSeq).Draw(t, "seq"),
	}
})

func TestIDText(t *testing.T) {
	id := message.ID{Epoch: message.Epoch{Began: 0x01020304, Rand: 0xa0b0}, Seq: 0x0000_1112_1314_15ff}
	const text = "01020304a0b01112131415ff"
	if got := id.String(); got != text {
		t.Errorf("String() = %s, want %s", got, text)
	}
	if got := id.Epoch.String(); got != text[:12] {
		t.Errorf("Epoch.String() = %s, want %s", got, text[:12])
	}
	if got := string(id.Append([]byte("id: "))); got != "id: "+text {
		t.Errorf("Append gives %q", got)
	}
	for _, s := range []string{text, strings.ToUpper(text)} {
		if got, err := message.ParseID(s); err != nil || got != id {
			t.Errorf("ParseID(%s) = %v, %v", s, got, err)
		}
	}
	if !(message.ID{}).IsZero() || id.IsZero() || !(message.Epoch{}).IsZero() || id.Epoch.IsZero() {
		t.Error("IsZero")
	}
}

func TestParseIDErrors(t *testing.T) {
	const good = "01020304a0b01112131415ff"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "got 0 bytes"},
		{"short", good[1:], "got 23 bytes"},
		{"long", good + "0", "got 25 bytes"},
		{"first byte", "g" + good[1:], "byte 0 is 'g'"},
		{"second of a pair", good[:7] + "-" + good[8:], "byte 7 is '-'"},
		{"last byte", good[:23] + " ", "byte 23 is ' '"},
		{"prefix", "0x" + good[2:], "byte 1 is 'x'"},
		{"not ASCII", "ü" + good[2:], "byte 0 is"},
		{"just outside the digits", good[:10] + "/" + good[11:], "byte 10 is '/'"},
		{"just outside the letters", good[:10] + "G" + good[11:], "byte 10 is 'G'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := message.ParseID(tt.text)
			if !errors.Is(err, message.ErrID) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrID with %q", err, tt.want)
			}
		})
	}
}

func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := genID.Draw(t, "id")
		if got, err := message.ParseID(id.String()); err != nil || got != id {
			t.Fatalf("%v as text: %v, %v", id, got, err)
		}
		if got := message.FromBytes(id.Bytes()); got != id {
			t.Fatalf("%v as bytes: %v", id, got)
		}
		j, err := json.Marshal(id)
		if err != nil || string(j) != `"`+id.String()+`"` {
			t.Fatalf("%v as JSON: %s, %v", id, j, err)
		}
		var got message.ID
		if err := json.Unmarshal(j, &got); err != nil || got != id {
			t.Fatalf("%s from JSON: %v, %v", j, got, err)
		}
	})
}

// Within a domain an epoch always begins in a later second than the one
// before it, and the sequence goes on; so texts, and bytes, sort like that.
func TestIDOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genID.Draw(t, "a"), genID.Draw(t, "b")
		if rapid.Bool().Draw(t, "one epoch") {
			b.Epoch = a.Epoch
		} else if a.Epoch.Began == b.Epoch.Began {
			t.Skip("two logs")
		}
		want := cmp.Or(cmp.Compare(a.Epoch.Began, b.Epoch.Began), cmp.Compare(a.Seq, b.Seq))
		if got := strings.Compare(a.String(), b.String()); got != want {
			t.Fatalf("%v against %v as text: %d, want %d", a, b, got, want)
		}
		ab, bb := a.Bytes(), b.Bytes()
		if got := bytes.Compare(ab[:], bb[:]); got != want {
			t.Fatalf("%v against %v as bytes: %d, want %d", a, b, got, want)
		}
	})
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"01020304a0b01112131415ff", "", "01020304A0B01112131415FF", "zz020304a0b01112131415ff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := message.ParseID(s)
		hex := len(s) == message.IDLen && strings.Trim(s, "0123456789abcdefABCDEF") == ""
		if (err == nil) != hex {
			t.Fatalf("ParseID(%q): %v", s, err)
		}
		if err != nil {
			if !errors.Is(err, message.ErrID) {
				t.Fatalf("%v does not wrap ErrID", err)
			}
			return
		}
		if id.String() != strings.ToLower(s) || id.Seq > message.MaxSeq {
			t.Fatalf("%q is read as %v", s, id)
		}
	})
}

func BenchmarkIDAppend(b *testing.B) {
	id := message.ID{Epoch: message.Epoch{Began: 1, Rand: 2}, Seq: 3}
	buf := make([]byte, 0, message.IDLen)
	b.ReportAllocs()
	for b.Loop() {
		buf = id.Append(buf[:0])
	}
}
