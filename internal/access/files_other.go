//go:build !unix

package access

import "io/fs"

// privateMode cannot be told from mode bits here; the directory's rights
// decide.
func privateMode(fs.FileMode) bool { return true }

// syncDir has nothing to do where directories cannot be synced.
func syncDir(string) error { return nil }
