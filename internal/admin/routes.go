package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"crier/internal/access"
	"crier/internal/problem"
)

// callTimeout bounds one call of the management API, so that an engine that
// hangs is answered for.
const callTimeout = 30 * time.Second

// call is a request to the management API whose credential was checked.
type call struct {
	*http.Request
	w     http.ResponseWriter
	who   scope
	query url.Values // only what the route takes, each once
}

// route is one line of the management API. The handler answers, or returns an
// error that has not been answered.
type route struct {
	method, path string
	query        []string // the parameters that it takes
	handle       func(*call) error
}

// routes is the whole management API.
func (a *Admin) routes() []route {
	return []route{
		{"GET", "/v1/status", nil, a.getStatus},
		{"GET", "/v1/openapi.json", nil, a.getOpenAPI},

		{"GET", "/v1/domains", []string{"after", "limit"}, a.listDomains},
		{"POST", "/v1/domains", nil, a.createDomain},
		{"GET", "/v1/domains/{name}", nil, a.getDomain},
		{"PATCH", "/v1/domains/{name}", nil, a.patchDomain},
		{"DELETE", "/v1/domains/{name}", nil, a.deleteDomain},
		{"POST", "/v1/domains/{name}/epoch", nil, a.beginEpoch},
		{"GET", "/v1/domains/{name}/topics", []string{"pattern", "after", "limit"}, a.listTopics},
		{"DELETE", "/v1/domains/{name}/topics/{topic...}", nil, a.forgetTopic},

		{"GET", "/v1/keys", []string{"domain", "after", "limit"}, a.listKeys},
		{"POST", "/v1/keys", nil, a.createKey},
		{"GET", "/v1/keys/{id}", nil, a.getKey},
		{"DELETE", "/v1/keys/{id}", nil, a.revokeKey},

		{"GET", "/v1/notices", []string{"after", "limit"}, a.listNotices},
		{"GET", "/v1/notices/{type}", nil, a.getNotice},
		{"PUT", "/v1/notices/{type}", nil, a.setNotice},
		{"DELETE", "/v1/notices/{type}", nil, a.deleteNotice},

		{"GET", "/v1/wspubsub/keys", []string{"domain", "after", "limit"}, a.listPubSubKeys},
		{"POST", "/v1/wspubsub/keys", nil, a.createPubSubKey},
		{"GET", "/v1/wspubsub/keys/{id}", nil, a.getPubSubKey},
		{"DELETE", "/v1/wspubsub/keys/{id}", nil, a.revokePubSubKey},

		{"GET", "/v1/apps", []string{"after", "limit"}, a.listApps},
		{"POST", "/v1/apps", nil, a.createApp},
		{"GET", "/v1/apps/{id}", nil, a.getApp},
		{"DELETE", "/v1/apps/{id}", nil, a.revokeApp},
		{"POST", "/v1/apps/{id}/token", nil, a.rotateApp},
		{"GET", "/v1/clients", []string{"after", "limit"}, a.listClients},
		{"POST", "/v1/clients", nil, a.createClient},
		{"GET", "/v1/clients/{id}", nil, a.getClient},
		{"DELETE", "/v1/clients/{id}", nil, a.revokeClient},
		{"POST", "/v1/clients/{id}/token", nil, a.rotateClient},

		{"GET", "/v1/connections", []string{"domain", "transport", "after", "limit"}, a.listConnections},
		{"GET", "/v1/connections/{id}", nil, a.getConnection},
		{"DELETE", "/v1/connections/{id}", nil, a.closeConnection},
	}
}

// public are the paths that need no token.
var public = []string{"/", "/livez", "/readyz", "/metrics"}

