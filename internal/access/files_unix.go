//go:build unix

package access

import (
	"io/fs"
	"os"
)

// privateMode reports whether a file is kept from the others of the machine.
// A group is let be: orchestrators give volumes to one.
func privateMode(m fs.FileMode) bool { return m.Perm()&0o007 == 0 }

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
