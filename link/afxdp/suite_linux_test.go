package afxdp

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
)

// suiteType is the EtherType of the suite's frames.
const suiteType = 0x88b5

// suiteSTag is the EtherType of provider tags.
const suiteSTag = 0x88a8

// openOn opens the host's interface, with claims.
func openOn(t testing.TB, h *netnstest.Host, cfg *Config, claims *link.Claims) *Link {
	t.Helper()
	var l *Link
	var err error
	h.Do(func() { l, err = Open(h.IfName, cfg) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.Select(claims); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(cardWait); l.State() != link.Up; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the link is %v after %v", l.State(), cardWait)
		}
	}
	return l
}

// cardWait is how long an emulated card on busy processors may negotiate.
const cardWait = 30 * time.Second

// needsVeth skips what is about veth, or done with it alone.
func needsVeth(t testing.TB, w *netnstest.Wire, why string) {
	t.Helper()
	if w.Borrowed() {
		t.Skip("needs a veth pair: " + why)
	}
}

// packetPeer is a kernel packet socket as the far end of a wire.
type packetPeer struct {
	f *os.File
	b []byte
}

func newPacketPeer(t testing.TB, h *netnstest.Host, etherType uint16) *packetPeer {
	t.Helper()
	f, err := h.RawSocket(etherType)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := roomy(f); err != nil {
		t.Fatal(err)
	}
	return &packetPeer{f: f, b: make([]byte, 1<<16)}
}

// peerRoom is a packet socket's receive buffer, bytes: 4096 short frames with
// what the kernel counts of its own for each. The usual 208 KiB hold some 250,
// which a test that is slow to look, on a loaded machine, is sent in a moment.
const peerRoom = 4 << 20

func roomy(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, peerRoom)
	}); err != nil {
		return err
	}
	return failed
}

func (p *packetPeer) Send(frame []byte) error {
	_, err := p.f.Write(frame)
	return err
}

func (p *packetPeer) Receive(timeout time.Duration) ([]byte, error) {
	if err := p.f.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	n, err := p.f.Read(p.b)
	// A packet socket reports once that its interface was down meanwhile.
	if errors.Is(err, unix.ENETDOWN) {
		n, err = p.f.Read(p.b)
	}
	return p.b[:n], err
}

func TestSuite(t *testing.T) {
	needsVeth(t, netnstest.NewPair(t, nil), "a card has TestSuiteZeroCopy and TestSuiteCopy, and takes seconds for each wire")
	for _, c := range []struct {
		queues int
		cfg    Config
	}{{1, Config{Mode: Native}}, {2, Config{Mode: Native}}, {1, Config{Mode: Generic}}, {1, Config{Mode: Native, With: RXTime | RXVLAN | TXChecksum}}} {
		t.Run(fmt.Sprintf("%d queues, %v, with %#x", c.queues, c.cfg.Mode, c.cfg.With), func(t *testing.T) {
			needsFeatures(t, c.cfg.With)
			linktest.Suite(t, func(t *testing.T) linktest.Wire {
				leaktest.Check(t)
				return suiteWire(t, netnstest.NewPair(t, &netnstest.Config{Queues: c.queues}), &c.cfg)
			})
		})
	}
}

// needsFeatures skips where a wire has not all of them.
func needsFeatures(t *testing.T, with Features) {
	t.Helper()
	if with == 0 {
		return
	}
	w := netnstest.NewPair(t, nil)
	w.A.Do(func() {
		l, err := Open(w.A.IfName, &Config{With: with})
		if errors.Is(err, link.ErrNotSupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Close(); err != nil { // there may be one card
		t.Fatal(err)
	}
}

func suiteWire(t *testing.T, w *netnstest.Wire, cfg *Config) linktest.Wire {
	t.Helper()
	claims := &link.Claims{EtherTypes: []link.ClaimEtherType{
		{EtherType: suiteType}, {VLAN: 2, EtherType: link.AllEtherTypes}, {VLAN: 4094, EtherType: link.AllEtherTypes}, {EtherType: suiteSTag},
	}}
	wire := linktest.Wire{
		// The kernel takes tags off before a packet socket sees the frame.
		TagsHidden:      true,
		ChecksumsHidden: true,
		Link:            openOn(t, w.A, cfg, claims),
		Peer:            newPacketPeer(t, w.B, suiteType),
		PeerMAC:         w.B.MAC,
		SetCarrier: func(up bool) {
			if err := w.B.SetUp(up); err != nil {
				t.Error(err)
			}
			if up {
				if err := w.B.WaitUp(2 * time.Second); err != nil {
					t.Error(err)
				}
			}
		},
		Reopen: func(t *testing.T) link.Link { return openOn(t, w.A, cfg, claims) },
	}
	if w.Borrowed() {
		wire.PadTo = shortestFrame
		// A guest may stand still while other machines compute.
		wire.Timeout = cardWait / 2
		// What a card loses for want of a buffer, it counts itself.
		wire.LossUncounted = true
		// The peer's hub keeps the card's carrier up, whatever the peer does.
		wire.SetCarrier = nil
	}
	return wire
}

// shortestFrame is what cards make of shorter ones, bytes without check sequence.
const shortestFrame = 60
