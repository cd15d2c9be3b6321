package guesttest_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
)

// own are the kernel's drivers of the cards.
var own = map[string]string{"igb": "igb", "e1000e": "e1000e", "e1000": "e1000", "82599": "ixgbe", "x540": "ixgbe"}

// TestBind gives each card to VFIO and back, as drivers' tests will.
func TestBind(t *testing.T) {
	for _, c := range guesttest.Cards(t) {
		t.Run(c.Model, func(t *testing.T) {
			if got := c.Bound(t); got != c.Driver {
				t.Errorf("the card has driver %q at first, want %q", got, c.Driver)
			}
			node := filepath.Join("/dev/vfio", c.Group(t))
			for round := range 3 {
				c.Bind(t, "vfio-pci")
				if _, err := os.Stat(node); err != nil {
					t.Errorf("round %d, bound to VFIO: %v", round, err)
				}
				c.Bind(t, "")
				if got := c.Bound(t); got != "" {
					t.Errorf("round %d, bound to none: %q", round, got)
				}
				c.Bind(t, own[c.Model])
				if _, err := os.Stat(node); err == nil {
					t.Errorf("round %d: %s is there while the kernel has the card", round, node)
				}
				if name := c.Netdev(t); name == "" {
					t.Errorf("round %d: no interface", round)
				}
			}
			c.Bind(t, c.Driver)
		})
	}
}

// TestGroup opens the card's group as VFIO wants it: viable, since no other
// card is in it that the kernel drives.
func TestGroup(t *testing.T) {
	c := guesttest.First(t)
	c.Bind(t, "vfio-pci")
	f, err := os.OpenFile(filepath.Join("/dev/vfio", c.Group(t)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// VFIO_GROUP_GET_STATUS of <linux/vfio.h>: the size of the answer, and
	// flags, of which bit 0 says that the group is viable.
	const getStatus = 0x3b67
	status := [2]uint32{8}
	if err := ioctl(f, getStatus, &status); err != nil || status[1]&1 == 0 {
		t.Errorf("flags of group %s: %#x, %v", c.Group(t), status[1], err)
	}
}

// TestWire sends a frame from the kernel's driver of the card to its peer.
func TestWire(t *testing.T) {
	c := guesttest.First(t)
	c.Bind(t, own[c.Model])
	from, to := open(t, c.Netdev(t)), open(t, c.PeerNetdev(t))
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 1, 1, 0x88, 0xb5}, make([]byte, 46)...)
	copy(frame[14:], c.Model)
	// The link takes its time after the interface is up.
	for end := time.Now().Add(20 * time.Second); ; {
		_, _ = unix.Write(from, frame) // an error: the link is not there yet
		buf := make([]byte, 2048)
		n, err := unix.Read(to, buf)
		if err == nil && string(buf[14:14+len(c.Model)]) == c.Model && n == len(frame) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no frame from %s arrived at the peer: %v", c.Model, err)
		}
	}
}

// TestCable pulls the card's cable and plugs it in again.
func TestCable(t *testing.T) {
	c := guesttest.First(t)
	c.Bind(t, own[c.Model])
	name := c.Netdev(t)
	up(t, name)
	awaitCarrier(t, name, true)
	for range 2 {
		c.SetCable(t, false)
		awaitCarrier(t, name, false)
		c.SetCable(t, true)
		awaitCarrier(t, name, true)
	}
}

func awaitCarrier(t *testing.T, name string, want bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile("/sys/class/net/" + name + "/carrier")
		if err == nil && (text[0] == '1') == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the carrier of %s is %q, %v, want %v", name, text, err, want)
		}
	}
}

// open brings an interface up and opens a packet socket on it, for frames of
// the EtherType for local experiments, whose reads wait a tenth of a second.
func open(t *testing.T, name string) int {
	t.Helper()
	up(t, name)
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	const experiment = 0xb588 // 0x88b5 in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, experiment)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: experiment, Ifindex: ifi.Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		t.Fatal(err)
	}
	return fd
}
