package latmus

import (
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// TestVM measures round trips on a card of a virtual machine that VFIO has, to an
// echo of the kernel's at the other end of the wire, and skips elsewhere.
func TestVM(t *testing.T) {
	leaktest.Check(t)
	w, address := netnstest.NewCard(t, nil)
	if w == nil {
		t.Skip("needs a card of a virtual machine that VFIO has: \"make test-vm\"")
	}
	peer := netip.MustParsePrefix("192.0.2.2/24")
	if err := w.B.AddAddr(peer); err != nil {
		t.Fatal(err)
	}
	o := short()
	o.Interface, o.Addr, o.Peer = address, netip.MustParsePrefix("192.0.2.1/24"), peer.Addr()
	o.RTT, o.Period, o.Duration, o.Silence = true, 5*time.Millisecond, 2*time.Second, 0
	c, err := w.B.ListenUDP(netip.AddrPortFrom(peer.Addr(), o.Port))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var buf [MaxSize]byte
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf[:])
			if err == nil {
				_, err = c.WriteToUDPAddrPort(buf[:n], from)
			}
			if err != nil { // it was closed
				return
			}
		}
	}()
	r, err := Run(t.Context(), o)
	c.Close()
	<-ended
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent == 0 || r.Received == 0 || r.Demoted != 0 || r.BadCRC != 0 || r.SendErrors != 0 {
		t.Errorf("%+v", r)
	}
}
