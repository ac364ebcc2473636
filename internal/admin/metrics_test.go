package admin_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"crier/internal/admin"
)

func TestRequestsAreCountedByRoute(t *testing.T) {
	r := newRig(t)
	r.get("/v1/domains/main").want(200)
	r.get("/v1/domains/main").want(200)
	r.get("/v1/domains/nobody").want(404)
	r.get("/v1/connections/very-private-id").want(404)
	r.get("/nothing").want(404)
	r.as("", "GET", "/v1/status", "").want(401)
	r.as("wrong-token", "GET", "/v1/status?access_token=hush", "").want(401)
	r.as("", "BREW", "/livez", "").want(405)
	r.as(operator, "POST", "/v1/domains", "{}", "Sec-Fetch-Site", "cross-site").want(403)
	text := r.as("", "GET", "/metrics", "").Body
	for _, line := range []string{
		`crier_admin_requests_total{method="GET",route="GET /v1/domains/{name}",status="200"} 2`,
		`crier_admin_requests_total{method="GET",route="GET /v1/domains/{name}",status="404"} 1`,
		`crier_admin_requests_total{method="GET",route="GET /v1/connections/{id}",status="404"} 1`,
		`crier_admin_requests_total{method="GET",route="none",status="404"} 1`,
		`crier_admin_requests_total{method="GET",route="refused",status="401"} 2`,
		`crier_admin_requests_total{method="other",route="none",status="405"} 1`,
		`crier_admin_request_seconds_count{route="GET /v1/domains/{name}"} 3`,
		`crier_admin_refused_total{reason="no_credential"} 1`,
		`crier_admin_refused_total{reason="bad_credential"} 1`,
		`crier_admin_refused_total{reason="cross_origin"} 1`,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	for _, private := range []string{"very-private-id", "wrong-token", "hush", "BREW"} {
		if strings.Contains(text, private) {
			t.Errorf("/metrics has %s", private)
		}
	}
}

func TestLookedUpMetrics(t *testing.T) {
	r := newRig(t)
	r.publish("main", "a", "b", "c")
	r.settle("main", "z")
	r.connect("sse", "main", "b")
	idle := r.connect("sse", "main", "zzz")
	lines := func(want ...string) {
		t.Helper()
		text := r.as("", "GET", "/metrics", "").Body
		for _, line := range want {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("/metrics lacks %s", line)
			}
		}
	}
	lines("crier_ready 1", "crier_access_open 1", "crier_domains 1",
		`crier_subscription_lag_messages_bucket{le="1"} 0`, `crier_subscription_lag_messages_bucket{le="10"} 2`,
		"crier_subscription_lag_messages_count 2", "crier_subscription_lag_messages_sum 8")
	r.manager("main", "**")
	r.setState(admin.Draining)
	idle.Close()
	lines("crier_ready 0", "crier_access_open 0", "crier_subscription_lag_messages_count 1")
	if _, err := admin.New(admin.Config{Hub: r.hub, Access: r.access, Table: r.table, State: func() admin.State { return admin.Listening }, Gatherer: r.reg, Registerer: r.reg}); err == nil {
		t.Error("registered twice")
	}
	r.admin.Close()
	if text := r.as("", "GET", "/metrics", "").Body; strings.Contains(text, "crier_ready") {
		t.Error("still registered after Close")
	}
}

func TestBrokenMetricsAreLogged(t *testing.T) {
	r := newRig(t)
	r.reg.MustRegister(broken{})
	a := r.as("", "GET", "/metrics", "")
	a.want(200)
	if !strings.Contains(a.Body, "crier_build_info") || !strings.Contains(r.log.String(), "a broken metric") {
		t.Errorf("one broken metric took the others with it, or the log is silent: %s", r.log.String())
	}
}

type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(errors.New("a broken metric")), errors.New("a broken metric"))
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := admin.New(admin.Config{}); err == nil {
		t.Error("no error")
	}
}

