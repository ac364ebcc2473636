package index

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"
)

const (
	pageSize    = 4096
	pageContent = pageSize - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func pageSum(number int64, content []byte) uint32 {
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(number))
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, content)
}

// paginate gives the file of some content.
func paginate(content []byte) []byte {
	pages := (len(content) + pageContent - 1) / pageContent
	file := make([]byte, 0, len(content)+4*pages)
	for number := int64(0); len(content) > 0; number++ {
		n := min(len(content), pageContent)
		file = append(file, content[:n]...)
		file = binary.LittleEndian.AppendUint32(file, pageSum(number, content[:n]))
		content = content[n:]
	}
	return file
}

// pages reads the content of a file and checks it.
type pages struct {
	file io.ReaderAt
	size int64 // bytes of content
}

var pageBuffers = sync.Pool{New: func() any { b := make([]byte, 4*pageSize); return &b }}

// readAt fills p with the content at off. All of it must be there. Errors of
// the file are as they are, those of its content wrap [ErrBad].
func (p pages) readAt(dst []byte, off int64) error {
	if len(dst) == 0 {
		return nil
	}
	if off < 0 || off+int64(len(dst)) > p.size {
		return bad("content %d to %d of %d bytes", off, off+int64(len(dst)), p.size)
	}
	pooled := pageBuffers.Get().(*[]byte)
	defer pageBuffers.Put(pooled)
	buf := *pooled
	for number := off / pageContent; len(dst) > 0; {
		// As many pages as fit the buffer and are needed, the last one of
		// the file being shorter.
		begin := number * pageContent
		want := min(off+int64(len(dst)), begin+int64(len(buf))/pageSize*pageContent)
		end := min((want+pageContent-1)/pageContent*pageContent, p.size)
		count := (end - begin + pageContent - 1) / pageContent
		raw := buf[:end-begin+4*count]
		if n, err := p.file.ReadAt(raw, number*pageSize); n < len(raw) {
			if err == io.EOF {
				return bad("it ends in page %d", number+int64(n)/pageSize)
			}
			return err
		}
		for ; len(raw) > 0; number++ {
			page := raw[:min(len(raw), pageSize)]
			raw = raw[len(page):]
			content := page[:len(page)-4]
			if pageSum(number, content) != binary.LittleEndian.Uint32(page[len(content):]) {
				return bad("checksum of page %d", number)
			}
			n := copy(dst, content[off-number*pageContent:])
			dst, off = dst[n:], off+int64(n)
		}
	}
	return nil
}
