package realizehit_test

import (
	"strings"
	"testing"

	"crier/internal/dialect/realizehit"
	"crier/internal/topic"
)

func TestPatterns(t *testing.T) {
	long := strings.Repeat("x", 201)
	for _, tt := range []struct{ json, canonical, id, topic string }{
		{`{"kind":"news","channel":"CNN"}`, "channel:CNN|kind:news", "3bf1d979", "realizehit/channel|kind/CNN/news"},
		{`{"testing":"yolasda"}`, "testing:yolasda", "540d034d", "realizehit/testing/yolasda"},
		{`{"n":3}`, "n:3", "", "realizehit/n/3"},
		{`{"n":"3"}`, "n:3", "", "realizehit/n/3"},
		{`{"n":3.0}`, "n:3", "", "realizehit/n/3"},
		{`{"n":1e3}`, "n:1000", "", "realizehit/n/1000"},
		{`{"n":12345678901234567890}`, "n:12345678901234567890", "", "realizehit/n/12345678901234567890"},
		{`{"n":"  a \t"}`, "n:a", "", "realizehit/n/a"},
		{`{"b":"1","B":"2","a":"3","10":"4","9":"5"}`, "10:4|9:5|B:2|a:3|b:1", "", "realizehit/10|9|B|a|b/4/5/2/3/1"},
		{`{"channel":"CNN","show":"*"}`, "channel:CNN|show:*", "", "realizehit/channel|show/CNN/*"},
		{`{"a":" * "}`, "a:*", "", "realizehit/a/*"},
		{`{"a":"` + long + `"}`, "a:" + long, "", "realizehit/a/~~" + strings.Repeat("0", 64)},
	} {
		p, err := realizehit.ParsePattern([]byte(tt.json), true)
		if err != nil {
			t.Errorf("%s: %v", tt.json, err)
			continue
		}
		wantTopic := tt.topic
		if strings.Contains(wantTopic, "~~") { // its hash is package name's business
			wantTopic = p.Topic()
			if !strings.HasPrefix(wantTopic, "realizehit/a/~~") || len(wantTopic) != len(tt.topic) {
				t.Errorf("%.40s: topic %s", tt.json, wantTopic)
			}
		}
		if p.Canonical() != tt.canonical || p.Topic() != wantTopic || tt.id != "" && p.ID() != tt.id {
			t.Errorf("%s: %s, %s, %s", tt.json, p.Canonical(), p.ID(), p.Topic())
		}
		if _, err := topic.ParsePattern(p.Topic()); err != nil {
			t.Errorf("%s: %v", tt.json, err)
		}
		if p.Wild() {
			if _, err := realizehit.ParsePattern([]byte(tt.json), false); err == nil {
				t.Errorf("%s can be published to", tt.json)
			}
			continue
		}
		if q, ok := realizehit.ParseChannel(p.Canonical()); !ok || q.Topic() != p.Topic() {
			t.Errorf("%s from Redis: %v", p.Canonical(), ok)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	many := make([]string, 15)
	for i := range many {
		many[i] = `"` + string(rune('a'+i)) + `":1`
	}
	for _, tt := range []struct{ json, says string }{
		{``, "not a JSON object"},
		{`null`, "not a JSON object"},
		{`[]`, "not a JSON object"},
		{`"a"`, "not a JSON object"},
		{`{}`, "at least one"},
		{`{"a b":"1"}`, `filter name "a b"`},
		{`{"":"1"}`, `filter name ""`},
		{`{"é":"1"}`, "filter name"},
		{`{"a":""}`, `filter "a"`},
		{`{"a":" "}`, `filter "a"`},
		{`{"a":"b c"}`, `"b c"`},
		{`{"a":"b:c"}`, `"b:c"`},
		{`{"a":"b|c"}`, `"b|c"`},
		{`{"a":"**"}`, `"**"`},
		{`{"a":"b*"}`, `"b*"`},
		{`{"a":true}`, "neither a string nor a number"},
		{`{"a":null}`, "neither"},
		{`{"a":{}}`, "neither"},
		{`{"a":-1}`, `"-1"`},
		{`{"a":1.5}`, `"1.5"`},
		{`{"a":1e400}`, `"1e400"`},
		{`{` + strings.Join(many, ",") + `}`, "15 filters, the limit is 14"},
		{`{"a":"` + strings.Repeat("x", 200) + `","b":"` + strings.Repeat("x", 200) + `","c":"` + strings.Repeat("x", 200) + `"}`, "too long"},
	} {
		if _, err := realizehit.ParsePattern([]byte(tt.json), true); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.60s: %v, want %q", tt.json, err, tt.says)
		}
	}
	for _, channel := range []string{
		"", "a", "a:", ":a", "b:1|a:2", "a:1|a:2", "a:*", "a:1|", "|a:1", "a:1||b:2", "a:b:c", "crier:own ", "a b:1", strings.Repeat("a", 5000) + ":1",
	} {
		if _, ok := realizehit.ParseChannel(channel); ok {
			t.Errorf("%.40q is taken from Redis", channel)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{`{"kind":"news","channel":"CNN"}`, `{"a":" 3 ","b":3.0,"c":"*"}`, `{"a":[1]}`, `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := realizehit.ParsePattern(data, true)
		if err != nil {
			return
		}
		tp, err := topic.ParsePattern(p.Topic())
		if err != nil {
			t.Fatalf("%s: %v", p.Topic(), err)
		}
		if len(p.ID()) != 8 {
			t.Fatal(p.ID())
		}
		q, ok := realizehit.ParseChannel(p.Canonical())
		if ok == p.Wild() || ok && q.Canonical() != p.Canonical() {
			t.Fatalf("%s from Redis: %v", p.Canonical(), ok)
		}
		// Whoever subscribes hears from Redis what he wants.
		name := realizehit.RedisName(tp)
		if one := strings.ReplaceAll(p.Canonical(), "*", "x"); !realizehit.GlobMatch(name, one) {
			t.Fatalf("%s is subscribed to as %s, which does not match %s", p.Topic(), name, one)
		}
	})
}

func FuzzChannel(f *testing.F) {
	f.Add("channel:CNN|kind:news")
	f.Add("b:1|a:2")
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := realizehit.ParseChannel(s); ok && p.Canonical() != s {
			t.Fatalf("%q is read as %q", s, p.Canonical())
		}
	})
}

func TestRedisNames(t *testing.T) {
	for _, tt := range []struct{ pattern, name string }{
		{"realizehit/foo/bar", "foo:bar"},
		{"realizehit/channel|show/CNN/*", "channel:CNN|show:*"},
		{"realizehit/channel|show/**", "channel:*|show:*"},
		{"realizehit/channel|show/CNN/**", "channel:CNN|show:*"},
		{"realizehit/channel|show/CNN/late/**", ""},
		{"realizehit/channel|show/CNN", ""},
		{"realizehit/show|channel/a/b", ""},
		{"realizehit/a/b/c", ""},
		{"realizehit/a/~~00", "a:*"},
		{"realizehit/*/b", "*:*"},
		{"realizehit/**", "*:*"},
		{"*/a/b", "a:b"},
		{"**", "*:*"},
		{"*", ""},
		{"realizehit", ""},
		{"news/**", ""},
		{"realizehit/a b/c", ""},
	} {
		p, err := topic.ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := realizehit.RedisName(p); got != tt.name {
			t.Errorf("%s: %q, want %q", tt.pattern, got, tt.name)
		}
	}
}

func TestActions(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{`{"id":"x1","act":"sub","pat":{"foo":"bar"}}`, `{"id":"x1"}`},
		{`{"id":"x2","act":"unsub","pat":{"foo":"*"}}`, `{"id":"x2"}`},
		{`{"id":"x3","act":"ping"}`, `{"id":"x3","ret":"pong"}`},
		{`{"id":7,"act":"ping"}`, `{"id":7,"ret":"pong"}`},
		{`{"id":"<é>","act":"ping"}`, `{"id":"<é>","ret":"pong"}`},
		{`{"id":"x","act":"dance"}`, `{"id":"x","err":"Unable to attend request"}`},
		{`{"id":"x"}`, `{"id":"x","err":"Unable to attend request"}`},
		{`{"id":"x","act":"sub","pat":{}}`, `{"id":"x","err":"the pattern has no filter; give at least one"}`},
		{`{"id":"x","act":"sub"}`, `{"id":"x","err":"the pattern is not a JSON object of filters and values"}`},
		{`{"action":"subscribe","pattern":{"foo": "bar"}}`, `{"action":"subscribe","pattern":{"foo":"bar"},"status":true}`},
		{`{"action":"unsubscribe","pattern":{"foo":1}}`, `{"action":"unsubscribe","pattern":{"foo":1},"status":true}`},
		{`{"action":"subscribe","pattern":{}}`, `{"action":"subscribe","pattern":{},"status":false,"error":"the pattern has no filter; give at least one"}`},
		{`{"action":"dance"}`, `{"action":"dance","pattern":null,"status":false,"error":"Unable to attend request"}`},
	} {
		if got, _, _ := realizehit.Attend([]byte(tt.in)); string(got) != tt.out {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.out)
		}
	}
	for _, in := range []string{"", "x", "null", "[]", `"a"`, "{", `{"act":"dance"}`, `{"id":null,"act":"dance"}`, `{"id":{},"act":"ping"}`, `{"id":"` + strings.Repeat("x", 200) + `","act":"ping"}`} {
		got, _, _ := realizehit.Attend([]byte(in))
		if !strings.HasPrefix(string(got), `{"id":"`) || len(got) < len(`{"id":"00000000","err":""}`) || !strings.Contains(string(got), `"err":"`) {
			t.Errorf("%.40s: %s, want an id of the server's and an error", in, got)
		}
	}
}

func FuzzAction(f *testing.F) {
	for _, s := range []string{`{"id":"x1","act":"sub","pat":{"foo":"bar"}}`, `{"action":"subscribe","pattern":{"foo": "bar"}}`, "null"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, _, _ := realizehit.Attend(data); len(got) == 0 || got[0] != '{' || got[len(got)-1] != '}' {
			t.Fatalf("%q", got)
		}
	})
}

func TestInASCII(t *testing.T) {
	if got := realizehit.InASCII([]byte(`{"é":"😀 a\n€"}`)); string(got) != `{"\u00e9":"\ud83d\ude00 a\n\u20ac"}` {
		t.Errorf("%s", got)
	}
}
