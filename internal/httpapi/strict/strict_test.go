package strict_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"crier/internal/httpapi/strict"
)

func post(lines ...string) string { return strings.Join(lines, "\r\n") }

// seeds are requests, and what they are to be taken for.
var seeds = []struct {
	name   string
	bytes  string
	result strict.Result
	rest   string
}{
	{"least", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Whole, ""},
	{"a body and what follows", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 2", "", "hiPOST"), strict.Whole, "POST"},
	{"all headers, in any case", post("POST /t/main/a/b HTTP/1.1", "hOST:h:80", "CONTENT-length: 1", "User-Agent: x/1 (y)", "accept: */*", "Authorization: Bearer k", "Content-Type: a/b; c=d", "Crier-Type: t", "Crier-TTL: 5", "Idempotency-Key: k 1", "Connection: Keep-Alive", "", "x"), strict.Whole, ""},
	{"blanks around a value", post("POST /t/main/a HTTP/1.1", "Host: \t h ", "Content-Length:1 ", "", "x"), strict.Whole, ""},
	{"begun", "POS", strict.Part, ""},
	{"a head that is not whole", post("POST /t/main/a HTTP/1.1", "Host: h", "Con"), strict.Part, ""},
	{"a body that is not whole", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 5", "", "four"), strict.Part, ""},
	{"another method", post("GET /t/main/a HTTP/1.1", "Host: h", "", ""), strict.Shape, ""},
	{"a method in small letters", post("post /t/main/a HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"another path", post("POST /messages HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"a whole URL", post("POST http://h/t/main/a HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"a query", post("POST /t/main/a?batch HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"an escaped path", post("POST /t/main/%61 HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"a blank in the path", post("POST /t/main/a b HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"HTTP/1.0", post("POST /t/main/a HTTP/1.0", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"no host", post("POST /t/main/a HTTP/1.1", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"two hosts", post("POST /t/main/a HTTP/1.1", "Host: h", "Host: h", "Content-Length: 0", "", ""), strict.Header, ""},
	{"no length", post("POST /t/main/a HTTP/1.1", "Host: h", "", ""), strict.Shape, ""},
	{"two lengths", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 1", "Content-Length: 1", "", "x"), strict.Header, ""},
	{"a list of lengths", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 1, 1", "", "x"), strict.Shape, ""},
	{"a length with a sign", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: +1", "", "x"), strict.Shape, ""},
	{"a length in hex", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 0x1", "", "x"), strict.Shape, ""},
	{"an empty length", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length:", "", "x"), strict.Header, ""},
	{"a length beyond the shape", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 99999999999999999999", "", ""), strict.Large, ""},
	{"chunks", post("POST /t/main/a HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", "", "0", "", ""), strict.Header, ""},
	{"chunks and a length", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 5", "Transfer-Encoding: chunked", "", "0", "", ""), strict.Header, ""},
	{"expects something", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 1", "Expect: 100-continue", "", "x"), strict.Header, ""},
	{"closes", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 1", "Connection: close", "", "x"), strict.Header, ""},
	{"through a proxy", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 1", "X-Forwarded-For: 1.2.3.4", "", "x"), strict.Header, ""},
	{"of a page", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 1", "Origin: https://a", "", "x"), strict.Header, ""},
	{"two idempotency keys", post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 1", "Idempotency-Key: k", "Idempotency-Key: k", "", "x"), strict.Header, ""},
	{"a blank before the colon", post("POST /t/main/a HTTP/1.1", "Host : h", "Content-Length: 1", "", "x"), strict.Header, ""},
	{"a continued header", post("POST /t/main/a HTTP/1.1", "Host: h", " more", "Content-Length: 1", "", "x"), strict.Shape, ""},
	{"a continued header with a colon", post("POST /t/main/a HTTP/1.1", "Host: h", " Accept: x", "Content-Length: 1", "", "x"), strict.Header, ""},
	{"lines that end with LF", "POST /t/main/a HTTP/1.1\nHost: h\r\nContent-Length: 0\r\n\r\n", strict.Shape, ""},
	{"a NUL in a value", post("POST /t/main/a HTTP/1.1", "Host: h", "User-Agent: a\x00b", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"a CR in a value", post("POST /t/main/a HTTP/1.1", "Host: h", "User-Agent: a\rX: b", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"a value beyond ASCII", post("POST /t/main/a HTTP/1.1", "Host: h", "User-Agent: \xc3\xa4", "Content-Length: 0", "", ""), strict.Shape, ""},
	{"many headers", "POST /t/main/a HTTP/1.1\r\n" + strings.Repeat("Accept: x\r\n", 100) + "\r\n", strict.Large, ""},
	{"a long head", "POST /t/main/a HTTP/1.1\r\nUser-Agent: " + strings.Repeat("x", strict.MaxHead), strict.Large, ""},
	{"an empty line first", "\r\n" + post("POST /t/main/a HTTP/1.1", "Host: h", "Content-Length: 0", "", ""), strict.Shape, ""},
}

func TestParse(t *testing.T) {
	for _, tt := range seeds {
		t.Run(tt.name, func(t *testing.T) {
			var r strict.Request
			n, result := strict.Parse([]byte(tt.bytes), &r)
			if result != tt.result {
				t.Fatalf("%v, want %v", result, tt.result)
			}
			if result == strict.Whole && tt.bytes[n:] != tt.rest {
				t.Errorf("left %q, want %q", tt.bytes[n:], tt.rest)
			}
			agree(t, []byte(tt.bytes))
		})
	}
}

// TestParsePart: however a request is cut, its beginning is a part of one, or
// already known to be none.
func TestParsePart(t *testing.T) {
	for _, tt := range seeds {
		var r strict.Request
		n, result := strict.Parse([]byte(tt.bytes), &r)
		if result != strict.Whole {
			continue
		}
		for i := range n {
			if _, got := strict.Parse([]byte(tt.bytes[:i]), &r); got != strict.Part {
				t.Fatalf("%s: %v after %d bytes", tt.name, got, i)
			}
		}
	}
}

// agree checks that what is taken is taken by net/http too, and read the same.
func agree(t *testing.T, p []byte) {
	t.Helper()
	var r strict.Request
	n, result := strict.Parse(p, &r)
	if result != strict.Whole {
		return
	}
	in := bufio.NewReader(bytes.NewReader(p))
	want, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("net/http does not take %q: %v", p, err)
	}
	body, err := io.ReadAll(want.Body)
	if err != nil {
		t.Fatalf("net/http does not take the body of %q: %v", p, err)
	}
	if want.Method != http.MethodPost || want.ProtoMajor != 1 || want.ProtoMinor != 1 || want.Close || want.TransferEncoding != nil || want.URL.RawQuery != "" || want.URL.Host != "" {
		t.Errorf("net/http sees %+v", want)
	}
	if want.ContentLength != int64(len(r.Body)) || !bytes.Equal(body, r.Body) {
		t.Errorf("body %q, net/http has %q (%d)", r.Body, body, want.ContentLength)
	}
	for name, pair := range map[string][2]string{
		"path":          {string(r.Path), want.URL.Path},
		"URI":           {string(r.Path), want.RequestURI},
		"Host":          {string(r.Host), want.Host},
		"Authorization": {string(r.Authorization), strings.Join(want.Header["Authorization"], "|")},
		"Content-Type":  {string(r.ContentType), strings.Join(want.Header["Content-Type"], "|")},
		"Crier-Type":    {string(r.Type), strings.Join(want.Header["Crier-Type"], "|")},
		"key":           {string(r.Key), strings.Join(want.Header["Idempotency-Key"], "|")},
		"Crier-TTL":     {string(r.TTL), strings.Join(want.Header["Crier-Ttl"], "|")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, net/http has %q", name, pair[0], pair[1])
		}
	}
	for _, name := range []string{"Expect", "Origin", "Forwarded", "Via", "Upgrade", "Trailer", "X-Forwarded-For"} {
		if want.Header[name] != nil {
			t.Errorf("there is a header %s", name)
		}
	}
	left, _ := io.ReadAll(in)
	if !bytes.Equal(left, p[n:]) {
		t.Errorf("left %q, net/http leaves %q", p[n:], left)
	}
}

// FuzzParse: the parser takes nothing that net/http does not take, and reads the
// same of what it takes.
func FuzzParse(f *testing.F) {
	for _, tt := range seeds {
		f.Add([]byte(tt.bytes))
	}
	f.Fuzz(agree)
}

func BenchmarkParse(b *testing.B) {
	p := []byte(post("POST /t/main/load/17 HTTP/1.1", "Host: 127.0.0.1:8080", "User-Agent: Go-http-client/1.1", "Content-Length: 200", "Content-Type: application/json", "Accept-Encoding: gzip", "", strings.Repeat("x", 200)))
	var r strict.Request
	b.ReportAllocs()
	for b.Loop() {
		if _, result := strict.Parse(p, &r); result != strict.Whole {
			b.Fatal(result)
		}
	}
}
