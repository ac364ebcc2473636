package mongodb

// Abandon has nothing of the engine reach the server any more, as kill -9
// would: what is under way ends first.
func (e *Engine) Abandon() {
	e.gate.Lock()
	e.abandoned = true
	e.gate.Unlock()
	_ = e.Close()
}
