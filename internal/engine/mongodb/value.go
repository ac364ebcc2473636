package mongodb

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// maxDepth is how deep a value may be to be stored parsed.
const maxDepth = 32

// maxParsed is how many bytes of a message are parsed.
const maxParsed = 256 << 10

var errUnfit = errors.New("BSON cannot hold it")

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// parseValue gives what JSON says, if BSON can hold all of it as it is, in
// every server: no numbers that would be rounded, no names that mean something
// to a server, none that come twice.
func parseValue(data []byte) (any, bool) {
	if len(data) > maxParsed || !utf8.Valid(data) || bytes.Contains(data, []byte(`\u0000`)) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil || d.InputOffset() < int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, false
	}
	return v, true
}

func readValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, errUnfit
		}
		if t == '[' {
			return readArray(d, depth+1)
		}
		return readObject(d, depth+1)
	case json.Number:
		return readNumber(t.String())
	}
	return t, nil
}

func readArray(d *json.Decoder, depth int) (any, error) {
	a := bson.A{}
	for d.More() {
		v, err := readValue(d, depth)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	_, err := d.Token()
	return a, err
}

func readObject(d *json.Decoder, depth int) (any, error) {
	o := bson.D{}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if name == "" || seen[name] || strings.ContainsAny(name, "$.") {
			return nil, errUnfit
		}
		seen[name] = true
		v, err := readValue(d, depth)
		if err != nil {
			return nil, err
		}
		o = append(o, bson.E{Key: name, Value: v})
	}
	_, err := d.Token()
	return o, err
}

// readNumber takes whole numbers of 64 bits, and fractions that are as the
// shortest text of their double says.
func readNumber(s string) (any, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && s != "-0" {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f == 0 && math.Signbit(f) || strconv.FormatFloat(f, 'f', -1, 64) != s {
		return nil, errUnfit
	}
	return f, nil
}
