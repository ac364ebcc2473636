//go:build !linux

package wire

func newKernel() (Kernel, error) { return nil, ErrUnsupported }
