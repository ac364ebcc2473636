package e2e

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"crier/internal/engine/mongodb/mongotest"
)

// mongoDB is the MongoDB of the tests that do not kill it.
var mongoDB mongotest.Shared

// TestMongoDBAway has two servers on one database, and takes it away again and
// again while they are used. Subscribers stay connected, who publishes is told
// so, and when it is back everybody goes on: every acknowledged message is
// there once, in order, for all, and the epoch goes on as well, unless the
// domain is less durable than the database's end.
func TestMongoDBAway(t *testing.T) {
	t.Parallel()
	seed := number(t, "CRIER_SEED", rand.IntN(1<<31))
	t.Logf("CRIER_SEED=%d", seed)
	db := mongotest.Ferret(t)
	flags := []string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--drain", "0s", "--mongodb", db.URL + "/away", "--mongodb-durability", "fsync"}
	var servers []*server
	for range 2 {
		s := launch(t, t.TempDir(), flags...)
		s.ready(t)
		servers = append(servers, s)
	}
	one, two := servers[0], servers[1]
	o := &ordeal{
		server: one, rng: rand.New(rand.NewPCG(uint64(seed), 0)),
		acks: map[string]*atomic.Int64{}, stop: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { // before the servers' own
		cancel()
		o.publishing.Wait()
		o.subscribing.Wait()
		for _, l := range o.ledgers {
			l.report(t)
		}
	})
	all := []string{"**"}
	for name, durability := range map[string]string{"main": "", "quick": "async"} {
		o.server = one
		o.domain(t, ctx, name, durability, []work{(*publisher).keyed, (*publisher).bare})
		eventually(t, "the other server has domain "+name, func() bool {
			return ask(t, "GET", two.api+"/t/"+name+"/news", "").status == http.StatusOK
		})
		o.subscribe(t, ctx, "sse at one", overSSE, all)
		o.subscribe(t, ctx, "raw at one", overRawWebSocket, []string{"load/*"})
		o.server = two
		o.employ(t, ctx, []work{(*publisher).keyed, (*publisher).batches})
		o.subscribe(t, ctx, "ndjson at two", overNDJSON, all)
		o.subscribe(t, ctx, "ws at two", overWebSocket, all)
	}
	o.server = one
	// ended says why connections ended.
	ended := func(s *server) string {
		var lines []string
		for line := range strings.Lines(ask(t, "GET", s.admin+"/metrics", "").body) {
			if strings.HasPrefix(line, "crier_connections_ended_total") && !strings.Contains(line, `"page"`) {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	ids := func(s *server) []string {
		ids := map[string]bool{}
		for _, c := range s.connections(t) {
			if c.Transport != "page" {
				ids[c.Transport+" "+c.ID] = true
			}
		}
		return slices.Sorted(maps.Keys(ids))
	}
	// heard waits until each subscriber got something more: a connection is
	// there before its subscription is.
	heard := func() {
		t.Helper()
		for _, sub := range o.subscribers {
			before, _ := sub.state()
			eventually(t, sub.name+" gets something", func() bool {
				now, _ := sub.state()
				return len(now) > len(before)
			})
		}
	}
	heard()
	connected := map[*server][]string{}
	for _, s := range servers {
		if connected[s] = ids(s); len(connected[s]) != 4 {
			t.Fatalf("the connections are %v", connected[s])
		}
	}
	const times = 2
	for i := range times {
		o.awaitLoad(t, 1+o.rng.Int64N(50))
		db.Kill()
		for _, s := range servers {
			eventually(t, "readyz is red", func() bool { return s.readyz(t) == http.StatusServiceUnavailable })
			if got := ids(s); !slices.Equal(got, connected[s]) {
				t.Errorf("without a database the connections %v are left of %v\n%s", got, connected[s], ended(s))
			}
		}
		a := ask(t, "POST", servers[i%2].api+"/t/main/load/nobody", "x")
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("a publish without a database: %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
		}
		a.problem(t)
		db.Start(t)
		for _, s := range servers {
			eventually(t, "ready again", func() bool { return s.readyz(t) == http.StatusOK })
		}
		heard()
	}
	o.awaitLoad(t, 20)
	close(o.stop)
	o.publishing.Wait()
	for _, s := range servers {
		if got := ids(s); !slices.Equal(got, connected[s]) {
			t.Errorf("in the end the connections are %v, they were %v\n%s", got, connected[s], ended(s))
		}
	}
	o.finish(t)
	for _, l := range o.ledgers {
		o.judge(t, l)
	}
	o.checkEpochs(t, "main", 0)
	o.checkEpochs(t, "quick", times)
}
