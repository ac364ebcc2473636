package transporttest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"crier/internal/message"
)

// listening is what a client hears, and from where on.
var listening = []scenario{
	{name: "live", run: live},
	{name: "starts", run: starts},
	{name: "several patterns", run: severalPatterns},
	{name: "whatever data", run: whateverData},
	{name: "all sizes", run: allSizes},
	{name: "envelopes", is: resumes, run: envelopes},
	{name: "cut off before the first message", is: func(t Traits) bool { return t.Places }, run: cutOffBeforeTheFirst},
	{name: "resume out of the tail", is: resumes, run: resume},
	{name: "resume out of the store", is: resumes, tailBytes: tiny, run: resume},
	{name: "heartbeats", is: heartbeats, run: steadyHeartbeats},
	{name: "heartbeats tell places", is: func(t Traits) bool { return t.Places }, run: placesMove},
}

func live(e *Env) {
	e.Publish("a/x", "before")
	l := e.listen(Options{Patterns: []string{"a/*"}})
	first := e.Publish("a/x", "1")
	e.Publish("b", "not for it")
	e.Publish("a", "nor this")
	l.hears("1")
	time.Sleep(10 * time.Second)
	second := e.Publish("a/y", "2", "3")
	traits := e.driver.Traits()
	got := l.messages(2)
	if traits.IDs && (got[0].ID != second.First || got[1].ID != second.ID(1)) {
		e.T.Fatalf("ids %v and %v, want %v and the next", got[0].ID, got[1].ID, second.First)
	}
	if traits.Whole {
		want := message.Message{
			ID: second.First, Topic: "a/y", Data: []byte("2"), ContentType: message.DefaultContentType, Time: second.Time,
		}
		if m := got[0]; m.Topic != want.Topic || string(m.Data) != "2" || m.ContentType != want.ContentType || !m.Time.Equal(want.Time) || m.Binary {
			e.T.Fatalf("got %+v, want %+v", m, want)
		}
	}
	if traits.Places && l.place != second.ID(1) {
		e.T.Fatalf("cursor %v, want %v", l.place, second.ID(1))
	}
	if first.First == second.First {
		e.T.Fatal("two messages with one id")
	}
}

func starts(e *Env) {
	r := e.Publish("a", "1", "2")
	e.Publish("b", "x", "x", "x")
	want := []string{"1", "2"}
	for i, tt := range []struct {
		since string
		last  int // how many of what there is are due
	}{
		{"earliest", 2},
		{"last:2", 2},
		{"last:99", 4},
		{"last:0", 0},
		{"latest", 0},
		{"", 0},
		{r.First.String(), 7},
		{r.ID(1).String(), 7},
	} {
		l := e.listen(Options{Patterns: []string{"a"}, Since: tt.since})
		l.hears(want[len(want)-tt.last:]...)
		s := fmt.Sprint("case ", i)
		e.Publish("a", s)
		want = append(want, s)
		l.hears(s)
		l.Close()
	}
}

func severalPatterns(e *Env) {
	l := e.listen(Options{Patterns: []string{"a/*", "a/x", "**", "deep/**", "b"}, Since: "latest"})
	one := e.listen(Options{Patterns: []string{"b", "deep/**", "z/*/z"}})
	for i, name := range []string{"a/x", "b", "deep", "deep/er/still", "c", "z/y/z", "z/y/x"} {
		e.Publish(name, fmt.Sprint(i))
	}
	l.hears("0", "1", "2", "3", "4", "5", "6")
	one.hears("1", "3", "5")
}

// oddTexts are hard on formats that end fields with line breaks.
var oddTexts = []string{
	"", " ", "  two spaces first", "one\ntwo", "one\r\ntwo", "one\rtwo", "\n", "\r\n\r\n", "\n\r", "ends\n", "\nbegins",
	"data: x\nid: 1\nevent: y\n\n", ": comment", "nul \x00 in it", "\ufeffbom", "sep\u2028arators\u2029", "é𝄞\U0010FFFF",
	`{"json":"in\u0000side"}`, `"quoted"`, "\t", strings.Repeat("long ", 20_000),
}

func whateverData(e *Env) {
	traits := e.driver.Traits()
	all := []message.Draft{
		{Data: []byte{0, 1, 2, 0xff, '\n', '\r'}, ContentType: "application/octet-stream", Binary: true},
		{Data: []byte{}, ContentType: "image/png", Binary: true},
		{Data: bytes.Repeat([]byte{0xe2, 0x80}, 50_000), ContentType: "video/mp4", Binary: true, Type: "film"},
		{Data: []byte("{\n  \"a\": [1, 2.50, \"x\"]\n}\n"), ContentType: "application/json"},
		{Data: []byte(`{"a":[1,2.50,"x"]}`), ContentType: "application/vnd.x+json", Type: "typed"},
	}
	for _, s := range oddTexts {
		all = append(all, message.Draft{Data: []byte(s), ContentType: message.DefaultContentType})
	}
	l := e.listen(Options{Patterns: []string{"t"}})
	for i := range all {
		all[i].Topic = "t"
		e.PublishDrafts(all[i])
	}
	for i, m := range l.messages(len(all)) {
		sent := all[i]
		want := string(sent.Data)
		if traits.Text != nil && !sent.Binary {
			want = traits.Text(want)
		}
		got := string(m.Data)
		if strings.Contains(sent.ContentType, "json") && traits.Whole {
			got, want = tight(got), tight(want)
		}
		if got != want || m.Binary != sent.Binary {
			e.T.Errorf("%.60q (binary %v) comes as %.60q (binary %v)", want, sent.Binary, got, m.Binary)
		}
		if traits.Whole && m.ContentType != sent.ContentType || traits.Types && !sent.Binary && m.Type != sent.Type {
			e.T.Errorf("content type %q, type %q; want %q, %q", m.ContentType, m.Type, sent.ContentType, sent.Type)
		}
	}
}

