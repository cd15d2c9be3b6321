package vfio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
)

// The tests below want a card of a virtual machine that is bound to vfio-pci, and
// skip elsewhere: the kernel's VFIO and its IOMMU are under the link, and the
// kernel's own network stack is at the other end of the wire.

// packetPeer is a packet socket on the interface at the other end of a card's wire.
type packetPeer struct {
	fd      int
	mac     link.MAC
	buf     [1 << 16]byte
	control [64]byte
}

func newPacketPeer(t testing.TB, ifname string) *packetPeer {
	t.Helper()
	// The kernel's own frames would only be in the way.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+ifname+"/disable_ipv6", []byte("1"), 0o644)
	// In a batch of received frames the kernel shows those with a tag before
	// those without.
	if err := os.WriteFile("/proc/sys/net/core/gro_normal_batch", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	nl, err := netlink.LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(nl); err != nil {
		t.Fatal(err)
	}
	// What nobody has taken off the wire goes with the interface's rings.
	t.Cleanup(func() {
		if err := netlink.LinkSetDown(nl); err != nil {
			t.Error(err)
		}
	})
	const order = unix.ETH_P_ALL << 8 // network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, order)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: order, Ifindex: nl.Attrs().Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		t.Fatal(err)
	}
	// QEMU's wire holds up who sends to a card that takes nothing.
	limit := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	return &packetPeer{fd: fd, mac: link.MAC(nl.Attrs().HardwareAddr)}
}

func (p *packetPeer) Send(frame []byte) error {
	_, err := unix.Write(p.fd, frame)
	return err
}

func (p *packetPeer) Receive(timeout time.Duration) ([]byte, error) {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for end := time.Now().Add(timeout); ; {
		left := time.Until(end)
		if left < 0 {
			return nil, os.ErrDeadlineExceeded
		}
		if n, err := unix.Poll(fds, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return nil, err
		} else if n <= 0 {
			continue
		}
		n, control, _, from, err := unix.Recvmsg(p.fd, p.buf[vlanTag:], p.control[:], 0)
		if err != nil {
			return nil, err
		}
		// What we sent ourselves comes too, and what the kernel has to say.
		ll, ok := from.(*unix.SockaddrLinklayer)
		if b := p.buf[vlanTag:][:n]; ok && ll.Pkttype != unix.PACKET_OUTGOING && n >= frameHeader && b[6] == 6 && b[7] == 'L' {
			return p.withTag(n, p.control[:control]), nil
		}
	}
}

// withTag puts the tag that the kernel has taken out of a frame back in.
func (p *packetPeer) withTag(n int, control []byte) []byte {
	const (
		header    = unix.SizeofCmsghdr
		tagValid  = 1 << 4 // TP_STATUS_VLAN_VALID
		tciAt     = 16     // in struct tpacket_auxdata
		auxLength = 20
	)
	if len(control) < header+auxLength || binary.NativeEndian.Uint32(control[header:])&tagValid == 0 {
		return p.buf[vlanTag:][:n]
	}
	aux := control[header:]
	copy(p.buf[:12], p.buf[vlanTag:])
	binary.BigEndian.PutUint16(p.buf[12:], binary.NativeEndian.Uint16(aux[tciAt+2:]))
	binary.BigEndian.PutUint16(p.buf[14:], binary.NativeEndian.Uint16(aux[tciAt:]))
	return p.buf[:n+vlanTag]
}

