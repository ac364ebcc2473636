package message_test

import (
	"errors"
	"strings"
	"testing"

	"crier/internal/message"
)

func TestParseStart(t *testing.T) {
	const text = "01020304a0b01112131415ff"
	id, err := message.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text string
		want message.Start
	}{
		{"latest", message.Latest()},
		{"earliest", message.Earliest()},
		{"last:0", message.Last(0)},
		{"last:1", message.Last(1)},
		{"last:100000", message.Last(message.MaxLast)},
		{text, message.After(id)},
	} {
		got, err := message.ParseStart(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("ParseStart(%s) = %v, %v", tt.text, got, err)
		}
		if got.String() != tt.text {
			t.Errorf("String() = %s, want %s", got, tt.text)
		}
	}
	if (message.Start{}) != message.Latest() {
		t.Error("the zero Start is not latest")
	}
}

func TestParseStartErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "got 0 bytes"},
		{"Latest", "got 6 bytes"},
		{"last", "got 4 bytes"},
		{"last:", `N is a number from 0 to 100000, got ""`},
		{"last:-1", `got "-1"`},
		{"last:+1", `got "+1"`},
		{"last: 1", `got " 1"`},
		{"last:1e3", `got "1e3"`},
		{"last:100001", `got "100001"`},
		{"last:99999999999999999999", `got "9999`},
		{"01020304a0b01112131415fx", "byte 23 is 'x'"},
	} {
		_, err := message.ParseStart(tt.text)
		if !errors.Is(err, message.ErrID) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseStart(%q): error %v, want ErrID with %q", tt.text, err, tt.want)
		}
	}
}

func FuzzParseStart(f *testing.F) {
	for _, s := range []string{"latest", "earliest", "last:10", "last:007", "last:x", "01020304a0b01112131415ff", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, err := message.ParseStart(s)
		if err != nil {
			if !errors.Is(err, message.ErrID) || start != (message.Start{}) || len(err.Error()) > 500 {
				t.Fatalf("ParseStart(%q) = %v, %v", s, start, err)
			}
			return
		}
		if start.Last < 0 || start.Last > message.MaxLast {
			t.Fatalf("%q: last %d", s, start.Last)
		}
		again, err := message.ParseStart(start.String())
		if err != nil || again != start {
			t.Fatalf("%q is %v, and as text %v, %v", s, start, again, err)
		}
	})
}
