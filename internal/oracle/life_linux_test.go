package oracle

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/proto/udp"
)

// TestDownAndUp switches our interface, or the peer's, off and on again under
// open sockets, or pulls a card's cable: the sockets are told, and work on
// without being opened anew.
func TestDownAndUp(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		needsXDP(t, "a card of ours is no interface")
		b := makeBed(t, nil)
		testDownAndUp(t, b, b.home.SetUp)
	})
	t.Run("theirs", func(t *testing.T) {
		needsVeth(t, "a card does not see its peer switched off")
		b := makeBed(t, nil)
		testDownAndUp(t, b, b.peer.SetUp)
	})
	t.Run("cable", func(t *testing.T) {
		card := guesttest.Cards(t)[0]
		testDownAndUp(t, makeBed(t, nil), func(up bool) error {
			card.SetCable(t, up)
			return nil
		})
	})
}

func testDownAndUp(t *testing.T, b *bed, setUp func(bool) error) {
	kernelEcho(t, b.peer, at(theirs, echoPort))
	b.echo(echoPort)
	c := b.dial(at(theirs, echoPort), nil)
	other := b.listen(b.At(0), nil)
	kernel := kernelDial(t, b.peer, at(ours, echoPort))
	exchange(t, c, []byte("before"))
	exchange(t, kernel, []byte("before"))
	for round := range 3 {
		if err := setUp(false); err != nil {
			t.Fatal(err)
		}
		// In mid-flow: some are lost without a word before the loss is seen.
		stacktest.Eventually(t, "ENETDOWN", func() bool {
			_, err := c.Write([]byte("into the void"))
			return errors.Is(err, syscall.ENETDOWN)
		})
		if _, err := other.WriteToUDPAddrPort(nil, at(theirs, echoPort)); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("round %d: a socket that is not connected: %v, want ENETDOWN", round, err)
		}
		// Nor does the slow way lead anywhere.
		for what, send := range map[string]func() (int, error){
			"what is too long for a frame":      func() (int, error) { return c.Write(pattern(3000)) },
			"to one whose address is not known": func() (int, error) { return other.WriteToUDPAddrPort(nil, netip.AddrPortFrom(nobody, echoPort)) },
			"to a group, in several fragments": func() (int, error) {
				return other.WriteToUDPAddrPort(pattern(3000), netip.AddrPortFrom(group, echoPort))
			},
		} {
			if _, err := send(); !errors.Is(err, syscall.ENETDOWN) {
				t.Errorf("round %d: %s: %v, want ENETDOWN", round, what, err)
			}
		}
		// We ourselves are there, wire or not.
		if _, err := other.WriteToUDPAddrPort(nil, b.At(echoPort)); err != nil {
			t.Errorf("round %d: to ourselves: %v", round, err)
		}
		if err := b.Device.Fault(); !errors.Is(err, syscall.ENETDOWN) || !strings.Contains(err.Error(), b.Link.Name()) {
			t.Errorf("round %d: Fault: %v, want ENETDOWN and the name", round, err)
		}
		// A reader waits on: the wire may come back.
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			_, err := c.Read(make([]byte, 100))
			if err == nil {
				continue // an answer from before
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("round %d: a read while the wire is down: %v", round, err)
			}
			break
		}
		if err := setUp(true); err != nil {
			t.Fatal(err)
		}
		for _, h := range []*netnstest.Host{b.home, b.peer} {
			if h == nil {
				continue
			}
			if err := h.WaitUp(patience); err != nil {
				t.Fatal(err)
			}
		}
		stacktest.Eventually(t, "no fault", func() bool { return b.Device.Fault() == nil })
		n := byte(0)
		for _, s := range []net.Conn{c, kernel} {
			stacktest.Eventually(t, "an answer", func() bool {
				n++
				return try(s, []byte{byte(round), n})
			})
		}
	}
}

// TestOpenWhileDown: a device is not attached to an interface that is off, and
// the error says so.
func TestOpenWhileDown(t *testing.T) {
	needsXDP(t, "a card of ours is no interface")
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	if err := w.A.SetUp(false); err != nil {
		t.Fatal(err)
	}
	if _, err := open(w.A, nil); !errors.Is(err, syscall.ENETDOWN) || !strings.Contains(err.Error(), "ip link set") {
		t.Errorf("Open: %v, want ENETDOWN and the way out", err)
	}
}