// openCard opens the first card of the machine.
func openCard(t testing.TB, card guesttest.Card, cfg *Config) *Link {
	t.Helper()
	l, err := Open(card.Address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func vfioCard(t testing.TB) guesttest.Card {
	t.Helper()
	card := guesttest.First(t)
	card.Bind(t, "vfio-pci")
	return card
}

// TestVMSuite runs the contract on the card, with each kind of interrupt that it has.
func TestVMSuite(t *testing.T) {
	card := vfioCard(t)
	for _, kind := range []Interrupts{MSIX, MSI, INTx} {
		t.Run(fmt.Sprintf("%s, %v", card.Model, kinds[kind][0]), func(t *testing.T) {
			l, err := Open(card.Address, &Config{Interrupts: kind})
			if errors.Is(err, link.ErrNotSupported) {
				t.Skipf("the card has not these interrupts: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			linktest.Suite(t, func(t *testing.T) linktest.Wire {
				leaktest.Check(t)
				peer := newPacketPeer(t, card.PeerNetdev(t))
				reopen := func(t *testing.T) link.Link { return upLink{openCard(t, card, &Config{Interrupts: kind})} }
				return linktest.Wire{
					Link: reopen(t), Peer: peer, PeerMAC: peer.mac, PadTo: 60, Timeout: wireTime, LossUncounted: true, Reopen: reopen,
					// The kernel drops a tag with nothing behind it, and nobody pads here.
					MinFrame:   frameHeader + vlanTag,
					SetCarrier: func(up bool) { card.SetCable(t, up) },
				}
			})
		})
	}
}

// TestVMErrors asks the kernel for what it refuses.
func TestVMErrors(t *testing.T) {
	card := vfioCard(t)
	leaktest.Check(t)
	l := openCard(t, card, nil)
	if again, err := Open(card.Address, nil); err == nil {
		again.Close()
		t.Error("a device in use was opened again")
	} else if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a device in use: %v", err)
	}
	layout := link.Layout{BufferSize: 2048, Queues: l.Queues(), RXBuffers: 1024, TXBuffers: 8192}
	// Root may lock what it likes, but for this capability.
	withoutCapability(t, unix.CAP_IPC_LOCK, func() {
		was := unix.Rlimit{}
		if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 1 << 20, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		defer unix.Setrlimit(unix.RLIMIT_MEMLOCK, &was)
		if _, err := l.Attach(layout); !errors.Is(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "ulimit -l") {
			t.Errorf("a memlock limit that is too small: %v", err)
		}
	})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	card.Bind(t, "")
	if l, err := Open(card.Address, nil); err == nil {
		l.Close()
		t.Error("a device that is bound to nothing was opened")
	} else if !strings.Contains(err.Error(), "oobnet bind") {
		t.Errorf("a device that is bound to nothing: %v", err)
	}
	card.Bind(t, "vfio-pci")
}

// withoutCapability runs f on a thread without one effective capability.
func withoutCapability(t *testing.T, lost uint, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		data[lost/32].Effective &^= 1 << (lost % 32)
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// TestVMUnbind takes the driver from the card while a wait is under way, as a hot
// unplug does: the kernel asks for the device, gets it at once, and does not wait.
func TestVMUnbind(t *testing.T) {
	card := vfioCard(t)
	leaktest.Check(t)
	l := openCard(t, card, nil)
	layout := link.Layout{BufferSize: 2048, Queues: l.Queues(), RXBuffers: 64, TXBuffers: 64}
	if _, err := l.Attach(layout); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- l.Queue(0).WaitReceive(-1) }()
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	card.Bind(t, "")
	if took := time.Since(start); took > wireTime {
		t.Errorf("unbinding took %v", took)
	}
	if err := <-waited; !errors.Is(err, syscall.ENODEV) {
		t.Errorf("WaitReceive: %v, want ENODEV", err)
	}
	if s := l.State(); s != link.Gone {
		t.Errorf("the link is %v", s)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	card.Bind(t, "vfio-pci")
	openCard(t, card, nil)
}

// childCard names the card to the process that TestVMKilled kills.
const childCard = "OOBNET_VFIO_CHILD"

// TestVMKilled kills a process in full work, and opens its device at once.
func TestVMKilled(t *testing.T) {
	if addr := os.Getenv(childCard); addr != "" {
		sendForever(t, addr)
		return
	}
	card := vfioCard(t)
	leaktest.Check(t)
	peer := newPacketPeer(t, card.PeerNetdev(t))
	child := exec.Command(os.Args[0], "-test.run=^TestVMKilled$")
	child.Env = append(os.Environ(), childCard+"="+card.Address)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	_, err := peer.Receive(wireTime)
	if kill := child.Process.Kill(); kill != nil {
		t.Error(kill)
	}
	_ = child.Wait() // it was killed, and says so
	if err != nil {
		t.Fatalf("nothing came of the process: %v", err)
	}
	l := openCard(t, card, nil)
	layout := link.Layout{BufferSize: 2048, Queues: l.Queues(), RXBuffers: 64, TXBuffers: 64}
	mem, err := l.Attach(layout)
	if err != nil {
		t.Fatal(err)
	}
	q := l.Queue(0)
	q.Fill([]uint32{0, 1, 2, 3})
	frame := testFrame(l.MAC(), nil)
	copy(frame[6:], "\x06L")
	var in [1]link.Frame
	for end := time.Now().Add(wireTime); q.Receive(in[:]) == 0; {
		if time.Now().After(end) {
			t.Fatal("nothing is received after the process was killed")
		}
		if err := peer.Send(frame); err != nil {
			t.Fatal(err)
		}
		if err := q.WaitReceive(100 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if got := mem.Bytes(in[0]); !bytes.Equal(got, frame) {
		t.Errorf("received % x, want % x", got, frame)
	}
}

// sendForever is the process that is killed.
func sendForever(t *testing.T, addr string) {
	l, err := Open(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	layout := link.Layout{BufferSize: 2048, Queues: l.Queues(), RXBuffers: 64, TXBuffers: 64}
	mem, err := l.Attach(layout)
	if err != nil {
		t.Fatal(err)
	}
	q := l.Queue(0)
	frame := testFrame(link.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, nil)
	copy(frame[6:], "\x06L")
	free := []uint32{uint32(layout.RXTotal())}
	for end := time.Now().Add(2 * wireTime); time.Now().Before(end); {
		copy(mem.Buffer(free[0]), frame)
		q.Send([]link.Frame{{Index: free[0], Len: uint16(len(frame))}})
		_ = q.Flush() // the wire may still be down
		for q.Reclaim(free) == 0 && time.Now().Before(end) {
			_ = q.WaitSend(time.Millisecond)
		}
		// QEMU (10.0, emulated) has been seen to trip over a device that is
		// reset while a processor goes at its registers without a pause.
		time.Sleep(5 * time.Millisecond)
	}
}
