package hub

import "crier/internal/topic"

// interest is one who wants to know what is listened to.
type interest struct {
	tell func(p topic.Pattern, by int)
}

// Interest has tell called for each pattern of each subscription: with by 1
// for those that there are, before Interest returns, and as others begin; with
// -1 as they end. It is called in order, never at the same time, and does not
// block nor call the domain. It is for whoever brings messages in from outside
// only while somebody listens.
func (d *Domain) Interest(tell func(p topic.Pattern, by int)) (stop func()) {
	in := &interest{tell}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.interests == nil {
		d.interests = map[*interest]struct{}{}
	}
	d.interests[in] = struct{}{}
	for s := range d.subs {
		for _, p := range s.filter.Patterns() {
			tell(p, 1)
		}
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.interests, in)
	}
}

// interested tells of a subscription that began or ended. The caller holds
// d.mu.
func (d *Domain) interested(s *Subscription, by int) {
	for in := range d.interests {
		for _, p := range s.filter.Patterns() {
			in.tell(p, by)
		}
	}
}
