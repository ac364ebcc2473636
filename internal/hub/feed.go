package hub

import (
	"context"
	"slices"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// maxCarried bounds the messages that wait, carried by rings, for the feed.
// What is beyond is read from the log.
const maxCarried = 8192

// newsBox takes rings from the engine's goroutines without blocking them.
type newsBox struct {
	wake chan struct{} // capacity 1

	mu       sync.Mutex // guards the fields below
	head     uint64
	messages []message.Message // consecutive
	changed  bool
}

func (b *newsBox) put(n engine.News) {
	b.mu.Lock()
	b.head = max(b.head, n.Head)
	b.changed = b.changed || n.Changed
	if len(n.Messages) > 0 {
		next := n.Messages[0].ID.Seq
		switch {
		case len(b.messages) == 0 || b.messages[len(b.messages)-1].ID.Seq+1 == next:
			if len(b.messages)+len(n.Messages) <= maxCarried {
				b.messages = append(b.messages, n.Messages...)
			}
		case b.messages[len(b.messages)-1].ID.Seq < next: // a ring was lost: keep the newer
			b.messages = append(b.messages[:0], n.Messages...)
		}
	}
	b.mu.Unlock()
}

// call has the feed look into the box.
func (b *newsBox) call() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Bounds of what is done on the goroutine that rings.
const (
	littleNews   = 16
	littleBurden = 32
)

// takeLittle is take if there is little in the box, and all that it says is the
// messages after a sequence number.
func (b *newsBox) takeLittle(after uint64, spare []message.Message) (engine.News, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.messages)
	if n == 0 || n > littleNews || b.changed || b.messages[0].ID.Seq != after+1 || b.head != after+uint64(n) {
		return engine.News{}, false
	}
	news := engine.News{Head: b.head, Messages: b.messages}
	b.head, b.messages = 0, spare[:0]
	return news, true
}

// ring takes a ring of the log's. If that is little to do, and nobody else is at
// it, it is done here: to wake the feed would cost more.
func (d *Domain) ring(n engine.News) {
	d.news.put(n)
	if !d.ringFew() {
		d.news.call()
	}
}

func (d *Domain) ringFew() bool {
	if d.burden.Load() > littleBurden || !d.feeding.TryLock() {
		return false
	}
	defer d.feeding.Unlock()
	n, ok := d.news.takeLittle(d.tailHead(), d.spare)
	if !ok {
		return false
	}
	d.advance(n.Messages[0].ID.Seq, entriesOf(n.Messages))
	clear(n.Messages)
	d.spare = n.Messages
	return true
}

// take empties the box. The head goes too: a log that falls back ends before it.
func (b *newsBox) take(spare []message.Message) engine.News {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := engine.News{Head: b.head, Messages: b.messages, Changed: b.changed}
	b.head, b.messages, b.changed = 0, spare[:0], false
	return n
}

// pending reports whether a change of the log's is to be looked at.
func (b *newsBox) pending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// unread puts it back that the log changed, for whoever looks next.
func (b *newsBox) unread() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = true
}

// feed moves the domain's tail along the log as long as the domain lives. But
// for the goroutine that rings with little news, it is the only one that adds to
// the tail.
func (d *Domain) feed(ctx context.Context) {
	probe := time.NewTimer(d.hub.probe)
	defer probe.Stop()
	var probed, fallen uint64 // the head that the last probe saw, and how often the log had fallen before that
	for {
		probe.Reset(d.hub.probe)
		select {
		case <-ctx.Done():
			return
		case <-probe.C:
			// News may be on its way while the log is asked; what is still
			// missing a whole probe later was lost.
			d.feeding.Lock()
			if d.fallen() == fallen { // else that head may be beyond the log's end
				d.catchUp(ctx, probed)
			}
			d.feeding.Unlock()
			fallen = d.fallen()
			state, err := d.refresh(ctx)
			if err != nil && ctx.Err() == nil {
				d.hub.log.Debug("log not probed", "domain", d.name, "error", err)
			}
			probed = state.Head
			if !d.news.pending() {
				continue
			}
		case <-d.news.wake:
		}
		d.step(ctx)
	}
}

// step takes what is in the box to the tail.
func (d *Domain) step(ctx context.Context) {
	d.feeding.Lock()
	defer d.feeding.Unlock()
	n := d.news.take(d.spare)
	switch {
	case n.Changed:
		// What the box had may be from before the change, and not be there any
		// more: the log is asked for all of it.
		state, err := d.refresh(ctx)
		if err != nil {
			if ctx.Err() == nil {
				d.hub.log.Warn("log not read after a change", "domain", d.name, "error", err)
			}
			d.news.unread()
			break
		}
		d.catchUp(ctx, state.Head)
	case len(n.Messages) > 0:
		first := n.Messages[0].ID.Seq
		d.catchUp(ctx, first-1)
		d.advance(first, entriesOf(n.Messages))
		fallthrough
	default:
		d.catchUp(ctx, n.Head)
	}
	clear(n.Messages)
	d.spare = n.Messages
}

// refresh asks the log where it stands and brings tail, epochs and
// subscriptions in line. It adds nothing to the tail.
func (d *Domain) refresh(ctx context.Context) (engine.State, error) {
	d.refreshMu.Lock()
	defer d.refreshMu.Unlock()
	state, err := d.log.State(ctx)
	if err != nil {
		return state, err
	}
	d.mu.Lock()
	old := d.state
	d.state = state
	var woken []*Subscription
	if state.Changes != old.Changes || current(state) != current(old) {
		if to, fell := d.fellTo(old, state); fell {
			woken = d.rollBack(old, state, to)
		}
		// Something inside history went, perhaps of what the feed is yet to
		// bring: the store knows what.
		woken = d.restart(state.Head, woken)
	}
	d.tail.dropTo(min(state.Trimmed, d.tail.head()))
	d.mu.Unlock()
	changed := state.Changes != old.Changes || current(state) != current(old)
	d.hub.pieces.drop(func(p *Piece) bool { return p.domain == d && (changed || p.after < state.Trimmed) })
	wake(woken)
	return state, nil
}

