//go:build !linux

package bench

func (c *crowd) start() error {
	c.startEach()
	return nil
}