// TestGone deletes the peer's namespace, and with it both ends of the wire,
// under traffic.
func TestGone(t *testing.T) {
	needsVeth(t, "a card stays when its peer goes")
	o := &options{}
	o.host.Stack.OnError = func(err error) {
		// The claims cannot be taken back from an interface that is not there.
		if !strings.Contains(err.Error(), "select") {
			t.Errorf("OnError: %v", err)
		}
	}
	b := makeBed(t, o)
	container := startContainer(t, b)
	c := b.dial(at(theirs, closedPort), nil)
	stacktest.Eventually(t, "a sign of life", func() bool {
		_, _ = c.Write([]byte("before"))
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	reading := make(chan error, 1)
	reader := b.dial(at(theirs, echoPort), nil)
	go func() {
		_, err := reader.Read(make([]byte, 1))
		reading <- err
	}()

	container.kill()
	stacktest.Eventually(t, "ENODEV", func() bool {
		_, err := c.Write([]byte("into the void"))
		return errors.Is(err, syscall.ENODEV)
	})
	if err := b.Device.Fault(); !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), b.home.IfName) {
		t.Errorf("Fault: %v, want ENODEV and the name", err)
	}
	for _, size := range []int{100, 3000} {
		if _, err := c.Write(pattern(size)); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("%d bytes: %v, want ENODEV", size, err)
		}
	}
	if _, err := b.Device.EnablePort(nil); err != nil {
		t.Errorf("the port that is there: %v", err)
	}
	// Nobody spins on a device that is not there.
	const watched = time.Second
	before := processTime(t)
	time.Sleep(watched)
	if used := processTime(t) - before; used > watched/5 {
		t.Errorf("%v of processor time in %v with a device that is gone", used, watched)
	}
	// What waits to be sent stays with the link, until Close takes it back.
	stacktest.AssertBooks(t, b.Device)
	stacktest.AssertNothingHeld(t, b.Device)
	if p := b.Device.Stats().Pool; p.Size-p.Free > 10 {
		t.Errorf("%d of %d TX buffers are with a device that is gone", p.Size-p.Free, p.Size)
	}
	if err := b.Device.Close(); err != nil {
		t.Errorf("Close of the device: %v", err)
	}
	if err := b.Stack.Close(); err != nil {
		t.Errorf("Close of the stack: %v", err)
	}
	if err := <-reading; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the reader: %v, want net.ErrClosed", err)
	}
}

// processTime is what this process has used of the processors.
func processTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestMTU: a device with an MTU that AF_XDP cannot serve is refused, with the
// reason and the way out; the longest that it can serve is served.
func TestMTU(t *testing.T) {
	needsVeth(t, "the limits are those of AF_XDP there")
	t.Run("9000 is refused", func(t *testing.T) {
		leaktest.Check(t)
		w := netnstest.NewPair(t, &netnstest.Config{MTU: 9000})
		_, err := open(w.A, nil)
		if !errors.Is(err, syscall.ERANGE) {
			t.Fatalf("Open: %v, want ERANGE", err)
		}
		for _, part := range []string{w.A.IfName, "MTU 9000", "ip link set", "mtu"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not say %q: %v", part, err)
			}
		}
	})
	t.Run("a peer of 9000 in generic mode", func(t *testing.T) {
		// Our end takes 1500; what the peer sends to us is as long as the
		// route says, not as its interface could.
		o := &options{link: afxdp.Config{Mode: afxdp.Generic}}
		b := makeBed(t, o)
		if err := b.peer.SetMTU(9000); err != nil {
			t.Fatal(err)
		}
		kernelEcho(t, b.peer, at(theirs, echoPort))
		exchange(t, b.dial(at(theirs, echoPort), nil), pattern(1472))
	})
	t.Run("3000 is served", func(t *testing.T) {
		const mtu = 3000
		b := makeBed(t, &options{wire: netnstest.Config{MTU: mtu}})
		if got := b.Port.MTU(); got != mtu {
			t.Fatalf("the port's MTU is %d", got)
		}
		b.solicit(theirs.Addr())
		kernelEcho(t, b.peer, at(theirs, echoPort))
		b.echo(echoPort)
		c := b.dial(at(theirs, echoPort), nil)
		kernel := kernelDial(t, b.peer, at(ours, echoPort))
		for _, size := range []int{0, 1472, 1473, mtu - 28, mtu - 27, 9000, udp.MaxPayload} {
			before := b.demotedSends()
			exchange(t, c, pattern(size))
			exchange(t, kernel, pattern(size))
			if slow := b.demotedSends() != before; slow != (size > mtu-28) {
				t.Errorf("%d bytes: in-band: %v", size, slow)
			}
		}
	})
	t.Run("a port with less than the device", func(t *testing.T) {
		o := &options{}
		o.host.Port.MTU = 576
		b := makeBed(t, o)
		b.solicit(theirs.Addr())
		kernelEcho(t, b.peer, at(theirs, echoPort))
		c := b.dial(at(theirs, echoPort), nil)
		for _, size := range []int{548, 549, 1472, 9000} {
			before := b.demotedSends()
			exchange(t, c, pattern(size))
			if slow := b.demotedSends() != before; slow != (size > 548) {
				t.Errorf("%d bytes: in-band: %v", size, slow)
			}
		}
	})
}
