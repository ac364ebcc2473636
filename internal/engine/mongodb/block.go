package mongodb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/message"
)

// The kinds of documents in a domain's chain.
const (
	kindBlock      = "block"
	kindEpoch      = "epoch"
	kindTrim       = "trim"
	kindForget     = "forget"
	kindCheckpoint = "checkpoint"
	kindDropped    = "dropped"
)

// document is one of a domain's chain: a block of messages, or a change of
// what is there.
type document struct {
	ID     bson.ObjectID `bson:"_id"`
	Domain string        `bson:"domain"`
	Kind   string        `bson:"kind"`
	At     int64         `bson:"at"`     // Unix microseconds
	Writer bson.ObjectID `bson:"writer"` // tells who was first, after a call of which nobody knows

	Epoch string `bson:"epoch"` // 12 hex digits; in force from here on

	// Of a block. Index and keys are for nodes that replay the chain without
	// the messages; when these are trimmed, keys may be all that is left.
	First    int64    `bson:"first,omitempty"`
	Count    int32    `bson:"count,omitempty"`
	Index    []byte   `bson:"index,omitempty"`
	Keys     []byte   `bson:"keys,omitempty"`
	Messages []stored `bson:"messages,omitempty"`

	Run   string `bson:"run,omitempty"`   // of an epoch: the run of the server in which it began
	UpTo  int64  `bson:"upto,omitempty"`  // of a trim
	Topic string `bson:"topic,omitempty"` // of a forget

	Covers int64           `bson:"covers,omitempty"` // of a checkpoint: the number of the last document that it stands for
	Parts  []bson.ObjectID `bson:"parts,omitempty"`  // of a checkpoint: in the collection checkpoints

	made []message.Message // of one's own block
}

// stored is a message in its block. Data is the truth; Value is what it says,
// where it is JSON that BSON can hold, for those who look into the database.
type stored struct {
	ID          bson.ObjectID `bson:"_id"`
	Topic       string        `bson:"topic"`
	ContentType string        `bson:"contentType,omitempty"`
	Binary      bool          `bson:"binary,omitempty"`
	Type        string        `bson:"type,omitempty"`
	App         string        `bson:"app,omitempty"`
	Expires     int64         `bson:"expires,omitempty"` // Unix microseconds
	Data        []byte        `bson:"data"`
	Value       any           `bson:"value,omitempty"`
}

// whole are all fields.
var whole = bson.D{}

// lean are the fields that a node replays.
var lean = bson.D{{Key: "messages", Value: 0}}

func (d *document) number() uint64 { return number(d.ID) }

func (d *document) epoch() (message.Epoch, error) {
	b, err := hex.DecodeString(d.Epoch)
	if err != nil || len(b) != 6 {
		return message.Epoch{}, d.corrupt("its epoch")
	}
	return message.Epoch{Began: binary.BigEndian.Uint32(b), Rand: binary.BigEndian.Uint16(b[4:])}, nil
}

func (d *document) corrupt(what string) error {
	return fmt.Errorf("%w: document %s of domain %q: %s cannot be read", engine.ErrCorrupt, d.ID.Hex(), d.Domain, what)
}

// appendOutline adds a message to an index.
func appendOutline(dst []byte, m *message.Message) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m.Topic)))
	dst = append(dst, m.Topic...)
	dst = binary.AppendUvarint(dst, uint64(len(m.Data)))
	expires := uint64(0)
	if !m.Expires.IsZero() {
		expires = uint64(m.Expires.UnixMicro())
	}
	return binary.AppendUvarint(dst, expires)
}

// outlines reads an index.
func (d *document) outlines() ([]memory.Outline, error) {
	if d.Index == nil {
		return nil, nil
	}
	all := make([]memory.Outline, 0, d.Count)
	r := bytes.NewReader(d.Index)
	for r.Len() > 0 {
		n, err := binary.ReadUvarint(r)
		if err != nil || n > uint64(r.Len()) {
			return nil, d.corrupt("its index")
		}
		name := make([]byte, n)
		_, _ = r.Read(name)
		size, err1 := binary.ReadUvarint(r)
		expires, err2 := binary.ReadUvarint(r)
		if err1 != nil || err2 != nil || size > memory.MaxOutline {
			return nil, d.corrupt("its index")
		}
		all = append(all, memory.Outline{Topic: string(name), Size: int(size), Expires: int64(expires)})
	}
	if len(all) != int(d.Count) {
		return nil, d.corrupt("its index")
	}
	return all, nil
}

func appendKey(dst []byte, k memory.KeyUse) []byte {
	dst = append(append(dst, k.Key.Hash[:]...), k.Key.Body[:]...)
	dst = binary.AppendUvarint(dst, uint64(k.Offset))
	return binary.AppendUvarint(dst, uint64(k.N))
}

// keys reads the keys of a block.
func (d *document) keys() ([]memory.KeyUse, error) {
	var all []memory.KeyUse
	r := bytes.NewReader(d.Keys)
	for r.Len() > 0 {
		var k memory.KeyUse
		n1, _ := r.Read(k.Key.Hash[:])
		n2, _ := r.Read(k.Key.Body[:])
		offset, err1 := binary.ReadUvarint(r)
		n, err2 := binary.ReadUvarint(r)
		if n1+n2 != 32 || err1 != nil || err2 != nil {
			return nil, d.corrupt("its keys")
		}
		k.Offset, k.N = int(offset), int(n)
		all = append(all, k)
	}
	return all, nil
}

// store makes what is stored of a message.
func store(m *message.Message, withValue bool) stored {
	s := stored{
		ID: m.ID.Bytes(), Topic: m.Topic, ContentType: m.ContentType, Binary: m.Binary,
		Type: m.Type, App: m.App, Data: m.Data,
	}
	if s.Data == nil {
		s.Data = []byte{}
	}
	if !m.Expires.IsZero() {
		s.Expires = m.Expires.UnixMicro()
	}
	if withValue && isJSON(m.ContentType) {
		if v, ok := parseValue(m.Data); ok {
			s.Value = v
		}
	}
	return s
}

// messages reads a block's messages; those that were deleted have no data.
func (d *document) messages() ([]message.Message, error) {
	if d.made != nil {
		return d.made, nil
	}
	if len(d.Messages) != int(d.Count) {
		return nil, d.corrupt("its messages")
	}
	at := time.UnixMicro(d.At).UTC()
	all := make([]message.Message, len(d.Messages))
	for i := range d.Messages {
		s := &d.Messages[i]
		m := message.Message{
			ID: message.FromBytes(s.ID), Topic: s.Topic, Data: s.Data, ContentType: s.ContentType,
			Binary: s.Binary, Time: at, Type: s.Type, App: s.App,
		}
		if m.ID.Seq != uint64(d.First)+uint64(i) {
			return nil, d.corrupt("its messages' ids")
		}
		if s.Expires != 0 {
			m.Expires = time.UnixMicro(s.Expires).UTC()
		}
		all[i] = m
	}
	return all, nil
}
