package mongodb

import (
	"encoding/json"
	"reflect"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestParseValue(t *testing.T) {
	for in, want := range map[string]any{
		`{"a":1,"b":[true,null,"x"],"c":{"d":0.5}}`: bson.D{
			{Key: "a", Value: int64(1)}, {Key: "b", Value: bson.A{true, nil, "x"}}, {Key: "c", Value: bson.D{{Key: "d", Value: 0.5}}},
		},
		`-9223372036854775808`: int64(-9223372036854775808),
		` "x" `:                "x",
	} {
		if got, ok := parseValue([]byte(in)); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v", in, got, ok)
		}
	}
	for _, in := range []string{
		``, `{`, `{} {}`, `{"a":1,"a":2}`, `{"$a":1}`, `{"a.b":1}`, `{"":1}`, `12345678901234567890`, `1e400`, `-0`, `0.10`,
		`"\u0000"`, "\"\xff\"", `1.00000000000000000001`,
	} {
		if got, ok := parseValue([]byte(in)); ok {
			t.Errorf("%s is stored as %#v", in, got)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5,{"b":null}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, ok := parseValue(in)
		if !ok {
			return
		}
		if !json.Valid(in) {
			t.Fatalf("%q is no JSON", in)
		}
		if _, err := bson.Marshal(bson.D{{Key: "value", Value: v}}); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
	})
}
