package engineio

import (
	"time"

	"crier/internal/transport/engineio/packet"
)

// What is asked of a user at a time. It bounds what a session that is slow
// holds in memory.
const (
	batchMessages = 256
	batchBytes    = 64 << 10
	keepArena     = 2 * batchBytes // a batch with more is not kept
)

// Batch gathers what a session writes at a time. It belongs to the session;
// its user fills it during Send.
type Batch struct {
	packets  []packet.Packet
	arena    []byte
	messages int
	sent     time.Time // see Sent
	out      []byte    // as the transport writes it
	plain    bool      // see ASCIIOnly
}

// Full reports whether the batch has enough. One that is not takes another
// message, of whatever length.
func (b *Batch) Full() bool { return b.messages >= batchMessages || len(b.arena) >= batchBytes }

// Add takes a message whose data are the parts joined; they are copied. On
// polls of protocol 4 the byte 0x1e separates packets: text that has one ends
// the session there, so users do not send it.
func (b *Batch) Add(binary bool, parts ...[]byte) {
	from := len(b.arena)
	for _, p := range parts {
		b.arena = append(b.arena, p...)
	}
	b.packets = append(b.packets, packet.Packet{
		Type: packet.Message, Binary: binary, Data: b.arena[from:len(b.arena):len(b.arena)],
	})
	b.messages++
}

// ASCIIOnly reports whether text beyond ASCII may not be understood: on polls
// of protocol 3 its oldest clients, which cannot be told from others before
// they have sent such text themselves, expect it in another form. A user that
// can say the same in ASCII, as JSON can, does.
func (b *Batch) ASCIIOnly() bool { return b.plain }

// Sent notes when the first message of the batch was sent by whoever did, for
// the measure of how long delivery takes. It is for users that keep up.
func (b *Batch) Sent(at time.Time) {
	if b.sent.IsZero() {
		b.sent = at
	}
}

func (b *Batch) control(p packet.Packet) { b.packets = append(b.packets, p) }

func (b *Batch) reset() {
	clear(b.packets)
	*b = Batch{packets: b.packets[:0], arena: b.arena[:0], out: b.out[:0]}
}

func (s *Server) batch() *Batch { return s.batches.Get().(*Batch) }

func (s *Server) putBatch(b *Batch) {
	if cap(b.arena) <= keepArena && cap(b.out) <= 2*keepArena && cap(b.packets) <= 2*batchMessages {
		b.reset()
		s.batches.Put(b)
	}
}
