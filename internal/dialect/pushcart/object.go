package pushcart

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"crier/internal/message"
	"crier/internal/transport"
)

const contentType = "application/json"

// object is a JSON object as it was posted.
type object struct {
	inner  []byte                     // what stands between its braces
	fields map[string]json.RawMessage // by their decoded names; of those that are there twice, the last
}

// readObject finds the object in a body. Fields of the given names, whatever
// escapes they are written with, are the server's to set and an error.
func readObject(body []byte, ours ...string) (object, error) {
	if !utf8.Valid(body) {
		return object{}, errors.New("the body is not UTF-8")
	}
	if err := json.Unmarshal(body, new(json.RawMessage)); err != nil {
		return object{}, fmt.Errorf("the body is not JSON: %w", err)
	}
	body = bytes.Trim(body, " \t\r\n")
	var o object
	if body[0] != '{' || json.Unmarshal(body, &o.fields) != nil {
		return object{}, errors.New("the body is JSON, but not an object")
	}
	for _, name := range ours {
		if _, there := o.fields[name]; there {
			return object{}, fmt.Errorf("%q is the server's to set; leave it out", name)
		}
	}
	o.inner = body[1 : len(body)-1]
	return o, nil
}

// with gives the object with more fields behind its own, which stay as they
// are, byte for byte.
func (o object) with(fields []byte) []byte {
	b := make([]byte, 0, len(o.inner)+len(fields)+3)
	b = append(b, '{')
	b = append(b, o.inner...)
	if len(o.fields) > 0 {
		b = append(b, ',')
	}
	b = append(b, fields...)
	return append(b, '}')
}

// appendApp appends the field app.
func appendApp(dst []byte, id, name string) []byte {
	dst = append(dst, `"app":{"_id":`...)
	dst = transport.AppendString(dst, id)
	dst = append(dst, `,"name":`...)
	dst = transport.AppendString(dst, name)
	return append(dst, '}')
}

// appendID appends the beginning of an object that goes on with other fields.
func appendID(dst []byte, id message.ID) []byte {
	dst = append(dst, `{"_id":"`...)
	dst = id.Append(dst)
	return append(dst, `",`...)
}

// appendMessage appends a message as clients get it: what an app posted with
// _id before it, and what came in by another way as {"_id","data","app"}, with
// "encoding":"base64" if it is binary. The app is then what the topic says.
func appendMessage(dst []byte, m *message.Message) []byte {
	dst = appendID(dst, m.ID)
	id := strings.TrimPrefix(m.Topic, prefix+"/")
	if m.App == id && len(m.Data) > 2 && m.Data[0] == '{' { // posted here: the topic's app alone has an App
		return append(dst, m.Data[1:]...)
	}
	dst = append(dst, `"data":`...)
	switch {
	case m.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, m.Data)
		dst = append(dst, `","encoding":"base64"`...)
	case transport.IsJSON(m.ContentType) && utf8.Valid(m.Data) && json.Valid(m.Data):
		dst = append(dst, m.Data...)
	default:
		dst = transport.AppendString(dst, m.Data)
	}
	dst = append(dst, ',')
	dst = appendApp(dst, id, id)
	return append(dst, '}')
}
