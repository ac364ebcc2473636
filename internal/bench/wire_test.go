package bench

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadHead(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want answerHead
		bad  bool
	}{
		"length":      {"HTTP/1.1 201 Created\r\ncontent-LENGTH: 12\r\n\r\n", answerHead{201, 12, false}, false},
		"chunked":     {"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n", answerHead{200, -1, true}, false},
		"neither":     {"HTTP/1.0 200 OK\r\n\r\n", answerHead{200, -1, false}, false},
		"not HTTP":    {"SSH-2.0-OpenSSH_9.2 something\r\n", answerHead{}, true},
		"no status":   {"HTTP/1.1 abc something\r\n\r\n", answerHead{}, true},
		"bad length":  {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", answerHead{}, true},
		"cut off":     {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n", answerHead{}, true},
		"endless":     {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10_000), answerHead{}, true},
		"a long line": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 10_000) + "\r\n\r\n", answerHead{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readHead(bufio.NewReader(strings.NewReader(tt.text)))
			if (err != nil) != tt.bad || err == nil && got != tt.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestBody(t *testing.T) {
	for name, tt := range map[string]struct {
		head answerHead
		text string
		want string
		err  error
	}{
		"length":                 {answerHead{length: 5}, "hello, and more", "hello", nil},
		"empty":                  {answerHead{length: 0}, "x", "", nil},
		"to the end":             {answerHead{length: -1}, "hello", "hello", nil},
		"cut off":                {answerHead{length: 9}, "hello", "hello", io.ErrUnexpectedEOF},
		"chunks":                 {answerHead{length: -1, chunked: true}, "5;x=y\r\nhello\r\n2\r\n, \r\n0\r\nTrailer: x\r\n\r\nmore", "hello, ", nil},
		"chunks cut off":         {answerHead{length: -1, chunked: true}, "5\r\nhel", "hel", io.ErrUnexpectedEOF},
		"a chunk's endless head": {answerHead{length: -1, chunked: true}, strings.Repeat("0", 5000), "", errAnswer},
		"no last chunk":          {answerHead{length: -1, chunked: true}, "5\r\nhello\r\n", "hello", io.ErrUnexpectedEOF},
		"chunk of no size":       {answerHead{length: -1, chunked: true}, "x\r\n", "", errAnswer},
		"chunk too long":         {answerHead{length: -1, chunked: true}, "2\r\nhello\r\n0\r\n\r\n", "he", errAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readBody(bufio.NewReader(iotest.OneByteReader(strings.NewReader(tt.text))), tt.head, 100)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("read: %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
			for size := 1; size <= len(tt.text); size++ {
				var pieces strings.Builder
				b := newBodyScanner(tt.head)
				rest, used := []byte(tt.text), 0
				for err = nil; err == nil && len(rest) > 0 && !b.done(); rest = rest[used:] {
					used, err = b.scan(rest[:min(size, len(rest))], func(p []byte) error {
						pieces.Write(p)
						return nil
					})
				}
				if err == nil && !errors.Is(b.ended(), io.EOF) {
					err = b.ended()
				}
				if pieces.String() != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("in pieces of %d: %q, %v, want %q, %v", size, pieces.String(), err, tt.want, tt.err)
				}
				if b.done() && !strings.HasPrefix(", and more", string(rest)) && string(rest) != "more" && string(rest) != "x" {
					t.Errorf("in pieces of %d it took too much or too little: %q is left", size, rest)
				}
			}
		})
	}
	kept, err := readBody(bufio.NewReader(strings.NewReader("hello, and more")), answerHead{length: 15}, 5)
	if err != nil || string(kept) != "hello" {
		t.Errorf("of a long one %q, %v", kept, err)
	}
}

func TestLines(t *testing.T) {
	text := "one\ntwo\n\n" + strings.Repeat("x", 3*keepLine) + "\nlast\nunfinished"
	want := []string{"one", "two", "", strings.Repeat("x", keepLine), "last"}
	for _, size := range []int{1, 2, 3, 7, 1000} {
		var s lineScanner
		var got []string
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if err := s.scan([]byte(rest[:n]), func(line []byte) error {
				got = append(got, string(line[:min(len(line), keepLine)]))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("in pieces of %d: %.60q", size, got)
		}
	}
	var s lineScanner
	if err := s.scan([]byte("a\nb\n"), func([]byte) error { return errFake }); !errors.Is(err, errFake) {
		t.Errorf("error %v", err)
	}
}

func TestWebSocketScanner(t *testing.T) {
	long := strings.Repeat("y", 70_000)
	for name, tt := range map[string]struct {
		frames string
		want   []string
		err    string
	}{
		"messages":   {string(wsFrame(true, wsText, "one")) + string(wsFrame(true, wsBinary, "two")), []string{"one", "two"}, ""},
		"fragments":  {string(wsFrame(false, wsText, "one")) + string(wsFrame(true, wsPong, "x")) + string(wsFrame(true, wsContinuation, "two")), []string{"onetwo"}, ""},
		"long":       {string(wsFrame(true, wsText, long)) + string(wsFrame(true, wsText, long[:200])), []string{long[:keepLine], long[:200]}, ""},
		"close":      {string(wsFrame(true, wsClose, "\x03\xf4come back")), nil, "1012 come back"},
		"bare close": {string(wsFrame(true, wsClose, "")), nil, "closed the WebSocket"},
		"masked":     {"\x81\x81....x", nil, "frame"},
		"reserved":   {"\xc1\x01x", nil, "frame"},
		"opcode":     {string(wsFrame(true, 3, "x")), nil, "opcode 3"},
		"huge":       {"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00", nil, "frame of"},
		"huge ping":  {string(wsFrame(true, wsPing, long)), nil, "ping, of"},
		"empty":      {string(wsFrame(true, wsText, "")) + string(wsFrame(false, wsText, "")) + string(wsFrame(true, wsContinuation, "x")), []string{"", "x"}, ""},
		"cut off":    {string(wsFrame(true, wsText, "one"))[:4], nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 50, len(tt.frames)} {
				var s frameScanner
				var got []string
				var err error
				for rest := []byte(tt.frames); err == nil && len(rest) > 0; rest = rest[min(size, len(rest)):] {
					err = s.scan(rest[:min(size, len(rest))], func(m []byte) error {
						got = append(got, string(m[:min(len(m), keepLine)]))
						return nil
					})
				}
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("in pieces of %d: error %v, want %q", size, err, tt.err)
				}
				if strings.Join(got, "|") != strings.Join(tt.want, "|") {
					t.Errorf("in pieces of %d: got %.60q, want %.60q", size, got, tt.want)
				}
			}
		})
	}
}

