package linktest

import (
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
)

// openWire opens a loopback pair, with wrap around the end under test.
func openWire(t *testing.T, cfg *loopback.Config, wrap func(link.Link) link.Link) Wire {
	t.Helper()
	a, b, err := loopback.Pair(cfg)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := NewLinkPeer(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return Wire{Link: wrap(a), Peer: peer, PeerMAC: b.MAC()}
}

// faultRig attaches a Fault over a loopback pair and fills it.
func faultRig(t *testing.T, cfg FaultConfig) (*rig, *Fault) {
	t.Helper()
	var f *Fault
	r := newRig(t, openWire(t, nil, func(l link.Link) link.Link {
		f = NewFault(l, cfg)
		return f
	}))
	r.fill()
	return r, f
}
