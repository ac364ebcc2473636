package realizehit

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
)

// told is an error in the words of the ancestor, or like them, for clients.
type told string

func (t told) Error() string { return string(t) }

// What clients are told.
const (
	errUnknown    told = "Unable to attend request"
	errNotJSON    told = "The message is not a JSON object"
	errBinary     told = "Binary messages are not understood; send JSON text"
	errLongID     told = "The id is neither a string nor a number, or longer than 128 bytes"
	errSubscribed told = "Already subscribed to this pattern"
	errMissing    told = "Not subscribed to this pattern"
)

// maxID bounds the id of an action, which its answer repeats.
const maxID = 128

// action is what a client asks for, in either spelling.
type action struct {
	ID      json.RawMessage `json:"id"`
	Act     *string         `json:"act"`
	Pat     json.RawMessage `json:"pat"`
	Action  *string         `json:"action"`
	Pattern json.RawMessage `json:"pattern"`
}

// verb is what it asks for, whatever the spelling.
type verb uint8

const (
	verbUnknown verb = iota
	verbSubscribe
	verbUnsubscribe
	verbPing
)

// parseAction reads a message of a client. An error is for it to see, as the
// answer to what was read.
func parseAction(data []byte) (a action, v verb, err error) {
	if json.Unmarshal(data, &a) != nil || bytes.TrimSpace(data)[0] != '{' {
		a = action{ID: madeID()}
		return a, verbUnknown, errNotJSON
	}
	switch {
	case len(a.ID) == 0 || string(a.ID) == "null":
		a.ID = madeID()
	case len(a.ID) > maxID || a.ID[0] == '{' || a.ID[0] == '[':
		a.ID = madeID()
		return a, verbUnknown, errLongID
	}
	switch {
	case a.Act != nil:
		switch *a.Act {
		case "sub":
			v = verbSubscribe
		case "unsub":
			v = verbUnsubscribe
		case "ping":
			v = verbPing
		}
	case a.Action != nil:
		switch *a.Action {
		case "subscribe":
			v = verbSubscribe
		case "unsubscribe":
			v = verbUnsubscribe
		}
	}
	if v == verbUnknown {
		return a, v, errUnknown
	}
	return a, v, nil
}

// long reports whether the action is in the spelling of whole words.
func (a *action) long() bool { return a.Act == nil && a.Action != nil }

// pattern is what the action is about, as the client wrote it.
func (a *action) pattern() json.RawMessage {
	if a.long() {
		return a.Pattern
	}
	return a.Pat
}

// answer writes the answer in the action's own spelling.
func (a *action) answer(v verb, err error) []byte {
	var text string
	if err != nil {
		text = err.Error()
	}
	if a.long() {
		pattern := a.Pattern
		if len(pattern) == 0 {
			pattern = json.RawMessage("null")
		}
		return encode(struct {
			Action  string          `json:"action"`
			Pattern json.RawMessage `json:"pattern"`
			Status  bool            `json:"status"`
			Error   string          `json:"error,omitempty"`
		}{*a.Action, pattern, err == nil, text})
	}
	ret := ""
	if v == verbPing && err == nil {
		ret = "pong"
	}
	return encode(struct {
		ID  json.RawMessage `json:"id"`
		Err string          `json:"err,omitempty"`
		Ret string          `json:"ret,omitempty"`
	}{a.ID, text, ret})
}

// encode writes JSON with nothing escaped that need not be.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // of strings, and JSON that was read
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// madeID is the id of an action that came without one.
func madeID() json.RawMessage {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return json.RawMessage(`"` + hex.EncodeToString(b[:]) + `"`)
}
