//go:build !linux

package stack_test

import (
	"testing"

	"github.com/oobnet/oobnet/link"
)

// resident is not known here.
func resident(*testing.T, *link.Memory) (bytes int, ok bool) { return 0, false }
