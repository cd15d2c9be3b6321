//go:build !linux

// Serve puts the model of an ixgbe card into a virtual machine, on Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "serve: vfio-user is served on Linux only")
	os.Exit(1)
}
