package main_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Every load runs beside the limit, and says of both what they came to.
func TestBench(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the limit is known for Linux only")
	}
	for _, tt := range []struct {
		args    string
		figures []string // that have a ratio
	}{
		{"publish --connections 4", []string{"published", "processor time a message", "until acknowledged, p99"}},
		{"publish --connections 4 --via ws --frames 2 --batch 3", []string{"published", "processor time a message"}},
		{"fanout --subscribers 50 --rate 100", []string{"delivered", "processor time a delivery", "to the last reader, p99"}},
		{"fanout --subscribers 50 --rate 0 --batch 5 --together --transport ws", []string{"delivered", "processor time a delivery"}},
		{"unicast --subscribers 50 --rate 200", []string{"processor time a delivery", "to each reader, p50"}},
		{"replay --messages 2000 --readers 5 --transport sse", []string{"delivered", "processor time a message"}},
		{"replay --messages 2000 --readers 2 --cold", []string{"delivered", "first message after"}},
		{"storm --subscribers 50", []string{"all had what they missed", "processor time a subscriber"}},
		{"idle --subscribers 50 --topics 50 --settle 50ms", []string{"connected", "processor time a connection made"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel() // it waits for most of its time
			args := append([]string{"bench"}, strings.Fields(tt.args)...)
			args = append(args, "--reference", "--rounds", "2", "--duration", "200ms", "--warmup", "50ms", "--durability", "async", "--json")
			out := call{t: t}.ok(args...)
			var r struct {
				Rounds  int
				Figures []struct {
					Name, Unit           string
					Server, Limit, Ratio float64
				}
				Server, Limit []json.RawMessage
				Lost          *int
				Failures      int
			}
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if r.Rounds != 2 || len(r.Server) != 2 || len(r.Limit) != 2 || r.Lost == nil || *r.Lost != 0 || r.Failures != 0 {
				t.Errorf("%s", out)
			}
			ratios := map[string]string{}
			for _, f := range r.Figures {
				if f.Limit > 0 {
					ratios[f.Name] = fmt.Sprintf("%.6f", f.Ratio-f.Server/f.Limit)
				}
			}
			for _, name := range tt.figures {
				if ratios[name] != "0.000000" && ratios[name] != "-0.000000" {
					t.Errorf("no ratio of %q in %+v", name, r.Figures)
				}
			}
		})
	}
}

func TestBenchText(t *testing.T) {
	out := call{t: t}.ok("bench", "fanout", "--subscribers", "20", "--rate", "100", "--rounds", "2", "--duration", "200ms", "--warmup", "0s")
	for _, want := range []string{"fanout: 20 subscribers over sse", "medians of 2 rounds\n", "to the last reader, p99", "lost, doubled, swapped"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// A server that wants a key is told apart from one that answers nonsense.
func TestBenchWithoutKey(t *testing.T) {
	s := serve(t, t.TempDir())
	s.ok("key", "create", "--publish", "a")
	for _, load := range []string{"publish", "fanout"} {
		o := s.run("bench", load, "--server", s.api, "--duration", "100ms", "--warmup", "0s")
		if o.code != 1 || !strings.Contains(o.err, "401") || !strings.Contains(o.err, "--token") {
			t.Errorf("%s: exit code %d, want 1 with what to give:\n%s", load, o.code, o.err)
		}
	}
}
