package realizehit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
)

// What publishers are told.
const (
	textQueued  = "Your payload has been queued for delivery"
	textBody    = "Please include your arguments on body"
	textPattern = "Please include .pattern in your request body"
	textPayload = "Please include .payload in your request body"
	textFault   = "An error has occurred on the Server, sorry"
)

const (
	envelope = 64 << 10 // what a body may have beside its payload
	bodyWait = time.Minute
)

// publication is a body that was found good.
type publication struct {
	pattern Pattern
	payload []byte
}

// refused is a body that is not.
type refused struct {
	status int
	text   string
}

func (e *refused) Error() string { return e.text }

func say(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (d *Dialect) preflight(w http.ResponseWriter, r *http.Request) {
	if d.cfg.Access.CORS(w.Header(), r) {
		w.Header().Set("Access-Control-Allow-Methods", "POST")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		w.Header().Set("Access-Control-Max-Age", "86400")
	}
	w.WriteHeader(http.StatusNoContent)
}

// post is POST /: {"pattern":{…},"payload":…}.
func (d *Dialect) post(w http.ResponseWriter, r *http.Request) {
	d.cfg.Access.CORS(w.Header(), r)
	who, err := d.enter(r, access.Publish)
	if err != nil {
		d.deny(w, err)
		return
	}
	p, err := d.read(w, r)
	if err == nil {
		err = d.publish(r, who, p)
	}
	if refusal, ok := errors.AsType[*refused](err); ok {
		say(w, refusal.status, refusal.text)
		return
	}
	if err != nil {
		d.cfg.Logger.Warn("realizehit: not published", "error", err)
		say(w, http.StatusInternalServerError, textFault)
		return
	}
	say(w, http.StatusOK, textQueued)
}

func (d *Dialect) deny(w http.ResponseWriter, err error) {
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		d.cfg.Logger.Error("access failed", "error", err)
		say(w, http.StatusInternalServerError, textFault)
		return
	}
	if c := refusal.Challenge(); c != "" {
		w.Header().Set("WWW-Authenticate", c)
	}
	say(w, refusal.Status(), refusal.Detail)
}

// read takes a body in. Errors that are the sender's are [*refused].
func (d *Dialect) read(w http.ResponseWriter, r *http.Request) (publication, error) {
	var p publication
	no := func(text string) (publication, error) { return p, &refused{http.StatusBadRequest, text} }
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return no(textBody)
	}
	limit := int64(d.cfg.MaxMessage + envelope)
	tooLong := &refused{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is over the limit of %d bytes", limit)}
	if r.ContentLength > limit {
		return p, tooLong
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyWait))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil { // else net/http, which reads what is left, would wait for ever
		_ = rc.SetReadDeadline(time.Time{})
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return p, tooLong
	}
	if err != nil {
		return no("the body could not be read")
	}
	var fields map[string]json.RawMessage
	if !utf8.Valid(body) || json.Unmarshal(body, &fields) != nil || fields == nil {
		return no(textBody)
	}
	var filters map[string]json.RawMessage
	if json.Unmarshal(fields["pattern"], &filters) != nil || len(filters) == 0 {
		return no(textPattern)
	}
	payload, there := fields["payload"]
	if !there {
		return no(textPayload)
	}
	if p.pattern, err = ParsePattern(fields["pattern"], false); err != nil {
		return no(err.Error())
	}
	if len(payload) > d.cfg.MaxMessage {
		return p, &refused{http.StatusRequestEntityTooLarge, fmt.Sprintf("the payload is %d bytes long, the limit is %d", len(payload), d.cfg.MaxMessage)}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, payload); err != nil {
		return no(textBody)
	}
	p.payload = compact.Bytes()
	return p, nil
}

// publish appends a payload, and has Redis told of it.
func (d *Dialect) publish(r *http.Request, who *access.Identity, p publication) error {
	if d.cfg.Rate != nil {
		credential := "anonymous"
		if who != nil {
			credential = who.Credential()
		}
		if ok, wait := d.cfg.Rate.Take(credential, 1); !ok {
			return &refused{http.StatusTooManyRequests, fmt.Sprintf("this credential is over the limit of %.4g publishes a second (--publish-rate); try again in %v", d.cfg.Rate.Rate(), wait.Round(time.Millisecond))}
		}
	}
	domain, err := d.cfg.Hub.Domain(hub.Main)
	if err != nil {
		return err
	}
	receipt, err := domain.Publish(r.Context(), engine.Block{Drafts: []message.Draft{{
		Topic: p.pattern.Topic(), Data: p.payload, ContentType: contentType,
	}}})
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if d.cfg.Redis != nil {
		d.cfg.Redis.Post(receipt.First, p.pattern, p.payload)
	}
	return nil
}
