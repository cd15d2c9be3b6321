package vfio

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBigEndian builds the drivers for a processor of the other byte order and has
// QEMU run their tests that look at descriptors byte by byte.
func TestBigEndian(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs the Go tool: %v", err)
	}
	emulator := ""
	for _, name := range []string{"qemu-s390x-static", "qemu-s390x"} {
		if path, err := exec.LookPath(name); err == nil {
			emulator = path
			break
		}
	}
	for _, d := range drivers {
		t.Run(d.Name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), d.Name+".test")
			build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, "./"+d.Name)
			build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=s390x", "CGO_ENABLED=0", "GOFLAGS=")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if emulator == "" {
				t.Skip("it builds; to run it needs qemu-s390x: apt-get install qemu-user-static")
			}
			out, err := exec.CommandContext(t.Context(), emulator, "-cpu", "max", program, "-test.v", "-test.run=^(TestDescriptors|TestReceived)$").CombinedOutput()
			if err != nil || strings.Count(string(out), "--- PASS: Test") != 2 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
