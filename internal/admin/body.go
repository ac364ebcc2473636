package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"crier/internal/problem"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

// decode reads the body, one JSON object, into v. A member that v does not
// have is refused by its name, so that a slip of the pen is not taken for a
// default.
func (c *call) decode(v any) error {
	kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && kind != "application/merge-patch+json" {
		return problem.UnsupportedMedia("the body is taken as Content-Type: application/json only").On("Content-Type")
	}
	dec := json.NewDecoder(http.MaxBytesReader(c.w, c.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badBody(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		if _, tooBig := errors.AsType[*http.MaxBytesError](err); tooBig {
			return badBody(err)
		}
		return problem.BadRequest("the body has more after its JSON object; send one object")
	}
	return nil
}

func badBody(err error) error {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.TooLarge(fmt.Sprintf("the body is over the limit of %d bytes", maxBody))
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return problem.BadRequest("the body is a JSON " + e.Value + "; send an object")
		}
		return problem.BadRequest(fmt.Sprintf("%s is a JSON %s; it should be a %s", e.Field, e.Value, jsonKind(e.Type.Kind().String()))).On(e.Field)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return problem.BadRequest(fmt.Sprintf("the body is not JSON: %v, after %d bytes", e, e.Offset))
	}
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name := strings.Trim(quoted, `"`)
		return problem.BadRequest(fmt.Sprintf("%.80s is not a member that is known here; check its spelling against /v1/openapi.json", name)).On(clip(name, 80))
	}
	switch {
	case errors.Is(err, io.EOF):
		return problem.BadRequest("the body is empty; send a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return problem.BadRequest("the body ends within its JSON object")
	}
	return problem.BadRequest("the body could not be read: " + err.Error())
}

// jsonKind names a Go kind as JSON does.
func jsonKind(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"), strings.HasPrefix(kind, "float"):
		return "number"
	case kind == "slice":
		return "list"
	case kind == "bool":
		return "boolean"
	}
	return kind
}

// member reads one member of a patch (RFC 7396): set, if it is there; nil, if
// it is null and the default should hold again.
func member[T any](raw json.RawMessage, name string) (value *T, set bool, err error) {
	if raw == nil {
		return nil, false, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			e.Field = name
		}
		return nil, true, badBody(err)
	}
	return value, true, nil
}
