package pushcart

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"time"

	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// bodyWait is how long a body may take to come.
const bodyWait = time.Minute

// body reads a body of JSON.
func body(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != contentType {
		return nil, bad("the body is taken as Content-Type: application/json only")
	}
	tooLong := &refused{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("the body is over the limit of %d bytes", limit)}
	if r.ContentLength > int64(limit) {
		return nil, tooLong
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyWait)) // what cannot be waited for needs none
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if err == nil { // else net/http, which reads what is left, would wait for ever
		_ = rc.SetReadDeadline(time.Time{})
	}
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLong
	}
	if err != nil {
		return nil, bad("the body could not be read")
	}
	return b, nil
}

// post is POST /messages.
func (d *Dialect) post(w http.ResponseWriter, r *http.Request) error {
	app, err := enter(r, d.cfg.Apps, "X-App-Token")
	if err != nil {
		return err
	}
	b, err := body(w, r, d.cfg.MaxMessage)
	if err != nil {
		return err
	}
	o, err := readObject(b, "_id", "app")
	if err != nil {
		return bad(err.Error())
	}
	if d.cfg.Rate != nil {
		if ok, wait := d.cfg.Rate.Take("pushcart:"+app.ID, 1); !ok {
			return &refused{http.StatusTooManyRequests, fmt.Sprintf("this app is over the limit of %.4g messages a second (--publish-rate); come back after Retry-After", d.cfg.Rate.Rate()), wait}
		}
	}
	domain, err := d.cfg.Hub.Domain(hub.Main)
	if err != nil {
		return err
	}
	data := o.with(appendApp(nil, app.ID, app.Name))
	receipt, err := domain.Publish(r.Context(), engine.Block{Drafts: []message.Draft{{
		Topic: prefix + "/" + app.ID, Data: data, ContentType: contentType, App: app.ID,
	}}})
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	answer(w, http.StatusCreated, append(appendID(make([]byte, 0, len(data)+40), receipt.First), data[1:]...))
	return nil
}

// register is POST /clients.
func (d *Dialect) register(w http.ResponseWriter, r *http.Request) error {
	if err := d.mayRegister(r); err != nil {
		return err
	}
	b, err := body(w, r, account.MaxInfo)
	if err != nil {
		return err
	}
	o, err := readObject(b, "_id", "token")
	if err != nil {
		return bad(err.Error())
	}
	var spec account.Spec
	if raw, there := o.fields["type"]; there {
		if json.Unmarshal(raw, &spec.Name) != nil || raw[0] != '"' {
			return bad("type is not a string")
		}
	}
	further := maps.Clone(o.fields)
	delete(further, "type")
	if len(further) > 0 {
		if spec.Info, err = json.Marshal(further); err != nil {
			return fmt.Errorf("register client: %w", err)
		}
	}
	client, token, err := d.cfg.Clients.Create(r.Context(), spec)
	if errors.Is(err, account.ErrSpec) {
		return bad(err.Error())
	}
	if err != nil {
		return err
	}
	made := append([]byte(`{"_id":"`), client.ID...)
	made = append(made, '"', ',')
	answer(w, http.StatusCreated, append(made, o.with(appendToken(token))[1:]...))
	return nil
}

func appendToken(token string) []byte {
	return transport.AppendString([]byte(`"token":`), token)
}
