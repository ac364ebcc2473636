package message_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"crier/internal/message"
)

func TestAppendTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMicro(rapid.Int64Range(0, 253402300799999999).Draw(t, "µs"))
		if rapid.Bool().Draw(t, "elsewhere") {
			at = at.In(time.FixedZone("", rapid.IntRange(-12*3600, 14*3600).Draw(t, "zone")))
		}
		got := string(message.AppendTime([]byte("at "), at))
		if want := "at " + at.UTC().Format("2006-01-02T15:04:05.000000Z"); got != want || len(got) != 3+message.TimeBytes {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func BenchmarkAppendTime(b *testing.B) {
	at := time.UnixMicro(1_795_000_000_123_456)
	var room [64]byte
	b.ReportAllocs()
	for b.Loop() {
		message.AppendTime(room[:0], at)
	}
}
