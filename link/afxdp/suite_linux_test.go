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
	return l
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
	for _, c := range []struct {
		queues int
		mode   Mode
	}{{1, Native}, {2, Native}, {1, Generic}} {
		t.Run(fmt.Sprintf("%d queues, %v", c.queues, c.mode), func(t *testing.T) {
			linktest.Suite(t, func(t *testing.T) linktest.Wire { return suiteWire(t, c.queues, &Config{Mode: c.mode}) })
		})
	}
}

func suiteWire(t *testing.T, queues int, cfg *Config) linktest.Wire {
	leaktest.Check(t)
	w := netnstest.NewPair(t, &netnstest.Config{Queues: queues})
	claims := &link.Claims{EtherTypes: []link.ClaimEtherType{
		{EtherType: suiteType}, {VLAN: 2, EtherType: link.AllEtherTypes}, {VLAN: 4094, EtherType: link.AllEtherTypes}, {EtherType: suiteSTag},
	}}
	return linktest.Wire{
		// The kernel takes tags off before a packet socket sees the frame.
		TagsHidden: true,
		Link:       openOn(t, w.A, cfg, claims),
		Peer:       newPacketPeer(t, w.B, suiteType),
		PeerMAC:    w.B.MAC,
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
}
