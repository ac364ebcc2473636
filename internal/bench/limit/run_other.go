//go:build !linux

package limit

import "context"

// Run is not known for this system.
func Run(context.Context, Config, func(address string)) error { return ErrUnsupported }
