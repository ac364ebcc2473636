package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"crier/internal/transport/websocket/frame"
)

// oracle reads a client's bytes with another library's reader of headers,
// one frame after the other. It ends with "fail CODE" or, if bytes are
// missing, with "more".
func oracle(in []byte, limit int) []string {
	r := bytes.NewReader(in)
	var got []string
	var op ws.OpCode
	var message []byte
	fragmented, empty := false, 0
	fail := func(code int) []string { return append(got, fmt.Sprintf("fail %d", code)) }
	for r.Len() > 0 {
		before := r.Len()
		h, err := ws.ReadHeader(r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return append(got, "more")
		}
		if err != nil {
			return fail(1002)
		}
		state := ws.StateServerSide
		if fragmented {
			state = state.Set(ws.StateFragmented)
		}
		if ws.CheckHeader(h, state) != nil {
			return fail(1002)
		}
		short := 2 + 4
		switch {
		case h.Length >= 1<<16:
			short += 8
		case h.Length >= 126:
			short += 2
		}
		if before-r.Len() != short {
			return fail(1002) // the length is not written in the shortest form
		}
		if !h.OpCode.IsControl() {
			if h.Length > int64(limit-len(message)) {
				return fail(1009)
			}
			if !fragmented {
				empty = 0
			}
			if h.Length == 0 && !h.Fin {
				if empty++; empty > 64 {
					return fail(1008)
				}
			}
		}
		payload := make([]byte, h.Length)
		if n, err := io.ReadFull(r, payload); err != nil {
			if h.OpCode.IsData() && (op == ws.OpText && fragmented || h.OpCode == ws.OpText) {
				for i := range n {
					payload[i] ^= h.Mask[i%4]
				}
				if !prefixOK(append(message, payload[:n]...)) {
					return fail(1007)
				}
			}
			return append(got, "more")
		}
		for i := range payload {
			payload[i] ^= h.Mask[i%4]
		}
		switch {
		case h.OpCode == ws.OpClose:
			switch code, reason := ws.StatusCode(1005), ""; {
			case len(payload) == 1:
				return fail(1002)
			case len(payload) >= 2:
				code, reason = ws.StatusCode(uint16(payload[0])<<8|uint16(payload[1])), string(payload[2:])
				if registered := code >= 1012 && code <= 1014; !registered {
					if err := ws.CheckCloseFrameData(code, ""); err != nil || code >= 5000 || code == 1015 {
						return fail(1002)
					}
				}
				if !utf8.ValidString(reason) {
					return fail(1007)
				}
				fallthrough
			default:
				return append(got, fmt.Sprintf("8 %d %s", code, reason))
			}
		case h.OpCode.IsControl():
			got = append(got, fmt.Sprintf("%x %s", uint8(h.OpCode), payload))
			continue
		case h.OpCode != ws.OpContinuation:
			op = h.OpCode
		}
		message = append(message, payload...)
		fragmented = !h.Fin
		if op == ws.OpText && !prefixOK(message) || op == ws.OpText && h.Fin && !utf8.Valid(message) {
			return fail(1007)
		}
		if h.Fin {
			got = append(got, fmt.Sprintf("%x %s", uint8(op), message))
			message = nil
		}
	}
	if fragmented {
		got = append(got, "more")
	}
	return got
}

// prefixOK reports whether some text begins with p.
func prefixOK(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRune(p)
		}
		p = p[n:]
	}
	return true
}

func FuzzDecoder(f *testing.F) {
	for _, tt := range decoderTests {
		f.Add([]byte(tt.in), uint64(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cuts uint64) {
		want := oracle(in, limit)
		whole := frame.NewDecoder(limit)
		got := run(&whole, in)
		// Of a frame that is not whole the oracle sees nothing, a decoder what
		// is wrong with it already.
		if n := len(want); n > 0 && want[n-1] == "more" {
			want = want[:n-1]
			if n := len(got); n > 0 && strings.HasPrefix(got[n-1], "fail") {
				got = got[:n-1]
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("% x\ngot  %q\nwant %q", in, got, want)
		}

		var chunks [][]byte
		for rest := in; len(rest) > 0; {
			cuts = cuts*6364136223846793005 + 1442695040888963407
			n := min(len(rest), 1+int(cuts>>60))
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		a, b := frame.NewDecoder(limit), frame.NewDecoder(limit)
		if inOne, inMany := run(&a, in), run(&b, chunks...); !slices.Equal(inOne, inMany) {
			t.Fatalf("% x\nwhole     %q\nin chunks %q", in, inOne, inMany)
		}
	})
}