// tight is JSON without white space, of texts that have none in strings.
func tight(s string) string {
	return strings.NewReplacer(" ", "", "\n", "", "\r", "").Replace(s)
}

// allSizes: short and long ones side by side, whatever a transport joins and
// whatever it does not.
func allSizes(e *Env) {
	var texts []string
	for i := range 60 {
		size := 1 << (i * 7 % 18) // up to 128 KiB
		texts = append(texts, strings.Repeat(string(rune('a'+i%26)), size+i))
	}
	r := e.Publish("a", texts...)
	for _, since := range []string{"earliest", "last:60"} {
		e.listen(Options{Patterns: []string{"a"}, Since: since}).hears(texts...)
	}
	live := e.listen(Options{Patterns: []string{"a"}})
	e.Publish("a", texts...)
	live.hears(texts...)
	if e.driver.Traits().IDs {
		e.listen(Options{Patterns: []string{"a"}, Since: r.ID(29).String()}).hears(texts[30:]...)
	}
}

func envelopes(e *Env) {
	l := e.listen(Options{Patterns: []string{"a"}, Envelope: true})
	r := e.PublishDrafts(
		message.Draft{Topic: "a", Data: []byte("one\r\ntwo"), ContentType: "text/html", Type: "page"},
		message.Draft{Topic: "a", Data: []byte{0xff}, ContentType: "image/png", Binary: true, Type: "picture"},
	)
	got := l.messages(2)
	for i, want := range []message.Message{
		{ID: r.First, Topic: "a", Data: []byte("one\r\ntwo"), ContentType: "text/html", Type: "page", Time: r.Time},
		{ID: r.ID(1), Topic: "a", Data: []byte{0xff}, ContentType: "image/png", Binary: true, Type: "picture", Time: r.Time},
	} {
		m := got[i]
		same := m.ID == want.ID && m.Topic == want.Topic && bytes.Equal(m.Data, want.Data) && m.ContentType == want.ContentType &&
			m.Type == want.Type && m.Binary == want.Binary && m.Time.Equal(want.Time)
		if !same {
			e.T.Errorf("got %+v, want %+v", m, want)
		}
	}
}

func cutOffBeforeTheFirst(e *Env) {
	e.Publish("a", "old")
	l := e.listen(Options{Patterns: []string{"a"}})
	if ev := l.next(); ev.Kind != Heartbeat || ev.Cursor.IsZero() {
		e.T.Fatalf("got %v, want the place from which it listens", ev)
	}
	l.Close()
	e.Publish("a", "missed")
	again := e.listen(Options{Patterns: []string{"a"}, Since: l.place.String()})
	again.hears("missed")
}

// resume drops a connection again and again while messages are published, and
// each time goes on from the last id.
func resume(e *Env) {
	var want []string
	since, heard := "earliest", 0
	for round := range 30 {
		for i := range round % 4 {
			s := fmt.Sprint(round, ".", i)
			e.Publish("mine/"+fmt.Sprint(i), s)
			e.Publish("other", strings.Repeat("x", 100))
			want = append(want, s)
		}
		l := e.listen(Options{Patterns: []string{"mine/*"}, Since: since})
		n := min(len(want)-heard, 1+round%3)
		for _, m := range l.messages(n) {
			if string(m.Data) != want[heard] {
				e.T.Fatalf("round %d: got %q, want %q", round, m.Data, want[heard])
			}
			since = m.ID.String()
			heard++
		}
		l.Close()
	}
	l := e.listen(Options{Patterns: []string{"mine/*"}, Since: since})
	l.hears(want[heard:]...)
}

func steadyHeartbeats(e *Env) {
	l := e.listen(Options{Patterns: []string{"a"}})
	every := e.driver.Traits().Heartbeat
	if e.driver.Traits().Places {
		l.next() // where it begins
	}
	began := time.Now()
	var at []time.Duration
	for range 40 {
		if ev := l.next(); ev.Kind != Heartbeat {
			e.T.Fatalf("got %v", ev)
		}
		at = append(at, time.Since(began))
	}
	if !slices.IsSorted(at) || at[0] > every {
		e.T.Fatalf("the first after %v", at[0])
	}
	if took := at[39] - at[0]; took < 39*every*3/4 || took > 39*every*5/4 {
		e.T.Fatalf("39 more took %v, want about %v", took, 39*every)
	}
	e.Publish("a", "x")
	l.hears("x")
}

func placesMove(e *Env) {
	l := e.listen(Options{Patterns: []string{"mine"}})
	e.Publish("mine", "1")
	l.hears("1")
	other := e.Publish("other", "2", "3", "4")
	ev := l.next()
	if ev.Kind != Heartbeat || ev.Cursor != other.ID(2) {
		e.T.Fatalf("got %v with cursor %v, want a heartbeat with %v", ev.Kind, ev.Cursor, other.ID(2))
	}
	if ev = l.next(); ev.Kind != Heartbeat || !ev.Cursor.IsZero() {
		e.T.Fatalf("got %v with cursor %v, want a heartbeat with none: nothing moved", ev.Kind, ev.Cursor)
	}
	l.Close()
	again := e.listen(Options{Patterns: []string{"**"}, Since: l.place.String()})
	e.Publish("other", "5")
	again.hears("5")
}
