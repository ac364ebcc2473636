package e2e

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"crier/internal/dialect/redistest"
)

// spot is where a message is: a topic of a domain, and what those who come by
// a dialect call it.
type spot struct {
	name, domain, topic string
	redis               string    // HOST:PORT; empty: the server has none
	qri                 [2]string // peer and checksum; empty: QRI has no name for it
	pubsub              [2]string // domain and topic; empty: wspubsub has none
	key                 string    // of wspubsub

	app, appToken, clientToken  string // of Pushcart; empty: it has no name for it
	pattern, channel, patternID string // of realizehit; empty: it has none
}

// spots are those that more than one dialect can name. A new dialect adds
// its own, and its names to those that it shares.
func spots(t *testing.T, s *server) []spot {
	t.Helper()
	const outside = "a domain: ü/1"
	stdout, stderr, code := crier(t, nil, "key", "create", "--wspubsub", "--domain", outside, "--admin", s.admin, "--data-dir", s.dir)
	if code != 0 {
		t.Fatal(stderr)
	}
	app, appToken := s.add(t, "addapp", "My App\n")
	_, clientToken := s.add(t, "addclient", "test\n\n")
	run := strings.ToLower(rand.Text()) // others use the same Redis
	channel := "a:" + run + "|kind:pairs"
	sum := md5.Sum([]byte(channel))
	return []spot{
		{name: "QRI's", domain: "main", topic: "qri/a~2Fb/2008521774", qri: [2]string{"a/b", "2008521774"}},
		{name: "wspubsub's", domain: "ws.5d7e7c0bc81317877500932f46458093b1495c55", topic: "news~20~26", pubsub: [2]string{outside, "news &"}, key: strings.TrimSpace(stdout)},
		{name: "Pushcart's", domain: "main", topic: "pushcart/" + app, app: app, appToken: appToken, clientToken: clientToken},
		{name: "realizehit's", domain: "main", topic: "realizehit/a|kind/" + run + "/pairs", pattern: `{"kind":"pairs","a":"` + run + `"}`, channel: channel, patternID: hex.EncodeToString(sum[:4])},
		{name: "nobody's", domain: "main", topic: "plain/topic"},
	}
}

func (p spot) path() string { return "/t/" + p.domain + "/" + p.topic }

// around is the path of a pattern that matches more than the spot. It is no
// wider than it has to be: who wants all of realizehit hears what others
// publish in the same Redis.
func (p spot) around() string {
	parent := p.topic
	if i := strings.LastIndexByte(p.topic, '/'); i > 0 {
		parent = p.topic[:i]
	}
	return "/t/" + p.domain + "/" + parent + "?topic=" + url.QueryEscape(parent+"/**")
}

func everywhere(spot) bool  { return true }
func byQRI(p spot) bool     { return p.qri[0] != "" }
func byPubSub(p spot) bool  { return p.pubsub[0] != "" }
func byCart(p spot) bool    { return p.app != "" }
func byPattern(p spot) bool { return p.pattern != "" }

// byRedis is for what goes through Redis as well.
func byRedis(by func(spot) bool) func(spot) bool {
	return func(p spot) bool { return p.redis != "" && by(p) }
}

// inLog is a message as the log has it.
type inLog struct {
	data string
	json bool // and not text
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// A kind of server, of those that have to be alike: what it is called, and
// the flags that make it.
type kind struct {
	name  string
	flags func(t *testing.T) []string
}

func noFlags(*testing.T) []string { return nil }

// engines are the engines a server may have. A new one is a line here.
var engines = []kind{
	{"embedded", noFlags},
	{"MongoDB", func(t *testing.T) []string {
		return []string{"--mongodb", mongoDB.Find(t).Database(t), "--mongodb-durability", "fsync"}
	}},
}

// TestPairs: what enters by any way leaves by every other, in order, wherever
// both can name the place; on every engine, with Redis and without.
func TestPairs(t *testing.T) {
	t.Parallel()
	for _, engine := range engines {
		for _, redis := range []bool{false, true} {
			name := engine.name + map[bool]string{true: " with Redis"}[redis]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				flags := append([]string{"--qri-listen", "127.0.0.1:0"}, engine.flags(t)...)
				addr := ""
				if redis {
					addr = redistest.Addr(t)
					flags = append(flags, "--redis", "redis://"+addr)
				}
				s := startServer(t, flags...)
				eventually(t, "ready", func() bool { return s.readyz(t) == 200 })
				for _, p := range spots(t, s) {
					p.redis = addr
					t.Run(p.name, func(t *testing.T) {
						t.Parallel()
						pairs(t, s, p)
					})
				}
			})
		}
	}
}

// pairs has every way in say something at a spot, and every way out hear it.
func pairs(t *testing.T, s *server, p spot) {
	t.Helper()
	// A topic of wspubsub is one once it has an owner, and so is its
	// domain: the ways of dialects are opened first.
	says := map[string]func(string){}
	for _, dialects := range []bool{true, false} {
		for _, in := range waysIn {
			if foreign := !in.names(spot{}); in.names(p) && foreign == dialects {
				says[in.name] = in.open(t, s, p)
			}
		}
	}
	for _, in := range waysIn {
		say := says[in.name]
		if say == nil {
			continue
		}
		t.Run("from "+in.name, func(t *testing.T) {
			hears := map[string]func() string{}
			for _, out := range waysOut {
				if out.names(p) {
					hears[out.name] = out.open(t, s, p)
				}
			}
			var want []inLog
			for i := range 5 {
				text := fmt.Sprintf("é %d by %s", i, in.name)
				say(text)
				want = append(want, in.in(p, text))
			}
			for _, out := range waysOut {
				hear := hears[out.name]
				if hear == nil {
					continue
				}
				for _, m := range want {
					if got, want := hear(), out.of(p, m); got != want {
						t.Errorf("to %s: got %q, want %q", out.name, got, want)
					}
				}
			}
		})
	}
}
