// Package xdppair gives the tests of this module a wire that frames really cross:
// two stacks over AF_XDP on the ends of a veth pair.
package xdppair

import (
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/afxdp"
)

// New makes two hosts, 192.0.2.10 and 192.0.2.11, that are there until the test
// ends. It skips the test where there are no network namespaces. The kernel has no
// address on either end.
func New(t testing.TB, o *stacktest.Options) (a, b *stacktest.Host) {
	t.Helper()
	w := netnstest.NewPair(t, nil)
	return On(t, w.A, netip.MustParsePrefix("192.0.2.10/24"), o), On(t, w.B, netip.MustParsePrefix("192.0.2.11/24"), o)
}

// On makes a host on one end of a wire.
func On(t testing.TB, end *netns.Host, addr netip.Prefix, o *stacktest.Options) *stacktest.Host {
	t.Helper()
	var l *afxdp.Link
	if err := end.DoErr(func() (err error) {
		l, err = afxdp.Open(end.IfName, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var own stacktest.Options
	if o != nil {
		own = *o
	}
	own.Device.BufferSize = 0 // XDP's frames take a page
	return stacktest.On(t, l, addr, &own)
}
