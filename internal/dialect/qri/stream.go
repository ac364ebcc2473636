package qri

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"crier/internal/dialect"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
	"crier/internal/transport"
)

// While the engine is away a listener that comes waits, and is not refused: an
// EventSource, and QRI's library even more so, gives up for good.
const (
	waitFirst = 100 * time.Millisecond
	waitMost  = 2 * time.Second
)

// stream is GET /stream?p=<peer>&s=<checksum>.
func (q *QRI) stream(w http.ResponseWriter, r *http.Request) {
	allowed := q.door.CORS(w.Header(), r)
	switch {
	case r.Method == http.MethodOptions:
		q.preflight(w, allowed, "GET", "Last-Event-ID, Cache-Control")
		return
	case !allowed:
		q.door.Refuse(w, r, dialect.Forbidden())
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET, OPTIONS")
		q.door.Refuse(w, r, problem.MethodNotAllowed("a stream is for GET"))
		return
	}
	l, err := q.listen(r)
	if err != nil {
		q.turnAway(w, r, err)
		return
	}
	l.Conn, err = q.cfg.Table.Open(r.Context(), transport.Info{
		Transport: "sse", Domain: hub.Main, Name: dialectName,
		Remote: q.cfg.Access.Proxies().ClientAddr(r), Mask: checksumMask{},
	})
	if err != nil {
		q.turnAway(w, r, err)
		return
	}
	defer l.Conn.Close()
	w.Header().Set("Cache-Control", "no-cache")
	for wait := waitFirst; ; wait = min(2*wait, waitMost) {
		if err = q.cfg.SSE.ServeAs(w, r, l, q.format); err == nil {
			return
		}
		if !pause(l.Conn.Context(), wait) {
			w.Header().Del("Cache-Control")
			q.turnAway(w, r, context.Cause(l.Conn.Context()))
			return
		}
	}
}

// turnAway refuses what is wrong with a request. A listener that cannot be
// served now is asked to come back, in an event of a name that QRI's clients
// pass over.
func (q *QRI) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	if _, wrong := errors.AsType[*problem.Problem](err); wrong {
		q.door.Refuse(w, r, err)
		return
	}
	q.cfg.SSE.Restart(w, r)
}

// listen works out of a request what it listens to, and from where on.
func (q *QRI) listen(r *http.Request) (l transport.Listen, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return l, problem.BadRequest("the query cannot be read: " + err.Error())
	}
	for _, f := range []struct{ name, what string }{{"p", "peer"}, {"s", "checksum"}} {
		if query.Get(f.name) == "" {
			return l, problem.BadRequest(fmt.Sprintf("%s, the %s, is missing: a stream is /stream?p=<peer>&s=<checksum>", f.name, f.what)).On(f.name)
		}
	}
	if l.Domain, err = q.cfg.Hub.Domain(hub.Main); err != nil {
		return l, err
	}
	l.Filter = topic.NewFilter(topic.Exactly(Topic(query.Get("p"), query.Get("s"))), notices)
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = query.Get("lastEventId") // of QRI's own polyfill
	}
	if last == "" {
		return l, nil
	}
	if l.Start, err = message.ParseStart(last); err != nil {
		l.Unreadable = printable(last) // an id of the ancestor's: a gap
	}
	return l, nil
}

// printable makes a cursor that nobody can read safe to hand back.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// pause waits; false: the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// checksumMask hides a checksum, which is half of a capability.
type checksumMask struct{}

// Mask implements [transport.Mask].
func (checksumMask) Mask(pattern string) string {
	if rest, ok := strings.CutPrefix(pattern, Root+"/"); ok {
		peer, _, _ := strings.Cut(rest, "/")
		return Root + "/" + peer + "/…"
	}
	return pattern
}

// preflight answers what browsers ask before a request across origins; whose
// origin may, CORS has said in the headers already.
func (q *QRI) preflight(w http.ResponseWriter, allowed bool, methods, headers string) {
	if allowed {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Allow-Headers", headers)
		h.Set("Access-Control-Max-Age", "86400")
	}
	w.WriteHeader(http.StatusNoContent)
}
