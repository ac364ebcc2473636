//go:build !linux

package bench

import "errors"

// dropCache is known for Linux only.
func dropCache(string) error { return errors.New("not supported on this system") }
