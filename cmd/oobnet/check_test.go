package main

import (
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// What there is not cannot be checked, and says so.
func TestCheckOfNoCard(t *testing.T) {
	leaktest.Check(t)
	c := checkCommand()
	c.SetArgs([]string{"ffff:1f:1f.7"})
	c.SilenceErrors, c.SilenceUsage = true, true
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "ffff:1f:1f.7") {
		t.Error(err)
	}
}
