//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "vmtest: virtual machines are made on Linux only")
	os.Exit(1)
}
