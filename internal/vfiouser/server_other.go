//go:build !linux

package vfiouser

import (
	"errors"
	"fmt"
)

// Server exists on Linux only.
type Server struct{}

// Memory exists on Linux only.
type Memory struct{}

// Listen fails: descriptors of memory and eventfds are Linux's.
func Listen(path string, _ Device, _ *Config) (*Server, error) {
	return nil, fmt.Errorf("vfiouser: %s: %w", path, errors.ErrUnsupported)
}
