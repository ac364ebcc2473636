package engineio

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"crier/internal/transport"
	"crier/internal/transport/engineio/packet"
)

// bodyWait is the time in which the body of a POST has to come.
const bodyWait = time.Minute

// answerPoll answers a GET as soon as there is something to answer with.
func (s *Session) answerPoll(w http.ResponseWriter, r *http.Request) {
	done, ok := s.beginPoll(w)
	if !ok {
		return
	}
	defer func() {
		s.mu.Lock()
		s.poll = idle
		s.mu.Unlock()
		close(done)
		if s.over() {
			s.finish()
		}
	}()
	s.pulse.heard(false)
	b := s.srv.batch()
	defer s.srv.putBatch(b)
	switch err := s.awaitBatch(b, r); {
	case err == errUpgraded:
		refuse(w, faultRequest, false)
		return
	case err != nil:
		s.end(err)
		bare(w, http.StatusBadRequest)
		return
	}
	s.writePoll(w, b)
}

// beginPoll makes a request the session's poll. false: it was answered.
func (s *Session) beginPoll(w http.ResponseWriter) (done chan struct{}, ok bool) {
	s.mu.Lock()
	for s.poll == writing { // the peer may have read all of an answer before we know that it is written
		before := s.pollDone
		s.mu.Unlock()
		<-before
		s.mu.Lock()
	}
	switch {
	case s.upgraded:
		s.mu.Unlock()
		refuse(w, faultRequest, false)
		return nil, false
	case s.poll == waiting:
		s.mu.Unlock()
		s.end(broken("two polls at a time"))
		bare(w, http.StatusBadRequest)
		return nil, false
	case s.over():
		// It is remembered so that the peer is told, once.
		farewell := s.farewell
		s.mu.Unlock()
		s.srv.forget(s)
		payload, _ := packet.AppendPayload(nil, s.version, s.base64, []packet.Packet{{Type: farewell}})
		payloadHeader(w, false, len(payload))
		_, _ = w.Write(payload)
		return nil, false
	}
	done = make(chan struct{})
	s.poll, s.pollDone, s.pollLate = waiting, done, s.probed
	s.mu.Unlock()
	select {
	case s.polls <- struct{}{}:
	default:
	}
	return done, true
}

// errUpgraded refuses a poll that came when its session was about to upgrade,
// and had no right to.
var errUpgraded = errors.New("the session has upgraded")

// awaitBatch fills b with what answers a poll, and makes the poll one that is
// being written. An error is to end the session, but for errUpgraded.
func (s *Session) awaitBatch(b *Batch, r *http.Request) error {
	var held <-chan time.Time
	for {
		s.gather(b, true)
		s.mu.Lock()
		probing := s.socket != nil && !s.upgraded
		switch {
		case s.over():
			b.control(packet.Packet{Type: s.farewell})
		case len(b.packets) > 0:
		case s.upgraded && s.pollLate:
			s.mu.Unlock()
			return errUpgraded
		case s.upgraded, probing && s.release:
			b.control(packet.Packet{Type: packet.Noop})
			s.release = false
		}
		if len(b.packets) > 0 {
			s.poll = writing
			s.mu.Unlock()
			return s.fits(b)
		}
		s.mu.Unlock()
		if probing && held == nil {
			// A peer that probes waits for its poll to end.
			timer := time.NewTimer(probeHold)
			defer timer.Stop()
			held = timer.C
		}
		select {
		case <-s.wake:
		case <-s.ended:
		case <-held:
			s.mu.Lock()
			s.release, held = true, nil
			s.mu.Unlock()
		case <-r.Context().Done():
			return transport.ErrGone
		}
	}
}

// fits refuses what cannot be polled.
func (s *Session) fits(b *Batch) error {
	for i := range b.packets {
		if !packet.Fits(s.version, b.packets[i]) {
			return errors.New("a text with the byte 0x1e cannot be polled in protocol 4")
		}
	}
	return nil
}

func payloadHeader(w http.ResponseWriter, binary bool, n int) {
	h := w.Header()
	kind := "text/plain; charset=UTF-8"
	if binary {
		kind = "application/octet-stream"
	}
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(n))
}

func (s *Session) writePoll(w http.ResponseWriter, b *Batch) {
	var binary bool
	s.double(b.packets)
	b.out, binary = packet.AppendPayload(b.out[:0], s.version, s.base64, b.packets)
	payloadHeader(w, binary, len(b.out))
	st := s.srv.streams.Open(w, s.conn)
	defer st.Close()
	s.busy.Store(true)
	defer s.busy.Store(false)
	err := st.Write(b.out)
	if err == nil {
		err = st.Flush()
	}
	if err != nil {
		s.end(err)
		return
	}
	s.wrote(b, len(b.out))
}

// answerPost carries out what the peer sends.
func (s *Session) answerPost(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	switch {
	case s.over():
		s.mu.Unlock()
		refuse(w, faultSession, false)
		return
	case s.upgraded:
		s.mu.Unlock()
		refuse(w, faultRequest, false)
		return
	case s.posting:
		s.mu.Unlock()
		s.end(broken("two POSTs at a time"))
		bare(w, http.StatusBadRequest)
		return
	}
	done := make(chan struct{})
	s.posting, s.postDone = true, done
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.posting = false
		s.mu.Unlock()
		close(done)
	}()
	status, err := s.takePost(w, r)
	if err != nil {
		s.end(err)
	}
	if status != http.StatusOK {
		bare(w, status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", "2")
	_, _ = io.WriteString(w, "ok")
}

// awaitPoll gives a poll that the peer made together with its close the time to
// come, so that it is answered as one that waited: requests over several
// connections overtake each other.
func (s *Session) awaitPoll() {
	late := time.NewTimer(closeHold)
	defer late.Stop()
	for {
		s.mu.Lock()
		polled := s.poll == waiting || s.upgraded
		s.mu.Unlock()
		if polled {
			return
		}
		select {
		case <-s.polls:
		case <-s.ended:
			return
		case <-late.C:
			return
		}
	}
}

// takePost reads a POST and carries it out. An error is to end the session.
func (s *Session) takePost(w http.ResponseWriter, r *http.Request) (status int, err error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	binary := kind == "application/octet-stream"
	if binary && s.version != packet.V3 {
		return http.StatusBadRequest, broken("a binary payload in protocol 4")
	}
	limit := int64(s.srv.cfg.MaxPayload)
	if r.ContentLength > limit {
		return http.StatusRequestEntityTooLarge, nil
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyWait))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil { // else net/http, which reads what is left, would wait for ever
		_ = rc.SetReadDeadline(time.Time{})
	}
	if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
		return http.StatusRequestEntityTooLarge, nil
	}
	if err != nil {
		return http.StatusBadRequest, fmt.Errorf("%w: while it sent: %w", transport.ErrGone, err)
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	for p, err := range packet.Payload(s.version, binary, body) {
		if err != nil {
			return http.StatusBadRequest, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if s.version == packet.V3 && !binary {
			p = s.undouble(p)
		}
		if err := s.take(p); err != nil {
			if errors.Is(err, errPeerClosed) {
				s.awaitPoll()
				return http.StatusOK, err
			}
			return http.StatusBadRequest, err
		}
	}
	return http.StatusOK, nil
}
