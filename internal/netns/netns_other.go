//go:build !linux

package netns

import (
	"errors"
	"fmt"
)

type handle struct{}

var errNoNamespaces = fmt.Errorf("netns: network namespaces are Linux's: %w", errors.ErrUnsupported)

// Available says why a wire cannot be made here, nil if it can.
func Available() error { return errNoNamespaces }

// Make makes a wire. A nil config means the defaults. The caller closes it.
func Make(*Config) (*Wire, error) { return nil, errNoNamespaces }

// Own lists the namespaces of this process: none.
func Own() ([]string, error) { return nil, nil }

// Close removes the wire and its namespaces.
func (w *Wire) Close() error { return errNoNamespaces }

func (h *Host) do(func()) error { return errNoNamespaces }
