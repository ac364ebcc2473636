package engineio

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"crier/internal/transport"
	"crier/internal/transport/engineio/packet"
)

// fault is an error of the protocol as the client sees it.
type fault struct {
	code    int
	message string
}

// The faults that there are.
var (
	faultTransport = fault{0, "Transport unknown"}
	faultSession   = fault{1, "Session ID unknown"}
	faultMethod    = fault{2, "Bad handshake method"}
	faultRequest   = fault{3, "Bad request"}
	faultForbidden = fault{4, "Forbidden"}
	faultVersion   = fault{5, "Unsupported protocol version"}
)

// refuse answers with a fault: as JSON, or, where a WebSocket was to begin, as
// text, with which the connection ends.
func refuse(w http.ResponseWriter, f fault, socket bool) {
	status := http.StatusBadRequest
	if f.code == faultForbidden.code {
		status = http.StatusForbidden
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	body := []byte(f.message)
	if socket {
		h.Set("Connection", "close")
		h.Set("Content-Type", "text/html")
	} else {
		h.Set("Content-Type", "application/json")
		body, _ = json.Marshal(struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}{f.code, f.message})
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// bare answers with a status and nothing else.
func bare(w http.ResponseWriter, status int) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

// ServeHTTP serves every request of Engine.IO, whatever its path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	allowed := s.cfg.CORS(w.Header(), r)
	if r.Method == http.MethodOptions {
		preflight(w, r, allowed)
		return
	}
	socket := isUpgrade(r)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || query.Has("j") { // JSONP, by which any page could read along, is not served
		refuse(w, faultRequest, socket)
		return
	}
	switch kind := query.Get("transport"); {
	case kind != "polling" && kind != "websocket":
		refuse(w, faultTransport, socket)
	case socket != (kind == "websocket"):
		refuse(w, faultRequest, socket)
	case query.Get("sid") != "":
		s.resume(w, r, query.Get("sid"), socket)
	case r.Method != http.MethodGet:
		refuse(w, faultMethod, socket)
	default:
		s.open(w, r, query, socket)
	}
}

// preflight answers what browsers ask before a request across origins.
func preflight(w http.ResponseWriter, r *http.Request, allowed bool) {
	h := w.Header()
	if allowed {
		h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
		}
		h.Set("Access-Control-Max-Age", "86400")
	}
	w.WriteHeader(http.StatusNoContent)
}

// open begins a session.
func (s *Server) open(w http.ResponseWriter, r *http.Request, query url.Values, socket bool) {
	var v packet.Version
	switch query.Get("EIO") {
	case "3":
		v = packet.V3
	case "4":
		v = packet.V4
	default:
		refuse(w, faultVersion, socket)
		return
	}
	var key string
	if socket {
		var ok bool
		if key, ok = socketKey(r); !ok {
			refuse(w, faultRequest, socket)
			return
		}
	}
	admission, err := s.cfg.Accept(r)
	if err != nil {
		f := faultForbidden
		if refusal, ok := errors.AsType[*Refusal](err); ok {
			f.message = refusal.Message
		} else {
			s.cfg.Logger.Debug("session refused", "error", err)
		}
		refuse(w, f, socket)
		return
	}
	one, err := s.newSession(v, query.Get("b64") != "", admission)
	if err != nil {
		f := faultForbidden
		if errors.Is(err, transport.ErrTooMany) || errors.Is(err, transport.ErrDraining) {
			f.message = err.Error()
		}
		refuse(w, f, socket)
		return
	}
	one.outgoing = []packet.Packet{{Type: packet.Open, Data: one.handshake(socket)}}
	if socket {
		one.beginSocket(w, r, key)
	} else {
		one.answerPoll(w, r)
	}
}

// handshake is what the open packet says.
func (s *Session) handshake(socket bool) []byte {
	cfg := &s.srv.cfg
	upgrades := []string{"websocket"}
	if socket {
		upgrades = []string{}
	}
	b, _ := json.Marshal(struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"`
	}{s.sid, upgrades, cfg.PingInterval.Milliseconds(), cfg.PingTimeout.Milliseconds(), cfg.MaxPayload})
	return b
}

// resume serves a request of a session that there should be.
func (s *Server) resume(w http.ResponseWriter, r *http.Request, sid string, socket bool) {
	one := s.find(sid)
	if one != nil && one.pulse.late() {
		one.end(ErrUnanswered)
		one = nil
	}
	switch {
	case one == nil:
		refuse(w, faultSession, socket)
	case socket:
		key, ok := socketKey(r)
		if !ok {
			refuse(w, faultRequest, socket)
			return
		}
		one.probeSocket(w, r, key)
	case r.Method == http.MethodGet:
		one.answerPoll(w, r)
	case r.Method == http.MethodPost:
		one.answerPost(w, r)
	default:
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		bare(w, http.StatusMethodNotAllowed)
	}
}
