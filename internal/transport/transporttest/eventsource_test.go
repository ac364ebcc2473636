package transporttest_test

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"crier/internal/transport/transporttest"
)

// The cases are those of the standard's examples and of what browsers are
// tested with.
func TestEventSource(t *testing.T) {
	message := func(data, id string) transporttest.Block {
		return transporttest.Block{Dispatched: true, Event: "message", Data: data, ID: id}
	}
	for _, tt := range []struct {
		name, stream string
		want         []transporttest.Block
	}{
		{"nothing", "", nil},
		{"two lines", "data: YHOO\ndata: +2\ndata: 10\n\n", []transporttest.Block{message("YHOO\n+2\n10", "")}},
		{"ids stay until reset", ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n", []transporttest.Block{
			{Comments: []string{" test stream"}},
			{Dispatched: true, Event: "message", Data: "first event", ID: "1", HasID: true},
			{Dispatched: true, Event: "message", Data: "second event", HasID: true},
			message(" third event", ""),
		}},
		{"empty data", "data\n\ndata\ndata\n\ndata:", []transporttest.Block{message("", ""), message("\n", "")}},
		{"one space is taken", "data:test\n\ndata: test\n\n", []transporttest.Block{message("test", ""), message("test", "")}},
		{"line ends of all kinds", "data: a\rdata: b\r\ndata: c\n\r\ndata: d\r\rdata: e\r\n\r\n", []transporttest.Block{
			message("a\nb\nc", ""), message("d", ""), message("e", ""),
		}},
		{"byte order mark", "\ufeffdata: a\n\n\ufeffdata: b\n\n", []transporttest.Block{message("a", ""), {}}},
		{"id without data", "id: 7\n\ndata: x\n\n", []transporttest.Block{{ID: "7", HasID: true}, message("x", "7")}},
		{"id with NUL", "id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n", []transporttest.Block{
			{Dispatched: true, Event: "message", Data: "a", ID: "1", HasID: true}, message("b", "1"),
		}},
		{"names", "event: a\ndata: 1\n\ndata: 2\n\nevent:\ndata: 3\n\nevent: b\n\ndata: 4\n\n", []transporttest.Block{
			{Dispatched: true, Event: "a", Data: "1"}, message("2", ""), message("3", ""), {}, message("4", ""),
		}},
		{"retry", "retry: 100\n\nretry: x1\n\nretry:\n\nretry: 1 \n\n", []transporttest.Block{{Retry: "100"}, {}, {}, {}}},
		{"unknown fields", "Data: a\ndata : b\n data: c\nfoo\ndata:d\n\n", []transporttest.Block{message("d", "")}},
		{"unfinished", "data: a\n\ndata: b\n", []transporttest.Block{message("a", "")}},
		{"NUL and broken UTF-8", "data: \x00\xff\n\n", []transporttest.Block{message("\x00\ufffd", "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once": strings.NewReader(tt.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)),
			} {
				got, err := transporttest.AllBlocks(r)
				if err != nil || !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%s: %+v, %v; want %+v", how, got, err, tt.want)
				}
			}
		})
	}
}
