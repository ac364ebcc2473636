package httpapi

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// appendCreated writes the whole answer to a publish of one message, as net/http
// writes what post answers; draining has the client not send another.
func appendCreated(dst []byte, t target, r engine.Receipt, date []byte, draining bool) []byte {
	length := len(`{"id":"","topic":"","time":"","durability":""}`) + 1 + 24 + len(t.name) + message.TimeBytes + len(r.Durability)
	for i := range len(t.name) {
		if t.name[i] == '"' || t.name[i] == '\\' {
			length++
		}
	}
	dst = append(dst, "HTTP/1.1 201 Created\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(length), 10)
	dst = append(dst, "\r\nContent-Type: application/json\r\nLocation: "...)
	dst = appendLocation(dst, t, r)
	dst = append(dst, "\r\nVary: Origin\r\nX-Content-Type-Options: nosniff\r\nDate: "...)
	dst = append(dst, date...)
	if draining {
		dst = append(dst, "\r\nConnection: close"...)
	}
	dst = append(dst, "\r\n\r\n"...)
	dst = appendReceipt(dst, t.name, r, 0)
	return append(dst, '\n')
}

// dateline is the Date header of now, made once a second.
type dateline struct {
	now  func() time.Time
	last atomic.Pointer[dateOf]
}

type dateOf struct {
	second int64
	text   []byte
}

func (d *dateline) text() []byte {
	now := d.now()
	if last := d.last.Load(); last != nil && last.second == now.Unix() {
		return last.text
	}
	fresh := &dateOf{second: now.Unix(), text: now.UTC().AppendFormat(nil, http.TimeFormat)}
	d.last.Store(fresh)
	return fresh.text
}
