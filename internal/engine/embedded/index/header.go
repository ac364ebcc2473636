package index

import (
	"encoding/binary"
	"io"
)

const (
	magic         = "crieridx"
	formatVersion = 1
	headerSize    = 256
	kindSegment   = 1
	kindMarks     = 2
)

// header is the first page's beginning.
type header struct {
	kind     uint32
	size     uint64 // of the content
	tree     tree
	postings uint64
	keys     uint64
	sum      Summary
}

func (h *header) words() []*uint64 {
	return []*uint64{
		&h.size, &h.tree.leaves, &h.tree.leavesEnd, &h.tree.root, &h.tree.rootLen,
		&h.tree.depth, &h.tree.entries, &h.postings, &h.keys,
	}
}

// put writes the header over the content's first bytes.
func (h *header) put(content []byte) {
	p := append(content[:0], magic...)
	p = binary.LittleEndian.AppendUint32(p, formatVersion)
	p = binary.LittleEndian.AppendUint32(p, h.kind)
	for _, w := range h.words() {
		p = binary.LittleEndian.AppendUint64(p, *w)
	}
	s := &h.sum
	for _, w := range []uint64{
		uint64(s.Keys), s.First, s.Last, uint64(s.End), uint64(s.Bytes), uint64(s.MinTime), uint64(s.MaxTime),
	} {
		p = binary.LittleEndian.AppendUint64(p, w)
	}
}

// readHeader reads the header of a file of the given size.
func readHeader(file io.ReaderAt, fileSize int64, kind uint32) (header, error) {
	var h header
	count := (fileSize + pageSize - 1) / pageSize
	p := pages{file: file, size: fileSize - 4*count}
	if p.size < headerSize {
		return h, bad("it has %d bytes", fileSize)
	}
	buf := make([]byte, headerSize)
	if err := p.readAt(buf, 0); err != nil {
		return h, err
	}
	if string(buf[:8]) != magic || binary.LittleEndian.Uint32(buf[8:]) != formatVersion {
		return h, bad("magic or version")
	}
	if h.kind = binary.LittleEndian.Uint32(buf[12:]); h.kind != kind {
		return h, bad("kind %d", h.kind)
	}
	buf = buf[16:]
	word := func() uint64 {
		w := binary.LittleEndian.Uint64(buf)
		buf = buf[8:]
		return w
	}
	for _, w := range h.words() {
		*w = word()
	}
	s := &h.sum
	s.Keys, s.First, s.Last = int(word()), word(), word()
	s.End, s.Bytes, s.MinTime, s.MaxTime = int64(word()), int64(word()), int64(word()), int64(word())
	s.Topics = int(h.tree.entries)
	if h.size != uint64(p.size) {
		return h, bad("%d bytes of content, %d expected", p.size, h.size)
	}
	return h, nil
}
