package server_test

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// below says which packages of ours each may import: the table of
// ARCHITECTURE.md. A name with a slash at its end stands for all below it.
var below = map[string][]string{
	"cmd/crier":                          {"client", "internal/"},
	"client":                             {},
	"internal/message":                   {},
	"internal/topic":                     {},
	"internal/problem":                   {},
	"internal/seglog":                    {},
	"internal/seglog/faultfs":            {"internal/seglog"},
	"internal/config":                    {},
	"internal/bench":                     {},
	"internal/bench/limit":               {},
	"internal/engine":                    {"internal/message", "internal/topic"},
	"internal/engine/watch":              {},
	"internal/engine/enginetest":         {"internal/engine", "internal/message", "internal/topic"},
	"internal/engine/memory":             {"internal/engine", "internal/engine/watch", "internal/message", "internal/topic"},
	"internal/engine/embedded":           {"internal/engine", "internal/engine/embedded/", "internal/engine/memory", "internal/seglog", "internal/message", "internal/topic"},
	"internal/engine/embedded/record":    {"internal/engine", "internal/message", "internal/topic"},
	"internal/engine/embedded/index":     {"internal/engine", "internal/engine/embedded/record", "internal/seglog", "internal/message", "internal/topic"},
	"internal/engine/embedded/registry":  {"internal/engine", "internal/engine/watch"},
	"internal/engine/mongodb":            {"internal/engine", "internal/engine/memory", "internal/engine/watch", "internal/message", "internal/topic"},
	"internal/engine/mongodb/mongotest":  {},
	"internal/access":                    {"internal/engine", "internal/topic"},
	"internal/hub":                       {"internal/engine", "internal/message", "internal/topic"},
	"internal/wire":                      {},
	"internal/transport":                 {"internal/wire", "internal/hub", "internal/message", "internal/topic"},
	"internal/transport/transporttest":   {"internal/transport", "internal/wire", "internal/hub", "internal/engine", "internal/engine/memory", "internal/message", "internal/topic"},
	"internal/transport/sse":             {"internal/transport", "internal/wire", "internal/hub", "internal/message", "internal/topic"},
	"internal/transport/pull":            {"internal/transport", "internal/engine", "internal/hub", "internal/message", "internal/topic"},
	"internal/transport/websocket":       {"internal/transport", "internal/wire", "internal/transport/websocket/frame", "internal/hub", "internal/engine", "internal/problem", "internal/message", "internal/topic"},
	"internal/transport/websocket/frame": {},
	"internal/transport/engineio":        {"internal/transport", "internal/transport/engineio/packet", "internal/transport/websocket/frame", "internal/hub"},
	"internal/transport/engineio/packet": {},
	"internal/dialect/pushcart":          {"internal/access", "internal/dialect/redislink", "internal/dialect/pushcart/account", "internal/hub", "internal/engine", "internal/transport", "internal/message", "internal/topic"},
	"internal/dialect/pushcart/account":  {"internal/engine"},
	"internal/dialect/realizehit":        {"internal/access", "internal/dialect/name", "internal/dialect/redislink", "internal/hub", "internal/engine", "internal/transport", "internal/transport/engineio", "internal/message", "internal/topic"},
	"examples/engineio-echo":             {"internal/transport", "internal/transport/engineio"},
	"internal/httpapi/strict":            {},
	"internal/httpapi":                   {"internal/httpapi/strict", "internal/access", "internal/hub", "internal/engine", "internal/problem", "internal/transport", "internal/transport/", "internal/wire", "internal/message", "internal/topic"},
	"internal/dialect":                   {"internal/access", "internal/hub", "internal/engine", "internal/problem", "internal/transport"},
	"internal/dialect/name":              {"internal/topic"},
	"internal/dialect/qri":               {"internal/dialect", "internal/dialect/name", "internal/dialect/qri/", "internal/access", "internal/hub", "internal/engine", "internal/problem", "internal/transport", "internal/transport/sse", "internal/message", "internal/topic"},
	"internal/dialect/qri/ber":           {},
	"internal/dialect/qri/notice":        {"internal/dialect/name", "internal/hub", "internal/engine", "internal/message"},
	"internal/dialect/wspubsub":          {"internal/dialect", "internal/dialect/name", "internal/dialect/wspubsub/keys", "internal/access", "internal/hub", "internal/engine", "internal/problem", "internal/transport", "internal/transport/websocket", "internal/message", "internal/topic"},
	"internal/dialect/wspubsub/keys":     {"internal/engine"},
	"internal/dialect/wspubsub/pgtest":   {},
	"internal/dialect/wspubsub/pgkeys":   {"internal/dialect/wspubsub/keys"},
	"internal/dialect/redislink":         {"internal/engine"},
	"internal/dialect/redistest":         {},
	"internal/admin":                     {"internal/dialect/pushcart/account", "internal/dialect/name", "internal/dialect/qri/notice", "internal/dialect/wspubsub/keys", "internal/access", "internal/hub", "internal/engine", "internal/problem", "internal/transport", "internal/message", "internal/topic"},
	"internal/server/early":              {},
	"internal/server":                    {"internal/"},
	"internal/e2e":                       {"client"},
}

// TestImportsPointDown holds every import between packages of ours to the
// table: tests apart, nothing knows what stands above or beside it.
func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "crier/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	house, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	gone := maps.Clone(below)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], "crier/")
		delete(gone, name)
		if !strings.Contains(string(house), "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md does not name %s", name)
		}
		allowed, known := below[name]
		if !known {
			t.Errorf("package %s is not in the table: say in ARCHITECTURE.md what it is and here what it may import", name)
			continue
		}
		for _, imported := range fields[1:] {
			dep, ours := strings.CutPrefix(imported, "crier/")
			if ours && !slices.ContainsFunc(allowed, func(a string) bool {
				return a == dep || strings.HasSuffix(a, "/") && strings.HasPrefix(dep, a)
			}) {
				t.Errorf("%s must not import %s", name, dep)
			}
		}
	}
	for name := range gone {
		t.Errorf("the table has %s, which is not there", name)
	}
}
