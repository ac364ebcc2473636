package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"crier/internal/access"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/pull"
	"crier/internal/transport/websocket"
)

// Limits of a page and of NDJSON with a limit.
const (
	defaultPage = 100
	maxPage     = 1000
	maxWait     = 60 * time.Second
	maxLimit    = 1 << 31
)

// listen is GET /t/{domain}/{pattern}.
func (a *API) listen(w http.ResponseWriter, r *http.Request, t target, who *access.Identity, s *seat) {
	if websocket.IsUpgrade(r) {
		a.upgrade(w, r, t, who, s)
		return
	}
	w.Header().Add("Vary", "Accept")
	rep := negotiate(r.Header.Values("Accept"))
	if rep == none {
		a.refuse(w, r, problem.NotAcceptable("listeners are served text/event-stream, application/x-ndjson or application/json").On("Accept"))
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		a.refuse(w, r, badQuery(err))
		return
	}
	opts, err := pullOptions(query, rep)
	if err != nil {
		a.refuse(w, r, badRequest(err))
		return
	}
	l, p := a.listenOn(t, query["topic"], who)
	if p == nil {
		p = a.startAt(&l, r.Header, query, opts.byDefault)
	}
	if p != nil {
		a.refuseListener(w, r, p)
		return
	}
	conn, err := a.Table.Open(r.Context(), a.info(r, rep.transport(), t.domain, who))
	if err != nil {
		a.turnAway(w, r, rep, err)
		return
	}
	defer conn.Close()
	s.leave()
	l.Conn = conn
	switch rep {
	case asSSE:
		l.Envelope = query.Get("envelope") == "json"
		err = a.SSE.Serve(w, r, l)
	case asNDJSON:
		err = a.Pull.NDJSON(w, r, l, pull.NDJSONOptions{Limit: opts.limit, UntilLatest: opts.until})
	default:
		err = a.Pull.Page(w, r, l, pull.PageOptions{Limit: opts.limit, Wait: opts.wait})
	}
	if err != nil {
		a.turnAway(w, r, rep, err)
	}
}

func (rep representation) transport() string {
	switch rep {
	case asSSE:
		return "sse"
	case asNDJSON:
		return "ndjson"
	}
	return "page"
}

// turnAway answers a listener that cannot be served now. An EventSource gives
// up for good at any status but 200, so it is asked to come back.
func (a *API) turnAway(w http.ResponseWriter, r *http.Request, rep representation, err error) {
	if rep == asSSE {
		a.Metrics.Refused.WithLabelValues("away").Inc()
		a.SSE.Restart(w, r)
		return
	}
	a.refuse(w, r, a.failed(err))
}

// listenOn checks patterns and rights: the path's pattern, if it has one, and
// those of ?topic=.
func (a *API) listenOn(t target, more []string, who *access.Identity) (transport.Listen, *problem.Problem) {
	names := more
	if t.name != "" {
		names = append([]string{t.name}, more...)
	}
	l := transport.Listen{}
	if len(names) == 0 {
		return l, problem.BadRequest("the path names no pattern, and there is no ?topic=").On("topic")
	}
	if len(names) > a.Limits.Patterns {
		return l, problem.BadRequest(fmt.Sprintf("%d patterns, the limit is %d", len(names), a.Limits.Patterns)).On("topic")
	}
	patterns := make([]topic.Pattern, len(names))
	for i, name := range names {
		p, err := topic.ParsePattern(strings.Clone(name)) // which outlives its request
		if err != nil {
			bad := problem.BadRequest(err.Error())
			if t.name == "" || i > 0 { // else it is the path's
				bad.Field = "topic"
			}
			return l, bad
		}
		patterns[i] = p
	}
	if err := who.May(access.Subscribe, t.domain, patterns...); err != nil {
		return l, a.denied(err)
	}
	d, err := a.Hub.Domain(t.domain)
	if err != nil {
		return l, a.failed(err)
	}
	l.Domain, l.Filter = d, topic.NewFilter(patterns...)
	return l, nil
}

