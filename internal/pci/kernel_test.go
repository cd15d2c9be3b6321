package pci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

func TestSystemWrites(t *testing.T) {
	leaktest.Check(t)
	s := system{dev: t.TempDir()}
	file := filepath.Join(s.dev, "file")
	if err := s.Write(file, "x"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(file, "igb\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "igb\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSystemBusy(t *testing.T) {
	leaktest.Check(t)
	s := system{dev: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(s.dev, "vfio"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dev, "vfio/7"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Busy("7") || s.Busy("8") {
		t.Error("a group that nobody has, or that is not there, is busy")
	}
}
