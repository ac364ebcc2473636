package embedded

import (
	"hash/maphash"
	"sync/atomic"
)

// interner gives the strings of topics and content types without making each
// anew: those seen last are remembered, as many as it has places. It may be
// used concurrently.
type interner struct {
	seed   maphash.Seed
	places [1 << 13]atomic.Pointer[string]
}

func newInterner() *interner { return &interner{seed: maphash.MakeSeed()} }

// maxInterned bounds a string that is remembered.
const maxInterned = 512

func (n *interner) string(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > maxInterned {
		return string(b)
	}
	place := &n.places[maphash.Bytes(n.seed, b)%uint64(len(n.places))]
	if s := place.Load(); s != nil && *s == string(b) {
		return *s
	}
	s := string(b)
	place.Store(&s)
	return s
}
