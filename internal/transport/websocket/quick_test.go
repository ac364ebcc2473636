package websocket

import (
	"reflect"
	"strings"
	"testing"
)

// quickly are frames that are read in one pass.
var quickly = []string{
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"x"}}`,
	`{"ref":"é","message":{"data":"é\n\u20ac\"","type":"y"},"topic":"a/b","type":"publish","idempotencyKey":"k"}`,
	" { \"type\" : \"publish\" ,\n\"ref\":\"1\",\t\"topic\":\"a\", \"message\" : { \"data\" : {\"a\":[1,\"]}\\\"\",null]} } } \r\n",
	`{"type":"publish","ref":"1","topic":"a","messages":[{"data":"x"},{"data":[]},{"data":"AAE=","encoding":"base64"}]}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"x","contentType":"application/json"}}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":""}}`,
}

// slowly are frames of which the quick reader says nothing.
var slowly = []string{
	``, `{}`, `[]`, `{"type":"ping","ref":"1"}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"x"}}{}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"x"},"message":{"data":"y"}}`,
	`{"type":"publish","ref":"1","ref":"2","topic":"a","message":{"data":"x"}}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"x"},"messages":[{"data":"y"}]}`,
	`{"type":"publish","ref":"1","topic":"a","messages":[]}`,
	`{"type":"publish","ref":"1","topic":"a","messages":[{"data":"y"},]}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"\x"}}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"\ud800","more":1}}`,
	"{\"type\":\"publish\",\"ref\":\"1\",\"topic\":\"a\",\"message\":{\"data\":\"\n\"}}",
	"{\"type\":\"publish\",\"ref\":\"1\",\"topic\":\"a\",\"message\":{\"data\":\"\xff\"}}",
	`{"type":"publish","ref":"1","topic":"a","message":{"data":{"a":1]}}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":{"a":01}}}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"x","ttl":3}}`,
	`{"type":"publish","ref":"","topic":"a","message":{"data":"x"}}`,
	`{"type":"publish","ref":"` + strings.Repeat("r", maxRef+1) + `","topic":"a","message":{"data":"x"}}`,
	`{"Type":"publish","ref":"1","topic":"a","message":{"data":"x"}}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":1}}`,
	`{"type":"publish","ref":"1","topic":"a","message":{"data":"!","encoding":"base64"}}`,
}

// TestQuickReader: what clients write is read quickly, and what is not right
// never is.
func TestQuickReader(t *testing.T) {
	for _, in := range quickly {
		if _, _, ok := quickPublish([]byte(in)); !ok {
			t.Errorf("given up: %s", in)
		}
		sameAsSlow(t, in)
	}
	for _, in := range slowly {
		if _, c, ok := quickPublish([]byte(in)); ok {
			t.Errorf("read quickly: %s as %+v", in, c)
		}
	}
}

// FuzzQuickReader: what is read quickly is read the same slowly.
func FuzzQuickReader(f *testing.F) {
	for _, in := range append(quickly, slowly...) {
		f.Add(in)
	}
	f.Fuzz(sameAsSlow)
}

func sameAsSlow(t *testing.T, in string) {
	ref, quick, ok := quickPublish([]byte(in))
	if !ok {
		return
	}
	slowRef, slow, err := parseSlowly([]byte(in))
	if err != nil || ref != slowRef || !reflect.DeepEqual(call(quick), slow) {
		t.Errorf("%q is %q, %+v quickly, and slowly %q, %+v, %v", in, ref, quick, slowRef, slow, err)
	}
}
