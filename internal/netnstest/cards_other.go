//go:build !linux

package netnstest

import "testing"

func cards(testing.TB) (ends [2]string) { return ends }

func cardDriver(testing.TB) string { return "" }

func vfioCard(testing.TB) (address, peer string) { return "", "" }
