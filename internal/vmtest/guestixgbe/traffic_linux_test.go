package guestixgbe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// patience bounds the wait for an answer.
const patience = 20 * time.Second

// features are those that the card does or leaves to the kernel.
var features = []string{"rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan"}

// offload switches all of them.
func (r *rig) offload(state string) {
	r.t.Helper()
	var args []string
	for _, f := range features {
		args = append(args, f, state)
	}
	r.ethtool("-K", args...)
}

// TestPing wants answers to pings of all sizes, fragments among them.
func TestPing(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	for _, size := range []int{0, 1, 18, 19, 56, 1471, 1472, 1473, 3000, 20000, 65507} {
		r.ping(2, size)
	}
}

// TestTraffic carries UDP and TCP both ways, with the card's offloads and
// without.
func TestTraffic(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	for _, state := range []string{"on", "off", "on"} {
		t.Run("offloads "+state, func(t *testing.T) {
			r.offload(state)
			r.waitUp() // some of them reset the card
			r.exchange(t, r.A, r.B, peerAddr.Addr(), 1500)
			r.exchange(t, r.B, r.A, cardAddr.Addr(), 1500)
		})
	}
}

// exchange carries datagrams and a stream from one host to the address of the
// other and back.
func (r *rig) exchange(t *testing.T, from, to *netnstest.Host, addr netip.Addr, mtu int) {
	t.Helper()
	r.datagrams(t, from, to, addr, mtu)
	stream(t, from, to, addr, 2<<20)
}

// datagrams have sizes about which drivers err: padding, the MTU, fragments.
// None may be lost while the link is up.
func (r *rig) datagrams(t *testing.T, from, to *netnstest.Host, addr netip.Addr, mtu int) {
	t.Helper()
	server, err := to.ListenUDP(netip.AddrPortFrom(addr, 4000))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := from.DialUDP(netip.AddrPort{}, netip.AddrPortFrom(addr, 4000))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	before := r.statistics()
	for i, size := range []int{0, 1, 2, 17, 18, 19, 31, 100, 511, 1000, mtu - 29, mtu - 28, mtu - 27, 2 * mtu, 9001, 40000, 65507} {
		want := pattern(i, size)
		err := roundTrip(client, server, want)
		for errors.Is(err, os.ErrDeadlineExceeded) {
			after := r.statistics()
			if after["lsc_int"] == before["lsc_int"] {
				t.Fatalf("datagram of %d bytes: %v\n%s", size, err, difference(before, after))
			}
			before = after // a change of the link, which some settings cause a little later
			err = roundTrip(client, server, want)
		}
		if err != nil {
			t.Fatalf("datagram of %d bytes: %v", size, err)
		}
	}
}

// difference is what has changed in statistics.
func difference(before, after map[string]uint64) string {
	var lines []string
	for name, n := range after {
		if d := n - before[name]; d != 0 {
			lines = append(lines, fmt.Sprintf("%s: %d", name, d))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// roundTrip sends a datagram and has it sent back.
func roundTrip(client, server *net.UDPConn, want []byte) error {
	for _, c := range []*net.UDPConn{server, client} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
	}
	if _, err := client.Write(want); err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	n, back, err := server.ReadFromUDPAddrPort(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(b[:n], want) {
		return fmt.Errorf("%d bytes came, which are not those that were sent", n)
	}
	if _, err := server.WriteToUDPAddrPort(want, back); err != nil {
		return err
	}
	if n, err = client.Read(b); err != nil {
		return fmt.Errorf("back: %w", err)
	}
	if !bytes.Equal(b[:n], want) {
		return fmt.Errorf("back: %d bytes came, which are not those that were sent", n)
	}
	return nil
}

// pattern is data of which no two parts are alike.
func pattern(seed, size int) []byte {
	b := make([]byte, size)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// stream sends size bytes by TCP, which the other end sends back.
func stream(t *testing.T, from, to *netnstest.Host, addr netip.Addr, size int) {
	t.Helper()
	at := netip.AddrPortFrom(addr, 4001).String()
	var l net.Listener
	to.Do(func() {
		var err error
		if l, err = net.Listen("tcp4", at); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	echoed := make(chan error, 1)
	go func() { echoed <- echo(l) }()
	var c net.Conn
	from.Do(func() {
		var err error
		if c, err = (&net.Dialer{Timeout: patience}).DialContext(context.Background(), "tcp4", at); err != nil {
			t.Fatal(err)
		}
	})
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * patience)); err != nil {
		t.Fatal(err)
	}
	want := pattern(size, size)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(want)
		sent <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("stream of %d bytes: %d came back, the same: %v; %v", size, len(got), bytes.Equal(got, want), err)
	}
	if err := errors.Join(<-sent, <-echoed); err != nil {
		t.Error(err)
	}
}

// echo sends back what the first client sends.
func echo(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * patience)); err != nil {
		return err
	}
	if _, err := io.Copy(c, c); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	return nil
}
