package client

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// readEvents gives the events of a stream as text, one for each line.
func readEvents(r io.Reader, max int) (string, error) {
	events := newEventReader(r, max)
	var b strings.Builder
	for {
		ev, err := events.next()
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		before := b.Len()
		if ev.name != "" {
			fmt.Fprintf(&b, "event=%q ", ev.name)
		}
		if ev.hasID {
			fmt.Fprintf(&b, "id=%q ", ev.id)
		}
		if ev.retry > 0 {
			fmt.Fprintf(&b, "retry=%v ", ev.retry)
		}
		if ev.data != nil {
			fmt.Fprintf(&b, "data=%q", ev.data)
		}
		if b.Len() > before {
			b.WriteByte('\n')
		}
	}
}

func TestEventReader(t *testing.T) {
	for _, tt := range []struct{ name, stream, want string }{
		{"one", "data: a\n\n", `data="a"` + "\n"},
		{"two lines", "data: a\ndata: b\n\n", `data="a\nb"` + "\n"},
		{"CR", "data: a\rdata: b\r\r", `data="a\nb"` + "\n"},
		{"CRLF", "data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", "data=\"a\\nb\"\ndata=\"c\"\n"},
		{"mixed ends", "data: a\rdata: b\ndata: c\r\n\r\n", `data="a\nb\nc"` + "\n"},
		{"byte order mark", "\xEF\xBB\xBFdata: a\n\n", `data="a"` + "\n"},
		{"only one byte order mark", "\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\ndata: b\n\n", `data="b"` + "\n"},
		{"one space is eaten", "data:  a\n\ndata:b\n\n", "data=\" a\"\ndata=\"b\"\n"},
		{"empty data", "data\n\ndata:\ndata:\n\n", "data=\"\"\ndata=\"\\n\"\n"},
		{"id alone", "id: 7\n\n", `id="7" ` + "\n"},
		{"id reset", "id\ndata: a\n\n", `id="" data="a"` + "\n"},
		{"id with NUL", "id: 7\x00\ndata: a\n\n", `data="a"` + "\n"},
		{"retry", "retry: 2500\n\n", "retry=2.5s \n"},
		{"retry not digits", "retry: 2.5\ndata: a\n\nretry: -1\ndata: b\n\n", "data=\"a\"\ndata=\"b\"\n"},
		{"retry bounded", "retry: 99999999999999999999999\n\n", "retry=24h0m0s \n"},
		{"comments and unknown fields", ": hi\nfoo: bar\ndata: a\n:\n\n", `data="a"` + "\n"},
		{"only a comment", ": hi\n\n\n\n", ""},
		{"unfinished", "data: a\n\ndata: b\n", `data="a"` + "\n"},
		{"type", "event: t\nid: 1\ndata: {}\n\n", `event="t" id="1" data="{}"` + "\n"},
		{"not UTF-8", "event: \xff\nid: \xff\ndata: a\n\n", `event="�" id="�" data="a"` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(tt.stream), "bytes": iotest.OneByteReader(strings.NewReader(tt.stream)),
			} {
				if got, err := readEvents(r, 1000); err != nil || got != tt.want {
					t.Errorf("%s: %q, %v, want %q", name, got, err, tt.want)
				}
			}
		})
	}
}

func TestEventReaderBounds(t *testing.T) {
	for _, tt := range []struct {
		name, stream string
		fits         bool
	}{
		{"a line within", "data: " + strings.Repeat("x", 9_994) + "\n\n", true},
		{"a line beyond", "data: " + strings.Repeat("x", 9_995) + "\n\n", false},
		{"a line without end", strings.Repeat("x", 100_000), false},
		{"many lines within", strings.Repeat("data: 123\n", 1_000) + "\n", true},
		{"many lines beyond", strings.Repeat("data: 1234\n", 1_001) + "\n", false},
		{"comments beyond", strings.Repeat(": 12345678\n", 1_001), false},
		{"many blocks", strings.Repeat("data: 1234\n\n", 10_000), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readEvents(strings.NewReader(tt.stream), 10_000)
			if tt.fits && err != nil || !tt.fits && !errors.Is(err, ErrMessageTooLong) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// FuzzEventReader: whatever the cuts between reads, a stream means the same,
// and nothing of it breaks a bound.
func FuzzEventReader(f *testing.F) {
	f.Add("data: a\r\rid: 1\r\ndata: b\n\n", uint8(3))
	f.Add("\xEF\xBB\xBFretry: 10\nevent: x\ndata\n\n:\n", uint8(1))
	f.Fuzz(func(t *testing.T, stream string, cut uint8) {
		const max = 200
		whole, err := readEvents(strings.NewReader(stream), max)
		pieces, err2 := readEvents(&pieceReader{s: stream, n: int(cut%16) + 1}, max)
		if whole != pieces || errors.Is(err, ErrMessageTooLong) != errors.Is(err2, ErrMessageTooLong) {
			t.Fatalf("%q, %v read at once, %q, %v in pieces of %d", whole, err, pieces, err2, cut)
		}
		if err == nil {
			if want := reference(stream); whole != want {
				t.Fatalf("%q, by the standard's words %q", whole, want)
			}
		}
	})
}

type pieceReader struct {
	s string
	n int
}

func (p *pieceReader) Read(b []byte) (int, error) {
	if p.s == "" {
		return 0, io.EOF
	}
	n := copy(b, p.s[:min(p.n, len(p.s))])
	p.s = p.s[n:]
	return n, nil
}

// reference reads a stream the slow way.
func reference(stream string) string {
	stream = strings.TrimPrefix(stream, "\xEF\xBB\xBF")
	stream = strings.ReplaceAll(strings.ReplaceAll(stream, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(stream, "\n")
	var b, ev strings.Builder
	var data []string
	var name, id, retry string
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			ev.WriteString(name + id + retry)
			if data != nil {
				fmt.Fprintf(&ev, "data=%q", strings.Join(data, "\n"))
			}
			if ev.Len() > 0 {
				b.WriteString(ev.String() + "\n")
			}
			ev.Reset()
			data, name, id, retry = nil, "", "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data = append(data, value)
		case "event":
			if name = strings.ToValidUTF8(value, "\uFFFD"); name != "" {
				name = fmt.Sprintf("event=%q ", name)
			}
		case "id":
			if !strings.Contains(value, "\x00") {
				id = fmt.Sprintf("id=%q ", strings.ToValidUTF8(value, "\uFFFD"))
			}
		case "retry":
			if d, ok := millis([]byte(value)); ok {
				if retry = ""; d > 0 {
					retry = fmt.Sprintf("retry=%v ", d)
				}
			}
		}
	}
	return b.String()
}

func BenchmarkEventReader(b *testing.B) {
	stream := strings.Repeat("id: 0102030405060708090a0b0c\ndata: "+strings.Repeat("x", 300)+"\n\n", 1000)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		events := newEventReader(strings.NewReader(stream), 1<<20)
		for {
			if _, err := events.next(); err != nil {
				break
			}
		}
	}
}