// fellTo reports whether the log fell back behind the tail's head, and to where.
// It may have grown again since, beyond where it was. What the two states have in
// common ends where the first epoch begins that the old one does not know; if
// there is nothing, all that is known is the new one's head. The caller holds
// d.mu.
func (d *Domain) fellTo(old, now engine.State) (to uint64, fell bool) {
	head := d.tail.head()
	if current(now) == current(old) {
		return 0, false
	}
	known := func(e message.Epoch) bool {
		return slices.ContainsFunc(old.Epochs, func(r engine.EpochRange) bool { return r.Epoch == e })
	}
	to = now.Head
	for i := len(now.Epochs) - 1; i > 0; i-- {
		if known(now.Epochs[i-1].Epoch) {
			to = now.Epochs[i].First - 1
			break
		}
	}
	// A ring that was lost, or came late, can have let the tail have messages of
	// the new epoch already: then it follows the log.
	return to, to < head && (d.newest.IsZero() || known(d.newest))
}

func current(s engine.State) message.Epoch {
	if len(s.Epochs) == 0 {
		return message.Epoch{}
	}
	return s.Epochs[len(s.Epochs)-1].Epoch
}

func wake(subs []*Subscription) {
	for _, s := range subs {
		s.waker.Wake()
	}
}

// maxCatchUp bounds the messages that the feed reads from the log when a ring
// did not carry them. Of more than that, the older are left to the store.
const maxCatchUp = 4000

// catchUp reads what the tail misses up to a sequence number from the log.
func (d *Domain) catchUp(ctx context.Context, upTo uint64) {
	head := d.tailHead()
	if upTo <= head {
		return
	}
	if upTo-head > maxCatchUp {
		d.skipTo(upTo - maxCatchUp)
		head = d.tailHead()
	}
	all := topic.NewFilter(topic.All())
	for head < upTo {
		page, err := d.log.Read(ctx, engine.Query{After: head, UpTo: upTo, Filter: all})
		if err != nil || page.Next <= head || page.Lost > head {
			// The store will tell each subscription itself, or that it can't.
			d.skipTo(upTo)
			return
		}
		d.advance(head+1, d.whole(page, head))
		head = page.Next
	}
}

// fallen counts how often the log fell back.
func (d *Domain) fallen() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.rollbacks
}

func (d *Domain) tailHead() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tail.head()
}

// entriesOf makes entries of consecutive messages, in one piece of memory:
// they leave the tail in their order too.
func entriesOf(messages []message.Message) []*Entry {
	all := make([]Entry, len(messages))
	entries := make([]*Entry, len(messages))
	for i := range messages {
		all[i].Message = messages[i]
		entries[i] = &all[i]
	}
	return entries
}

// whole gives the entries of a page that was read after a sequence number,
// nil for messages that expired.
func (d *Domain) whole(page engine.Page, after uint64) []*Entry {
	entries := make([]*Entry, page.Next-after)
	for i := range page.Messages {
		e := &Entry{Message: page.Messages[i]}
		entries[e.ID.Seq-after-1] = e
	}
	return entries
}

// advance puts entries into the tail, of which the first has the given
// sequence number, and tells the subscriptions that they concern. What the
// tail has is passed over; if something lacks before the first, every
// subscription has to look into the store for it.
func (d *Domain) advance(first uint64, entries []*Entry) {
	d.mu.Lock()
	woken := d.woken[:0]
	if first > d.tail.head()+1 {
		woken = d.restart(first-1, woken)
	}
	skip := min(d.tail.head()+1-first, uint64(len(entries)))
	for _, e := range entries[skip:] {
		d.tail.push(e)
		if e == nil {
			continue
		}
		d.newest = e.ID.Epoch
		d.index.Match(e.Topic, func(s *Subscription) {
			if s.mark(e.ID.Seq) {
				woken = append(woken, s)
			}
		})
	}
	d.tail.shrink(d.tailLimit.Load())
	d.mu.Unlock()
	d.burden.Store(int64(len(woken)))
	wake(woken)
	clear(woken)
	d.woken = woken
}

// skipTo lets the tail begin anew after seq: every subscription has to look
// into the store for what lies before.
func (d *Domain) skipTo(seq uint64) {
	d.mu.Lock()
	woken := d.restart(seq, nil)
	d.mu.Unlock()
	wake(woken)
}

// restart is skipTo for a caller that holds d.mu and wakes who is appended to
// woken. The head never goes back.
func (d *Domain) restart(seq uint64, woken []*Subscription) []*Subscription {
	from := d.tail.head() + 1
	d.tail.reset(max(seq, d.tail.head()))
	if from > seq {
		return woken
	}
	for s := range d.subs {
		// A subscription may have begun ahead of the tail.
		if at := max(from, s.floor.Load()+1); at <= seq && s.mark(at) {
			woken = append(woken, s)
		}
	}
	return woken
}

// rollBack takes the tail back to where the log fell: subscriptions that had
// been told more go on from there with a gap. The caller holds d.mu and wakes
// who is returned.
func (d *Domain) rollBack(old, now engine.State, to uint64) (woken []*Subscription) {
	d.rollbacks++
	for s := range d.subs {
		if s.rollBack(old, now, to) {
			woken = append(woken, s)
		}
	}
	d.tail.reset(to)
	return woken
}
