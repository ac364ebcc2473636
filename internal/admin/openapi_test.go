package admin_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"crier/internal/admin"
	"crier/internal/engine"
	"crier/internal/problem"
)

// document is openapi.json, as far as tests look at it.
type document struct {
	OpenAPI    string                                `json:"openapi"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Responses map[string]response `json:"responses"`
		Schemas   map[string]*schema  `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	OperationID string      `json:"operationId"`
	Parameters  []parameter `json:"parameters"`
	RequestBody *struct {
		Content content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]response `json:"responses"`
}

type parameter struct {
	Name string `json:"name"`
	In   string `json:"in"`
}

type content map[string]struct {
	Schema *schema `json:"schema"`
}

type response struct {
	Ref     string  `json:"$ref"`
	Content content `json:"content"`
}

// schema is the part of JSON Schema that openapi.json uses.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"`
	Enum       []any              `json:"enum"`
	Format     string             `json:"format"`
	Pattern    string             `json:"pattern"`
	Minimum    *float64           `json:"minimum"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	OneOf      []*schema          `json:"oneOf"`
	Others     bool               `json:"additionalProperties"`
}

func readDocument(t *testing.T) *document {
	t.Helper()
	raw, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

func (d *document) operation(t *testing.T, method, path string) *operation {
	t.Helper()
	raw, ok := d.Paths[path][strings.ToLower(method)]
	if !ok {
		return nil
	}
	var op operation
	if err := json.Unmarshal(raw, &op); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return &op
}

// documented gives a route's path as OpenAPI writes it, which has no word for
// a parameter of several segments.
func documented(path string) string { return strings.ReplaceAll(path, "...}", "}") }

func TestDocumentHasEveryRoute(t *testing.T) {
	d := readDocument(t)
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("openapi is %s", d.OpenAPI)
	}
	routed := map[string]bool{}
	for _, rt := range newRig(t).admin.Routes() {
		path := documented(rt.Path)
		routed[strings.ToLower(rt.Method)+" "+path] = true
		op := d.operation(t, rt.Method, path)
		if op == nil {
			t.Errorf("%s %s is not in the document", rt.Method, path)
			continue
		}
		var query []string
		for _, p := range op.Parameters {
			if p.In == "query" {
				query = append(query, p.Name)
			}
		}
		if !slices.Equal(query, rt.Query) {
			t.Errorf("%s %s: the document has the parameters %q, the route takes %q", rt.Method, path, query, rt.Query)
		}
		var inPath, named []string
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
			inPath = append(inPath, m[1])
		}
		if raw := d.Paths[path]["parameters"]; raw != nil {
			var ps []parameter
			if err := json.Unmarshal(raw, &ps); err != nil {
				t.Fatal(err)
			}
			for _, p := range ps {
				named = append(named, p.Name)
			}
		}
		if !slices.Equal(inPath, named) {
			t.Errorf("%s: the path has the parameters %q, the document %q", path, inPath, named)
		}
	}
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for method := range item {
			if method == "parameters" || method == "servers" {
				continue
			}
			op := d.operation(t, method, path)
			if ids[op.OperationID] || op.OperationID == "" {
				t.Errorf("%s %s: the operationId %q is empty or there twice", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			if !strings.HasPrefix(path, "/t/") && !routed[method+" "+path] {
				t.Errorf("%s %s is in the document, but not routed", method, path)
			}
		}
	}
}

func TestDocumentHasEveryField(t *testing.T) {
	d := readDocument(t)
	types := admin.Views()
	types["Problem"] = reflect.TypeFor[problem.Problem]()
	types["Topic"] = reflect.TypeFor[engine.TopicInfo]()
	names := map[reflect.Type]string{}
	for name, typ := range types {
		names[typ] = name
	}
	for name, typ := range types {
		s := d.Components.Schemas[name]
		if s == nil {
			t.Errorf("the document has no schema %s", name)
			continue
		}
		var required, all []string
		for field := range fields(typ) {
			tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if tag == "-" {
				continue
			}
			all = append(all, tag)
			if !strings.Contains(options, "omit") {
				required = append(required, tag)
			}
			p := s.Properties[tag]
			if p == nil {
				t.Errorf("%s.%s is not in the document", name, tag)
			} else if err := d.fits(p, field.Type, names); err != nil {
				t.Errorf("%s.%s: %v", name, tag, err)
			}
		}
		for property := range s.Properties {
			if !slices.Contains(all, property) {
				t.Errorf("%s.%s is in the document, but not in %v", name, property, typ)
			}
		}
		if !slices.Equal(slices.Sorted(slices.Values(s.Required)), slices.Sorted(slices.Values(required))) {
			t.Errorf("%s: the document requires %q, %v %q", name, s.Required, typ, required)
		}
	}
}

// fields yields the fields of a struct and of those that it embeds.
func fields(typ reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(typ) {
			if !f.Anonymous && !yield(f) {
				return
			}
		}
	}
}

// fits reports whether a schema describes what a Go type marshals to.
func (d *document) fits(s *schema, typ reflect.Type, names map[reflect.Type]string) error {
	if s.Ref != "" {
		if name := strings.TrimPrefix(s.Ref, "#/components/schemas/"); names[typ] != name {
			return fmt.Errorf("the document has %s, it is %v", name, typ)
		}
		return nil
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := ""
	switch {
	case typ == reflect.TypeFor[json.RawMessage](), s.OneOf != nil:
		return nil
	case typ == reflect.TypeFor[time.Time]():
		if s.Format != "date-time" {
			return fmt.Errorf("format is %q, it is a time", s.Format)
		}
		want = "string"
	case typ.Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()), typ.Kind() == reflect.String:
		want = "string"
	case typ.Kind() == reflect.Bool:
		want = "boolean"
	case typ.Kind() == reflect.Slice:
		if s.Items == nil {
			return fmt.Errorf("it is %v, the document has no items", typ)
		}
		if err := d.fits(s.Items, typ.Elem(), names); err != nil {
			return fmt.Errorf("items: %w", err)
		}
		want = "array"
	case typ.Kind() >= reflect.Int && typ.Kind() <= reflect.Uint64:
		want = "integer"
	default:
		return fmt.Errorf("no JSON type is known of %v", typ)
	}
	if !slices.Contains(kindsOf(s), want) {
		return fmt.Errorf("type is %v, it is %v", s.Type, typ)
	}
	return nil
}

func kindsOf(s *schema) []string {
	if list, ok := s.Type.([]any); ok {
		kinds := make([]string, len(list))
		for i, k := range list {
			kinds[i] = fmt.Sprint(k)
		}
		return kinds
	}
	return []string{fmt.Sprint(s.Type)}
}

// check holds an answer to the document: status, content type and body.
func (d *document) check(t *testing.T, method, path string, status int, contentType string, body []byte) {
	t.Helper()
	op := d.operation(t, method, path)
	if op == nil {
		t.Errorf("%s %s is not in the document", method, path)
		return
	}
	r, ok := op.Responses[fmt.Sprint(status)]
	if !ok {
		t.Errorf("%s %s answered %d, which the document does not know", method, path, status)
		return
	}
	if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
		r = d.Components.Responses[name]
	}
	if r.Content == nil {
		if len(body) > 0 {
			t.Errorf("%s %s: %d has a body: %s", method, path, status, body)
		}
		return
	}
	media, ok := r.Content[contentType]
	if !ok {
		base, _, _ := strings.Cut(contentType, ";")
		media, ok = r.Content[base]
	}
	switch {
	case !ok:
		t.Errorf("%s %s: %d is %s, which the document does not know", method, path, status, contentType)
		return
	case !strings.Contains(contentType, "json"):
		return
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%s %s: %v: %s", method, path, err, body)
		return
	}
	if media.Schema.Ref == "" { // the document itself
		return
	}
	if err := d.valid(media.Schema, v, "body"); err != nil {
		t.Errorf("%s %s: %d: %v: %s", method, path, status, err, body)
	}
}

// valid judges a value. Members that the schema does not name are refused.
func (d *document) valid(s *schema, v any, at string) error {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		if s = d.Components.Schemas[name]; s == nil {
			return fmt.Errorf("%s: no schema %s", at, name)
		}
	}
	kind := kindOf(v)
	kinds := kindsOf(s)
	if !slices.Contains(kinds, kind) && !(kind == "integer" && slices.Contains(kinds, "number")) {
		return fmt.Errorf("%s is a %s, not %v", at, kind, s.Type)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%s is %v, not one of %v", at, v, s.Enum)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return fmt.Errorf("%s lacks %s", at, name)
			}
		}
		for name, value := range v {
			p := s.Properties[name]
			if p == nil && s.Others {
				continue
			}
			if p == nil {
				return fmt.Errorf("%s.%s is not in the document", at, name)
			}
			if err := d.valid(p, value, at+"."+name); err != nil {
				return err
			}
		}
	case []any:
		for i, value := range v {
			if err := d.valid(s.Items, value, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case string:
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			return fmt.Errorf("%s is %q, which does not match %s", at, v, s.Pattern)
		}
		if s.Format == "date-time" {
			if at2, err := time.Parse(time.RFC3339, v); err != nil || at2.IsZero() {
				return fmt.Errorf("%s is %q, no time", at, v)
			}
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum {
			return fmt.Errorf("%s is %v, below %v", at, v, *s.Minimum)
		}
	}
	return nil
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
	}
	return "number"
}

// Every $ref leads somewhere, and every component is used.
func TestDocumentIsWhole(t *testing.T) {
	raw, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	d := readDocument(t)
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(string(raw), -1) {
		used[m[1]+"/"+m[2]] = true
		if _, ok := d.Components.Schemas[m[2]]; m[1] == "schemas" && !ok {
			t.Errorf("%s leads nowhere", m[0])
		}
		if _, ok := d.Components.Responses[m[2]]; m[1] == "responses" && !ok {
			t.Errorf("%s leads nowhere", m[0])
		}
	}
	for name := range d.Components.Schemas {
		if !used["schemas/"+name] {
			t.Errorf("the schema %s is not used", name)
		}
	}
	for name := range d.Components.Responses {
		if !used["responses/"+name] {
			t.Errorf("the response %s is not used", name)
		}
	}
}
