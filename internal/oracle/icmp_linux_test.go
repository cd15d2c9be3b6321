package oracle

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

const (
	icmpEcho, icmpEchoReply = 8, 0
	icmpHeader              = 8 // bytes
)

// pingSocket opens a kernel's socket for echo requests, as ping does where it
// has no privileges: the kernel fills in identifier and checksum.
func pingSocket(t testing.TB, h *netnstest.Host, to netip.Addr) net.Conn {
	t.Helper()
	if err := h.Sysctl("net.ipv4.ping_group_range", "0 0"); err != nil {
		t.Fatal(err)
	}
	var c net.Conn
	err := h.DoErr(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		f := os.NewFile(uintptr(fd), "ping")
		defer f.Close()
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
			return os.NewSyscallError("connect", err)
		}
		c, err = net.FileConn(f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ping sends one echo request and wants its reply.
func ping(t testing.TB, c net.Conn, sequence, size int) {
	t.Helper()
	request := append(make([]byte, icmpHeader), pattern(size)...)
	request[0] = icmpEcho
	binary.BigEndian.PutUint16(request[6:], uint16(sequence))
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	reply := make([]byte, len(request)+1)
	n, err := c.Read(reply)
	if err != nil {
		t.Fatalf("ping of %d bytes: %v", size, err)
	}
	if n != len(request) || reply[0] != icmpEchoReply || string(reply[6:n]) != string(request[6:]) {
		t.Fatalf("ping of %d bytes: %d bytes of answer: % .20x...", size, n, reply[:n])
	}
}

// TestPing: the kernel pings us, with what fits a frame and with fragments.
func TestPing(t *testing.T) {
	for name, offloads := range map[string]netnstest.Offloads{"complete": netnstest.OffloadsOffB, "offloads": netnstest.OffloadsOn} {
		t.Run(name, func(t *testing.T) {
			b := makeBed(t, &options{wire: netnstest.Config{Offloads: offloads}})
			c := pingSocket(t, b.peer, b.Addr)
			for i, size := range sizes {
				ping(t, c, i, size)
			}
			if b.demoted(stack.ReasonInBandProtocol) == 0 || b.demoted(stack.ReasonFragment) == 0 {
				t.Errorf("demoted %v", b.Device.Stats().RX.Demoted.Map())
			}
		})
	}
}

// TestPortUnreachable sends to closed ports both ways: a connected socket is
// told, on either side, and others are not.
func TestPortUnreachable(t *testing.T) {
	b := makeBed(t, nil)
	for _, size := range []int{0, 100, 3000} { // the last in fragments
		c := kernelDial(t, b.peer, at(ours, closedPort))
		if _, err := c.Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the kernel, after %d bytes to our closed port: %v, want ECONNREFUSED", size, err)
		}
		c.Close()
	}

	listener := b.listen(b.At(0), nil)
	if _, err := listener.WriteToUDPAddrPort([]byte("x"), at(theirs, closedPort)); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "the error counted", func() bool { return listener.Stats().Errors == 1 })
	listener.SetReadDeadline(time.Now())
	if _, _, err := listener.ReadFromUDPAddrPort(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a socket that is not connected: %v, want nothing of the error", err)
	}
	for _, size := range []int{100, 3000} { // fast, and in-band
		c := b.dial(at(theirs, closedPort), nil)
		if _, err := c.Write(pattern(size)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "read" {
			t.Errorf("we, after %d bytes to the kernel's closed port: %#v, want ECONNREFUSED", size, err)
		}
		// Once, and the socket works on.
		c.SetReadDeadline(time.Now())
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the next read: %v", err)
		}
		c.Close()
	}
}

// TestDeadPeer sends to an address that nobody has: each kind of sender is told.
func TestDeadPeer(t *testing.T) {
	b := makeBed(t, nil)
	// The address is asked for three times in three seconds: all at once then.
	solicited := make(chan error, 1)
	go func() { solicited <- b.Stack.Solicit(context.Background(), nobody) }()
	waited := make(chan error, 1)
	waiter := b.dial(netip.AddrPortFrom(nobody, echoPort), &udp.Config{OnMiss: udp.MissWait})
	go func() {
		_, err := waiter.Write([]byte("x"))
		waited <- err
	}()
	demoter := b.dial(netip.AddrPortFrom(nobody, echoPort), nil)
	if _, err := demoter.Write([]byte("x")); err != nil {
		t.Errorf("the write does not wait: %v", err)
	}
	failer := b.dial(netip.AddrPortFrom(nobody, echoPort), &udp.Config{OnMiss: udp.MissFail})
	if _, err := failer.Write([]byte("x")); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("MissFail: %v, want EHOSTUNREACH", err)
	}
	demoter.SetReadDeadline(time.Now().Add(patience))
	if _, err := demoter.Read(make([]byte, 1)); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("a read after a demoted write: %v, want EHOSTUNREACH", err)
	}
	if err := <-waited; !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("MissWait: %v, want EHOSTUNREACH", err)
	}
	if err := <-solicited; !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("Solicit: %v, want ETIMEDOUT", err)
	}
}
