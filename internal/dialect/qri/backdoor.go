package qri

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"crier/internal/access"
	"crier/internal/dialect"
	"crier/internal/dialect/qri/notice"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
)

// maxBody bounds the body of a call, in bytes: a message of which every byte
// is escaped, and then some.
const maxBody = 4*notice.MaxMessage + 1024

const backdoorMethods = "GET, POST, DELETE"

// backdoor is /backdoor: notices to everybody.
func (q *QRI) backdoor(w http.ResponseWriter, r *http.Request) {
	allowed := q.door.CORS(w.Header(), r)
	switch r.Method {
	case http.MethodOptions:
		q.preflight(w, allowed, backdoorMethods, "Content-Type, Authorization")
		return
	case http.MethodGet, http.MethodPost, http.MethodDelete:
	default:
		w.Header().Set("Allow", backdoorMethods+", OPTIONS")
		q.door.Refuse(w, r, problem.MethodNotAllowed("/backdoor takes "+backdoorMethods))
		return
	}
	if !allowed {
		q.door.Refuse(w, r, dialect.Forbidden())
		return
	}
	if err := q.authorize(r); err != nil {
		q.door.Refuse(w, r, err)
		return
	}
	f, err := readFields(w, r)
	if err == nil {
		err = q.call(w, r, f)
	}
	if err != nil {
		q.door.Refuse(w, r, backdoorProblem(err))
	}
}

// authorize wants the operator's token, or a key that may manage the topics of
// notices; also while the server is open to everybody.
func (q *QRI) authorize(r *http.Request) error {
	if q.cfg.Open {
		return nil
	}
	token, fromURL, err := access.TokenOf(r)
	if err != nil {
		return err
	}
	who, err := q.cfg.Access.AuthenticateToken(r.Context(), token, fromURL)
	if err != nil {
		return err
	}
	return who.May(access.Manage, hub.Main, notices)
}

// call does what a checked request asks for, and answers it.
func (q *QRI) call(w http.ResponseWriter, r *http.Request, f fields) error {
	if f.typ == nil {
		return problem.BadRequest("type is missing: the three characters of a notice, such as 102").On("type")
	}
	if err := notice.CheckType(*f.typ); err != nil {
		return err
	}
	ctx := r.Context()
	switch r.Method {
	case http.MethodGet:
		return q.answer(w, r, *f.typ)
	case http.MethodPost:
		if f.message == nil {
			return problem.BadRequest("message is missing: the text of the notice").On("message")
		}
		if _, err := q.cfg.Notices.Set(ctx, *f.typ, *f.message); err != nil {
			return err
		}
		q.cfg.Logger.InfoContext(ctx, "notice set", "type", *f.typ, "bytes", len(*f.message))
	case http.MethodDelete:
		if err := q.cfg.Notices.Delete(ctx, *f.typ); err != nil {
			return err
		}
		q.cfg.Logger.InfoContext(ctx, "notice deleted", "type", *f.typ)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answer tells a notice, or null.
func (q *QRI) answer(w http.ResponseWriter, r *http.Request, typ string) error {
	body := struct {
		Type    string  `json:"type"`
		Message *string `json:"message"`
	}{Type: typ}
	n, err := q.cfg.Notices.Get(r.Context(), typ)
	switch {
	case err == nil:
		body.Message = &n.Message
	case !errors.Is(err, engine.ErrNotFound):
		return err
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return fmt.Errorf("encode notice: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, strings.TrimSuffix(b.String(), "\n")) // a client that is gone is nobody to tell
	return nil
}

// backdoorProblem maps the errors of notices.
func backdoorProblem(err error) error {
	switch {
	case errors.Is(err, notice.ErrInvalid):
		return problem.BadRequest(err.Error())
	case errors.Is(err, notice.ErrFull):
		return problem.Conflict(err.Error())
	}
	return err
}

// fields of a call; nil: not given.
type fields struct{ typ, message *string }

// readFields takes them from the body, a form or a JSON object, and what is
// not there from the query.
func readFields(w http.ResponseWriter, r *http.Request) (fields, error) {
	var f fields
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return f, problem.BadRequest("the query cannot be read: " + err.Error())
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooBig := errors.AsType[*http.MaxBytesError](err); tooBig {
			return f, problem.TooLarge(fmt.Sprintf("the body is over the limit of %d bytes; a message has at most %d", maxBody, notice.MaxMessage))
		}
		return f, problem.BadRequest("the body could not be read: " + err.Error())
	}
	if len(body) > 0 {
		if f, err = bodyFields(r.Header.Get("Content-Type"), body); err != nil {
			return f, err
		}
	}
	f.typ, f.message = given(f.typ, query, "type"), given(f.message, query, "message")
	return f, nil
}

// given takes a field from a form, unless there is one already.
func given(field *string, form url.Values, name string) *string {
	if field == nil && form.Has(name) {
		field = new(form.Get(name))
	}
	return field
}

// bodyFields reads a body; without a Content-Type it is a form.
func bodyFields(contentType string, body []byte) (f fields, err error) {
	kind := "application/x-www-form-urlencoded"
	if contentType != "" {
		if kind, _, err = mime.ParseMediaType(contentType); err != nil {
			return f, problem.UnsupportedMedia("Content-Type cannot be read: " + err.Error())
		}
	}
	switch kind {
	case "application/json":
		var j struct {
			Type    *string `json:"type"`
			Message *string `json:"message"`
		}
		if err := json.Unmarshal(body, &j); err != nil {
			return f, problem.BadRequest(`the body is not a JSON object such as {"type":"102","message":"We restart at noon"}: ` + err.Error())
		}
		return fields{j.Type, j.Message}, nil
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return f, problem.BadRequest("the body is not a form such as type=102&message=We+restart: " + err.Error())
		}
		return fields{given(nil, form, "type"), given(nil, form, "message")}, nil
	}
	return f, problem.UnsupportedMedia("the fields are taken as application/x-www-form-urlencoded, as application/json or in the query")
}
