//go:build !linux || !(amd64 || arm64)

package seglog

import "errors"

func newBackground(*unseen) *background { return nil }

// ring is not there.
type ring struct{}

func newRing() (*ring, error) { return nil, errors.ErrUnsupported }

func (r *ring) datasync(int) (bool, error) { return false, nil }

func (r *ring) close() error { return nil }
