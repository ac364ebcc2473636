package message_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"crier/internal/message"
)

func TestCommit(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	id := message.ID{Epoch: message.Epoch{Began: 1}, Seq: 7}
	d := message.Draft{
		Topic: "a/b", Data: []byte("hello"), ContentType: "text/plain", Binary: true,
		Type: "greeting", App: "shop", TTL: 3 * time.Second,
	}
	want := message.Message{
		ID: id, Topic: "a/b", Data: []byte("hello"), ContentType: "text/plain", Binary: true,
		Time: now, Type: "greeting", App: "shop", Expires: now.Add(3 * time.Second),
	}
	got := d.Commit(id, now)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got.Size() != 8 {
		t.Errorf("Size() = %d, want data plus topic", got.Size())
	}
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {3*time.Second - 1, false}, {3 * time.Second, true}, {time.Hour, true}} {
		if e := got.Expired(now.Add(tt.after)); e != tt.want {
			t.Errorf("expired %v after: %v", tt.after, e)
		}
	}
	d.TTL = 0
	if m := d.Commit(id, now); !m.Expires.IsZero() || m.Expired(now.AddDate(100, 0, 0)) {
		t.Error("a message without a time to live ends")
	}
}

func TestGapJSON(t *testing.T) {
	b, err := json.Marshal(message.Gap{
		After: "what came", Resumed: message.ID{Epoch: message.Epoch{Began: 1}, Seq: 2}, Reason: message.NewEpoch,
	})
	if want := `{"after":"what came","resumed":"000000010000000000000002","reason":"epoch"}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
