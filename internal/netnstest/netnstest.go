// Package netnstest gives a test a private wire between two network
// namespaces, and takes it away when the test ends. The wire itself is
// [github.com/oobnet/oobnet/internal/netns]'s, for programs that are no tests.
package netnstest

import (
	"errors"
	"testing"

	"github.com/oobnet/oobnet/internal/netns"
)

// The types of package netns, so that a test imports one package.
type (
	// Wire is a veth pair between two namespaces.
	Wire = netns.Wire
	// Host is one end of it.
	Host = netns.Host
	// Config describes it.
	Config = netns.Config
	// Offloads says where the kernel's transmit offloads stay on.
	Offloads = netns.Offloads
)

// Choices of Config.Offloads, see package netns.
const (
	OffloadsOffB = netns.OffloadsOffB
	OffloadsOff  = netns.OffloadsOff
	OffloadsOn   = netns.OffloadsOn
)

// Available says why a wire cannot be made here, nil if it can.
func Available() error { return netns.Available() }

// RequireRoot skips the test, with the reason, where no wire can be made:
// without privileges, without network namespaces or without veth.
func RequireRoot(t testing.TB) {
	t.Helper()
	if err := netns.Available(); err != nil {
		t.Skipf("needs root and network namespaces: %v", err)
	}
}

// NewPair makes a wire for the test, or skips it as [RequireRoot] does. The
// wire is removed after the cleanups that the test registers later, so sockets
// and links that close in those are gone by then. The test fails if a
// namespace cannot be removed or is still held by a thread.
// A nil config means the defaults.
//
// In a virtual machine of package vmtest whose card has a driver of the
// kernel's, the wire is the card's and A the card; a test that wants more
// queues than it has is skipped.
func NewPair(t testing.TB, cfg *Config) *Wire {
	t.Helper()
	RequireRoot(t)
	var c Config
	if cfg != nil {
		c = *cfg
	}
	c.Ends = cards(t)
	return newWire(t, &c)
}

// HasCard says whether [NewCard] makes a wire here, without making one.
func HasCard(t testing.TB) bool {
	t.Helper()
	return cardDriver(t) == vfioDriver
}

// Borrows says whether [NewPair]'s wire is a card's here, without making one.
func Borrows(t testing.TB) bool {
	t.Helper()
	driver := cardDriver(t)
	return driver != "" && driver != vfioDriver
}

// vfioDriver is the kernel's driver of cards that are for drivers in user space.
const vfioDriver = "vfio-pci"

// NewCard makes a wire with a card of a virtual machine of package vmtest at
// one end that VFIO has, and its PCI address: link/vfio's. Its peer is the
// wire's B; A is nil, for this kernel has nothing there. Elsewhere it returns
// nothing. See [NewPair] for the rest.
func NewCard(t testing.TB, cfg *Config) (w *Wire, address string) {
	t.Helper()
	address, peer := vfioCard(t)
	if address == "" {
		return nil, ""
	}
	var c Config
	if cfg != nil {
		c = *cfg
	}
	c.Ends = [2]string{"", peer}
	return newWire(t, &c), address
}

func newWire(t testing.TB, c *Config) *Wire {
	t.Helper()
	w, err := netns.Make(c)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}
