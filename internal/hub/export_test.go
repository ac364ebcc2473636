package hub

// ShrinkTail bounds the domain's tail below what a hub would give it.
func (d *Domain) ShrinkTail(bytes int64) { d.tailLimit.Store(bytes) }
