package e2e

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// payload is the data of the message with a name: the name, and padding that
// follows from it, so that whoever has the message knows whether it is whole.
// Most are small, some are as long as many disk blocks.
func payload(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	size := rng.IntN(300)
	if rng.IntN(20) == 0 {
		size = rng.IntN(60_000)
	}
	var b strings.Builder
	b.WriteString(name)
	for b.WriteByte(' '); b.Len() < size; {
		fmt.Fprintf(&b, "%016x", rng.Uint64())
	}
	return b.String()
}

// nameOf gives the name of the message that data are of; an error if they are
// not exactly that message's. In a batch, data are a JSON string.
func nameOf(data []byte) (string, error) {
	text := strings.TrimSuffix(strings.TrimPrefix(string(data), `"`), `"`)
	name, _, _ := strings.Cut(text, " ")
	if payload(name) != text {
		return "", fmt.Errorf("data of %d bytes are not those of message %.60q", len(data), name)
	}
	return name, nil
}