// startAt finds the place to begin: Last-Event-ID, then what stands in for it
// in the query, then ?since=.
func (a *API) startAt(l *transport.Listen, h http.Header, query url.Values, byDefault message.Start) *problem.Problem {
	l.Start = byDefault
	for _, given := range []string{h.Get("Last-Event-ID"), query.Get("last_event_id"), query.Get("lastEventId")} {
		if given == "" {
			continue
		}
		start, err := message.ParseStart(given)
		if err != nil {
			l.Unreadable = printable(given)
		}
		l.Start = start
		return nil
	}
	if since := query.Get("since"); since != "" {
		start, err := message.ParseStart(since)
		if err != nil {
			return problem.BadRequest("since: " + err.Error()).On("since")
		}
		l.Start = start
	}
	return nil
}

// printable makes a cursor that nobody can read safe to hand back.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

type pullQuery struct {
	limit     int
	until     bool
	wait      time.Duration
	byDefault message.Start
}

// pullOptions reads ?limit=, ?until= and ?wait= for a representation.
func pullOptions(query url.Values, rep representation) (pullQuery, error) {
	o := pullQuery{byDefault: message.Latest()}
	if rep == asSSE {
		return o, nil
	}
	most := maxLimit
	if rep == asPage {
		o.limit, most = defaultPage, maxPage
	}
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > most {
			return o, wrong("limit", "limit is a number from 1 to %d, got %q", most, clip(s))
		}
		o.limit = n
	}
	if rep == asNDJSON {
		switch s := query.Get("until"); s {
		case "":
		case "latest":
			o.until = true
		default:
			return o, wrong("until", "until can only be latest, got %q", clip(s))
		}
		if o.until || o.limit > 0 {
			o.byDefault = message.Earliest()
		}
		return o, nil
	}
	if s := query.Get("wait"); s != "" {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !(n >= 0 && n <= maxWait.Seconds()) {
			return o, wrong("wait", "wait is a number of seconds from 0 to %d, got %q", int(maxWait.Seconds()), clip(s))
		}
		o.wait = time.Duration(n * float64(time.Second))
	}
	if o.wait == 0 {
		o.byDefault = message.Earliest()
	}
	return o, nil
}

func (a *API) info(r *http.Request, kind, domain string, who *access.Identity) transport.Info {
	return transport.Info{
		Transport: kind, Domain: domain, Remote: a.Access.Proxies().ClientAddr(r),
		Name: who.String(), Identity: who,
	}
}

// head is HEAD /t/{domain}/{pattern}: where the log is, and from where on the
// pattern is complete.
func (a *API) head(w http.ResponseWriter, r *http.Request, t target, who *access.Identity) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		a.refuse(w, r, badQuery(err))
		return
	}
	l, p := a.listenOn(t, query["topic"], who)
	if p != nil {
		a.refuse(w, r, p)
		return
	}
	latest, err := l.Domain.Head(r.Context())
	var earliest message.ID
	if err == nil {
		earliest, err = l.Domain.Complete(r.Context(), l.Filter)
	}
	if err != nil {
		a.refuse(w, r, a.failed(err))
		return
	}
	h := w.Header()
	h.Add("Vary", "Accept")
	h.Set("Crier-Latest", latest.String())
	h.Set("Crier-Earliest", earliest.String())
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// forget is DELETE /t/{domain}/{topic}.
func (a *API) forget(w http.ResponseWriter, r *http.Request, t target, who *access.Identity) {
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		a.refuse(w, r, badQuery(err))
		return
	}
	if err := topic.Check(t.name); err != nil {
		a.refuse(w, r, problem.BadRequest(err.Error()))
		return
	}
	if err := who.May(access.Manage, t.domain, topic.Exactly(t.name)); err != nil {
		a.refuse(w, r, a.denied(err))
		return
	}
	d, err := a.Hub.Domain(t.domain)
	if err == nil {
		err = d.Forget(r.Context(), t.name)
	}
	if err != nil {
		a.refuse(w, r, a.failed(err))
		return
	}
	a.Logger.Info("history deleted", "domain", t.domain, "topic", access.LoggedTopic(t.name), "by", who.String())
	w.WriteHeader(http.StatusNoContent)
}