func TestWebSocketPong(t *testing.T) {
	s := newStream(WebSocket, answerHead{length: -1}, func([]byte) error { return nil })
	ping := wsFrame(true, wsPing, "abc")
	for i := range ping {
		reply, err := s.feed(ping[i : i+1])
		if last := i == len(ping)-1; err != nil || last != (string(reply) == "\x8a\x83\x00\x00\x00\x00abc") {
			t.Errorf("after %d bytes %q, %v", i+1, reply, err)
		}
	}
}

// FuzzAnswer: whatever a server sends, reading it ends and breaks no bound.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), byte(0))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), byte(1))
	f.Add(wsFrame(false, wsText, "hello"), byte(2))
	f.Fuzz(func(t *testing.T, b []byte, kind byte) {
		via := []Transport{SSE, NDJSON, WebSocket}[kind%3]
		m := &member{via: via, take: func(p []byte) error {
			if len(p) > len(b)+keepLine {
				t.Fatalf("a payload of %d bytes out of %d", len(p), len(b))
			}
			return nil
		}}
		step := int(kind/3)%7 + 1
		for rest := b; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			if _, _, err := m.feed(rest[:min(step, len(rest))]); err != nil {
				break
			}
			if len(m.head) > maxHead+step {
				t.Fatalf("kept %d bytes of a head", len(m.head))
			}
			if s := m.stream; s != nil && (len(s.lines.part) > keepLine || len(s.frames.message) > keepLine || len(s.frames.control) > 125 || len(s.frames.begun) > 10 || len(s.body.line) > maxChunkLine+step) {
				t.Fatalf("kept too much: %+v", s)
			}
		}
		if h, err := readHead(bufio.NewReader(strings.NewReader(string(b)))); err == nil {
			_, _ = readBody(bufio.NewReader(strings.NewReader(string(b))), h, 100)
		}
	})
}
