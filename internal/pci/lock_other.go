//go:build !unix

package pci

import "os"

// lock has nothing to guard: only Linux has drivers to bind.
func lock(*os.File) error { return nil }