// documentedMetric is a row of docs/metrics.md.
type documentedMetric struct {
	kind, labels, help string
}

func readMetrics(t *testing.T) map[string]documentedMetric {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]documentedMetric{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !strings.HasPrefix(cells[1], " `crier_") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		name := strings.Trim(cells[1], "`")
		if _, twice := rows[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		rows[name] = documentedMetric{cells[2], strings.ReplaceAll(cells[3], "`", ""), cells[4]}
	}
	return rows
}

// The page has exactly the metrics that are in the code of the server, with
// the same words.
func TestDocumentedMetricsExist(t *testing.T) {
	rows := readMetrics(t)
	inCode := metricsInCode(t, "..")
	for name, help := range inCode {
		if row, ok := rows[name]; !ok {
			t.Errorf("%s (%s) is not in docs/metrics.md", name, help)
		} else if row.help != help {
			t.Errorf("%s: docs/metrics.md says\n%s\nand the code\n%s", name, row.help, help)
		}
	}
	for name, row := range rows {
		if _, ok := inCode[name]; !ok {
			t.Errorf("%s is in docs/metrics.md, but not in the code", name)
		}
		switch {
		case row.kind == "counter" && !strings.HasSuffix(name, "_total"):
			t.Errorf("%s is a counter, its name should end with _total", name)
		case row.kind == "histogram" && !strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_bytes") && !strings.HasSuffix(name, "_messages"):
			t.Errorf("%s is a histogram, its name should end with its unit", name)
		case row.kind == "gauge" && strings.HasSuffix(name, "_total"):
			t.Errorf("%s is a gauge, its name should not end with _total", name)
		}
	}
}

// metricsInCode finds the metrics in the code below a directory, and their
// help: a text that looks like the name of one, and the sentence after it.
func metricsInCode(t *testing.T, dir string) map[string]string {
	t.Helper()
	looks := regexp.MustCompile(`^crier_[a-z0-9_]*[a-z0-9]$`)
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name := ""
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					return true
				}
				if _, known := found[name]; name != "" && (!known || strings.HasSuffix(text, ".")) {
					found[name] = text
				}
				if name = ""; looks.MatchString(text) {
					name = text
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What the page says of a metric is what is registered: kind, labels, help.
// This sees those that this package and the rooms below it have, once each
// was used.
func TestDocumentedMetricsAreRight(t *testing.T) {
	rows := readMetrics(t)
	r := newRig(t)
	r.get("/v1/status").want(200)
	r.as("", "GET", "/v1/status", "").want(401)
	r.connect("sse", "main", "a").Close()
	m := r.table.Metrics()
	m.Refused.WithLabelValues("address")
	m.Ended.WithLabelValues("sse", "done")
	m.Delivered.WithLabelValues("sse")
	m.DeliveredBytes.WithLabelValues("sse")
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "crier_") {
			continue
		}
		seen++
		row, ok := rows[f.GetName()]
		if !ok {
			continue // the other test says so
		}
		got := documentedMetric{strings.ToLower(f.GetType().String()), labelsOf(f), f.GetHelp()}
		if row != got {
			t.Errorf("%s:\ndocs/metrics.md has %+v\nregistered is      %+v", f.GetName(), row, got)
		}
	}
	if seen < 15 {
		t.Errorf("only %d metrics were compared", seen)
	}
}

func labelsOf(f *dto.MetricFamily) string {
	names := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// Rows of docs/metrics.md, as they can be made of what is registered.
func ExampleRegisterProcess() {
	reg := prometheus.NewRegistry()
	admin.RegisterProcess(reg, "v1")
	families, _ := reg.Gather()
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "crier_") {
			fmt.Printf("| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), labelsOf(f), f.GetHelp())
		}
	}
	// Output: | `crier_build_info` | gauge | go, version | Always 1; its labels say which build this is. |
}
