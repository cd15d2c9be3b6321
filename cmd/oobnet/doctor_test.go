package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/doctor"
	"github.com/oobnet/oobnet/internal/leaktest"
)

// TestDoctor sees that the exit code says what the report says.
func TestDoctor(t *testing.T) {
	leaktest.Check(t)
	c := doctorCommand()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetArgs([]string{"--json"})
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.Execute()
	var findings []doctor.Finding
	if err := json.Unmarshal(out.Bytes(), &findings); err != nil || len(findings) == 0 {
		t.Fatalf("%v in %q", err, &out)
	}
	if bad := doctor.Count(findings, doctor.Bad); (err != nil) != (bad > 0) {
		t.Errorf("%d lines are bad, and it ends with %v", bad, err)
	}
}

func TestDoctorOfNoInterface(t *testing.T) {
	leaktest.Check(t)
	c := doctorCommand()
	c.SetArgs([]string{"-i", "no-such-if"})
	c.SilenceErrors, c.SilenceUsage = true, true
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "no-such-if") {
		t.Error(err)
	}
}
