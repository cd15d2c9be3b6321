package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Kernel is what binding does to the system beside reading it. Tests play it.
type Kernel interface {
	// Write writes a value to a file of sysfs, in one system call.
	Write(file, value string) error
	// Busy says whether a process has an IOMMU group open.
	Busy(group string) bool
}

// system is the running kernel; dev is where it shows devices.
type system struct{ dev string }

func (system) Write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run as root", err)
	case err != nil:
		return fmt.Errorf("writing %q: %w", value, err)
	}
	return nil
}

// Busy opens the group: one process at a time may.
func (s system) Busy(group string) bool {
	f, err := os.OpenFile(filepath.Join(s.dev, "vfio", group), os.O_RDWR, 0)
	if err == nil {
		err = f.Close()
	}
	return errors.Is(err, syscall.EBUSY)
}
