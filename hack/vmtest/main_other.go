//go:build !linux

package main

import "fmt"

func main() {
	fmt.Println("vmtest: all suites skipped: virtual machines are made on Linux only")
}
