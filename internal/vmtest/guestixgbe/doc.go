// Package guestixgbe holds the tests that Linux's own ixgbe driver has to pass
// on link/vfio/internal/ixgbemodel in a virtual machine: what a driver that has
// run on silicon for years cannot use is no model of it. "make test-ixgbe" runs
// them; elsewhere they skip.
//
// The card is one end of a wire between two network namespaces, the kernel's
// virtio card the other. The model's violations, which end a run as failed, are
// counted by hack/vmtest.
package guestixgbe
