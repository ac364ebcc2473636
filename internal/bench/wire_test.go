package bench

import (
	"bufio"
	"errors"
	"io"
	"net"
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
		"length":           {answerHead{length: 5}, "hello, and more", "hello", nil},
		"empty":            {answerHead{length: 0}, "x", "", nil},
		"to the end":       {answerHead{length: -1}, "hello", "hello", nil},
		"cut off":          {answerHead{length: 9}, "hello", "hello", io.ErrUnexpectedEOF},
		"chunks":           {answerHead{length: -1, chunked: true}, "5;x=y\r\nhello\r\n2\r\n, \r\n0\r\nTrailer: x\r\n\r\nmore", "hello, ", nil},
		"chunks cut off":   {answerHead{length: -1, chunked: true}, "5\r\nhel", "hel", io.ErrUnexpectedEOF},
		"no last chunk":    {answerHead{length: -1, chunked: true}, "5\r\nhello\r\n", "hello", io.ErrUnexpectedEOF},
		"chunk of no size": {answerHead{length: -1, chunked: true}, "x\r\n", "", errAnswer},
		"chunk too long":   {answerHead{length: -1, chunked: true}, "2\r\nhello\r\n0\r\n\r\n", "he", errAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := io.ReadAll(newBody(bufio.NewReader(strings.NewReader(tt.text)), tt.head))
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("read as a reader: %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
			var pieces strings.Builder
			b := newBody(bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(tt.text)), 16), tt.head)
			for {
				var piece []byte
				if piece, err = b.next(); err != nil {
					break
				}
				pieces.Write(piece)
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if pieces.String() != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("read in pieces: %q, %v, want %q, %v", pieces.String(), err, tt.want, tt.err)
			}
		})
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
		"messages":   {string(wsFrame(true, wsText, "one")) + string(wsFrame(true, wsBinary, "two")), []string{"one", "two"}, "EOF"},
		"fragments":  {string(wsFrame(false, wsText, "one")) + string(wsFrame(true, wsPong, "x")) + string(wsFrame(true, wsContinuation, "two")), []string{"onetwo"}, "EOF"},
		"long":       {string(wsFrame(true, wsText, long)) + string(wsFrame(true, wsText, long[:200])), []string{long[:keepLine], long[:200]}, "EOF"},
		"close":      {string(wsFrame(true, wsClose, "\x03\xf4come back")), nil, "1012 come back"},
		"bare close": {string(wsFrame(true, wsClose, "")), nil, "closed the WebSocket"},
		"masked":     {"\x81\x81....x", nil, "frame"},
		"reserved":   {"\xc1\x01x", nil, "frame"},
		"opcode":     {string(wsFrame(true, 3, "x")), nil, "opcode 3"},
		"huge":       {"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00", nil, "frame of"},
		"huge ping":  {string(wsFrame(true, wsPing, long)), nil, "ping of"},
		"cut off":    {string(wsFrame(true, wsText, "one"))[:4], nil, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := wsScanner{in: bufio.NewReader(strings.NewReader(tt.frames))}
			var got []string
			for {
				m, err := s.next()
				if err != nil {
					if !strings.Contains(err.Error(), tt.err) {
						t.Errorf("error %v, want %q", err, tt.err)
					}
					break
				}
				got = append(got, string(m))
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("got %.60q, want %.60q", got, tt.want)
			}
		})
	}
}

func TestWebSocketPong(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	s := wsScanner{in: bufio.NewReader(strings.NewReader(string(wsFrame(true, wsPing, "abc")))), conn: ours}
	go func() { _, _ = s.next() }()
	got := make([]byte, 9)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "\x8a\x83\x00\x00\x00\x00abc" {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzAnswer: whatever a server sends, reading it ends and breaks no bound.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), byte(0))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), byte(1))
	f.Add(wsFrame(false, wsText, "hello"), byte(2))
	f.Fuzz(func(t *testing.T, b []byte, kind byte) {
		in := bufio.NewReader(strings.NewReader(string(b)))
		if kind%3 == 2 {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			s := wsScanner{in: in, conn: ours}
			for {
				m, err := s.next()
				if err != nil {
					return
				}
				if len(m) > keepLine {
					t.Fatalf("kept %d bytes", len(m))
				}
			}
		}
		h, err := readHead(in)
		if err != nil {
			return
		}
		var lines lineScanner
		n := 0
		for body := newBody(in, h); ; {
			piece, err := body.next()
			if err != nil {
				break
			}
			if n += len(piece); n > len(b) || len(piece) == 0 {
				t.Fatalf("a body of %d bytes out of %d", n, len(b))
			}
			_ = lines.scan(piece, func([]byte) error { return nil })
			if len(lines.part) > keepLine {
				t.Fatalf("kept %d bytes", len(lines.part))
			}
		}
	})
}
