package loopback

import (
	"fmt"
	"testing"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
)

func TestSuite(t *testing.T) {
	for _, cfg := range []Config{
		{Queues: 1},
		{Queues: 4},
		{Queues: 1, RingSize: 64, MTU: 2000},
		{Queues: 2, With: allFeatures},
		{Queues: 1, With: TXChecksum | VLANStrip},
		{Queues: 1, With: VLANInsert | RXChecksum},
	} {
		t.Run(fmt.Sprintf("New/queues=%d,ring=%d,with=%d", cfg.Queues, cfg.RingSize, cfg.With), func(t *testing.T) {
			linktest.Suite(t, func(t *testing.T) linktest.Wire { return openSelf(t, &cfg) })
		})
		t.Run(fmt.Sprintf("Pair/queues=%d,ring=%d,with=%d", cfg.Queues, cfg.RingSize, cfg.With), func(t *testing.T) {
			linktest.Suite(t, func(t *testing.T) linktest.Wire { return openPair(t, &cfg) })
		})
	}
}

func openSelf(t *testing.T, cfg *Config) linktest.Wire {
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return linktest.Wire{Link: l, SetCarrier: carrier(l)}
}

func openPair(t *testing.T, cfg *Config) linktest.Wire {
	a, b, err := Pair(cfg)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := linktest.NewLinkPeer(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return linktest.Wire{Link: a, Peer: peer, PeerMAC: b.MAC(), SetCarrier: carrier(a)}
}

func carrier(l *Link) func(bool) {
	return func(up bool) {
		if up {
			l.SetState(link.Up)
		} else {
			l.SetState(link.Down)
		}
	}
}
