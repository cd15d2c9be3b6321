package guestixgbe

import (
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// setMTU changes it at both ends.
func (r *rig) setMTU(mtu int) {
	r.t.Helper()
	// The longer frames are never on the wire before both can take them.
	ends := []func(int) error{r.A.SetMTU, r.B.SetMTU}
	for _, set := range ends {
		if err := set(mtu); err != nil {
			r.t.Fatalf("MTU %d: %v", mtu, err)
		}
	}
	r.waitUp()
}

// TestMTU carries traffic with frames of all lengths that the card takes.
func TestMTU(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	for _, mtu := range []int{1500, 9000, 576, 9710, 1500} {
		r.setMTU(mtu)
		r.ping(2, mtu-28)
		r.ping(2, 3*mtu)
		r.exchange(t, r.A, r.B, peerAddr.Addr(), mtu)
		r.exchange(t, r.B, r.A, cardAddr.Addr(), mtu)
	}
}

// TestMTUUnderTraffic changes the MTU, which resets the card, while a stream is
// on its way: nothing of it is lost or changed.
func TestMTUUnderTraffic(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	streams := r.background()
	for _, mtu := range []int{9000, 1500, 9000, 1500} {
		r.setMTU(mtu)
		streams.progress()
	}
	streams.end()
	r.ping(3, 1472)
}

// TestCable pulls the card's cable under traffic and plugs it in again.
func TestCable(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	streams := r.background()
	for range 3 {
		r.card.SetCable(t, false)
		eventually(t, "no carrier", func() bool { return !r.carrier() })
		r.card.SetCable(t, true)
		r.waitUp()
		streams.progress()
	}
	streams.end()
}

// TestDownAndUp switches the interface off and on under traffic.
func TestDownAndUp(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	streams := r.background()
	for range 3 {
		for _, up := range []bool{false, true} {
			if err := r.A.SetUp(up); err != nil {
				t.Fatal(err)
			}
		}
		r.waitUp()
		streams.progress()
	}
	streams.end()
}

// TestReset has the driver reset the card, as a change of flow control does.
func TestReset(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	for _, args := range [][]string{{"rx", "off", "tx", "off"}, {"rx", "on", "tx", "on"}} {
		r.ethtool("-A", args...)
		r.waitUp()
		r.ping(3, 1472)
	}
	r.ethtool("-r")
	r.waitUp()
	for _, size := range []string{"64", "4096", "512"} {
		r.ethtool("-G", "rx", size, "tx", size)
		r.waitUp()
		r.exchange(t, r.A, r.B, peerAddr.Addr(), 1500)
	}
	r.ethtool("-C", "rx-usecs", "0")
	r.ping(3, 1472)
	r.ethtool("-C", "rx-usecs", "1")
	r.ping(3, 1472)
}