func (a *Admin) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, rt := range a.routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) { a.serve(rt, w, r) })
	}
	mux.HandleFunc("GET /{$}", a.frontPage)
	mux.HandleFunc("GET /livez", a.livez)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Gatherer, promhttp.HandlerOpts{
		ErrorLog: promLog{a.Logger}, ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: 8, Timeout: 10 * time.Second,
	}))
	for path, handle := range map[string]http.HandlerFunc{
		"GET /debug/pprof/":        pprof.Index,
		"GET /debug/pprof/cmdline": pprof.Cmdline,
		"GET /debug/pprof/profile": pprof.Profile,
		"GET /debug/pprof/symbol":  pprof.Symbol,
		"GET /debug/pprof/trace":   pprof.Trace,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := whoOf(r).operatorOnly("profile the server"); err != nil {
				a.fail(w, r, err)
				return
			}
			handle(w, r)
		})
	}
	return mux
}

// What stands for a route in metrics where there is none.
const (
	routeRefused = "refused" // before it was looked for
	routeNone    = "none"    // no such path, or not with this method
)

// dispatch checks what is the same for all paths, and has the route serve. It
// returns the route's pattern.
func (a *Admin) dispatch(w http.ResponseWriter, r *http.Request) (pattern string) {
	if err := a.cross.Check(r); err != nil {
		a.Metrics.refused("cross_origin")
		problem.Write(w, r, problem.Forbidden("a page of another site may not use the operator's listener"))
		return routeRefused
	}
	if !slices.Contains(public, r.URL.Path) {
		who, err := a.authenticate(r)
		if err != nil {
			a.fail(w, r, err)
			return routeRefused
		}
		r = r.WithContext(context.WithValue(r.Context(), whoKey{}, who))
	}
	if p := checkPath(r.URL.Path); p != nil {
		problem.Write(w, r, p)
		return routeNone
	}
	h, pattern := a.mux.Handler(r)
	// The mux would redirect to the same path with a slash at its end.
	redirected := strings.Count(pattern, "/") > strings.Count(r.URL.Path, "/")
	if pattern == "" || redirected {
		a.noRoute(w, r, h)
		return routeNone
	}
	a.mux.ServeHTTP(w, r)
	return pattern
}

// checkPath refuses what the mux would redirect to another path: a DELETE
// must not find itself somewhere else.
func checkPath(path string) *problem.Problem {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i > 0 && i < len(segments)-1 {
			return problem.BadRequest(fmt.Sprintf("segment %d of the path is %q; paths are taken as they are, write it without", i, s))
		}
	}
	if segments[0] != "" {
		return problem.BadRequest("the path does not begin with a slash")
	}
	return nil
}

// noRoute answers where the mux has nothing: what it would have said, as a
// problem.
func (a *Admin) noRoute(w http.ResponseWriter, r *http.Request, h http.Handler) {
	said := &discarder{header: http.Header{}}
	h.ServeHTTP(said, r)
	if allow := said.header.Get("Allow"); said.status == http.StatusMethodNotAllowed && allow != "" {
		w.Header().Set("Allow", allow)
		problem.Write(w, r, problem.MethodNotAllowed("this path takes "+allow))
		return
	}
	problem.Write(w, r, problem.NotFound("nothing is at this path; /v1/openapi.json lists what there is"))
}

type discarder struct {
	header http.Header
	status int
}

func (d *discarder) Header() http.Header         { return d.header }
func (d *discarder) Write(b []byte) (int, error) { return len(b), nil }
func (d *discarder) WriteHeader(status int)      { d.status = status }

// serve runs a route of the management API.
func (a *Admin) serve(rt route, w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	query, err := readQuery(r.URL.RawQuery, rt.query)
	if err == nil {
		err = rt.handle(&call{Request: r, w: w, who: whoOf(r), query: query})
	}
	if err != nil {
		a.fail(w, r, err)
	}
}

type whoKey struct{}

// whoOf gives who a request is from; nobody, if it was not asked.
func whoOf(r *http.Request) scope {
	who, _ := r.Context().Value(whoKey{}).(*access.Identity)
	return scope{who}
}
