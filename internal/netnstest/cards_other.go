//go:build !linux

package netnstest

import "testing"

func cards(testing.TB) (ends [2]string) { return ends }

func vfioCard(testing.TB) (address, peer string) { return "", "" }
