package udp_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

func TestAddrInUse(t *testing.T) {
	share := &udp.Config{ReusePort: true}
	a1, a2 := "10.0.0.1:1000", "10.0.0.7:1000"
	for _, c := range []struct {
		name          string
		first, second string
		cfg1, cfg2    *udp.Config
		ok            bool
	}{
		{"same", a1, a1, nil, nil, false},
		{"any after one", a1, "0.0.0.0:1000", nil, nil, false},
		{"one after any", "0.0.0.0:1000", a1, nil, nil, false},
		{"two addresses", a1, a2, nil, nil, true},
		{"two ports", a1, "10.0.0.1:1001", nil, nil, true},
		{"a group beside one", a1, "224.1.2.3:1000", nil, nil, true},
		{"only the second shares", a1, a1, nil, share, false},
		{"only the first shares", a1, a1, share, nil, false},
		{"both share", a1, a1, share, share, true},
		{"any and one share", "0.0.0.0:1000", a1, share, share, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _ := pair(t, nil)
			if err := a.Port.AddAddr(netip.MustParsePrefix("10.0.0.7/24")); err != nil {
				t.Fatal(err)
			}
			x := listenOn(t, a.Stack, netip.MustParseAddrPort(c.first), c.cfg1)
			_, err := udp.Listen(a.Stack, netip.MustParseAddrPort(c.second), c.cfg2)
			if c.ok {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, "listen", syscall.EADDRINUSE)
			if !strings.Contains(err.Error(), local(x).String()) {
				t.Errorf("%q does not say who has it", err)
			}
			// When the first one goes the address is free at once.
			x.Close()
			listenOn(t, a.Stack, netip.MustParseAddrPort(c.second), c.cfg2)
		})
	}
}

// TestReusePort: each flow stays with one socket, and every socket gets some.
func TestReusePort(t *testing.T) {
	a, b := pair(t, nil)
	share := &udp.Config{ReusePort: true}
	var members []*udp.Conn
	for range 4 {
		members = append(members, listen(t, b, 2000, share))
	}
	const flows, each = 64, 3
	for range flows {
		x := listen(t, a, 0, nil)
		for range each {
			send(t, x, fmt.Sprint(local(x)), b.At(2000))
		}
	}
	total := 0
	for i, m := range members {
		stacktest.Eventually(t, "all have come", func() bool {
			var n uint64
			for _, m := range members {
				n += m.Stats().Received
			}
			return n == flows*each
		})
		n := m.Stats().Held
		total += n
		if n == 0 || n%each != 0 {
			t.Errorf("socket %d has %d datagrams: want whole flows of %d", i, n, each)
		}
		seen := map[netip.AddrPort]int{}
		buf := make([]byte, 100)
		for range n {
			k, from, err := m.ReadFromUDPAddrPort(buf)
			if err != nil || string(buf[:k]) != fmt.Sprint(from) {
				t.Fatalf("%q from %v, %v", buf[:k], from, err)
			}
			seen[from]++
		}
		for from, k := range seen {
			if k != each {
				t.Errorf("socket %d has %d of %d datagrams of %v", i, k, each, from)
			}
		}
	}
	if total != flows*each {
		t.Errorf("%d datagrams of %d", total, flows*each)
	}
	// One that closes leaves its flows to the others.
	for _, m := range members[1:] {
		m.Close()
	}
	for range 8 {
		x := listen(t, a, 0, nil)
		send(t, x, "left", b.At(2000))
		receive(t, members[0], "left", local(x))
	}
}

func TestEphemeral(t *testing.T) {
	a, b := pair(t, nil)
	seen := map[uint16]bool{}
	for i := range 200 {
		var c *udp.Conn
		if i%2 == 0 {
			c = listen(t, a, 0, nil)
		} else {
			c = dial(t, a, b.At(9), nil)
		}
		port := local(c).Port()
		if port < 32768 || port > 60999 || seen[port] {
			t.Fatalf("port %d: taken before: %v", port, seen[port])
		}
		seen[port] = true
	}
}

// TestEphemeralExhaustion takes them all.
func TestEphemeralExhaustion(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 28232 sockets: skipped with -short")
	}
	a, b := pair(t, nil)
	var last *udp.Conn
	for i := range 60999 - 32768 + 1 {
		c, err := udp.Listen(a.Stack, a.At(0), nil)
		if err != nil {
			t.Fatalf("socket %d: %v", i, err)
		}
		last = c
	}
	_, err := udp.Listen(a.Stack, a.At(0), nil)
	wantError(t, err, "listen", syscall.EADDRINUSE)
	_, err = udp.Dial(a.Stack, netip.AddrPort{}, b.At(1), nil)
	wantError(t, err, "dial", syscall.EADDRINUSE)
	port := local(last).Port()
	last.Close()
	if c := listen(t, a, 0, nil); local(c).Port() != port {
		t.Errorf("got port %d, free was %d", local(c).Port(), port)
	}
}

func TestBadAddresses(t *testing.T) {
	a, b := pair(t, nil)
	parse := func(s string) netip.AddrPort {
		if s == "" {
			return netip.AddrPort{}
		}
		return netip.MustParseAddrPort(s)
	}
	for _, c := range []struct {
		local, remote string
		want          error
		says          string
	}{
		{"[2001:db8::1]:1", "-", syscall.EAFNOSUPPORT, "not IPv4"},
		{"[::]:1", "-", syscall.EAFNOSUPPORT, "not IPv4"},
		{"10.0.0.2:1", "-", syscall.EADDRNOTAVAIL, "no port of the stack"},
		{"", "[2001:db8::1]:1", syscall.EAFNOSUPPORT, "not IPv4"},
		{"", "10.0.0.2:0", syscall.EINVAL, "want an address and a port"},
		{"", "0.0.0.0:1", syscall.EINVAL, "want an address and a port"},
		{"", "", syscall.EINVAL, "want an address and a port"},
		{"", "192.0.2.1:1", syscall.ENETUNREACH, "192.0.2.1"},
		{"10.0.0.2:1", "10.0.0.2:2", syscall.EADDRNOTAVAIL, "no port of the stack"},
	} {
		op := "dial"
		var err error
		if c.remote == "-" {
			op = "listen"
			_, err = udp.Listen(a.Stack, parse(c.local), nil)
		} else {
			_, err = udp.Dial(a.Stack, parse(c.local), parse(c.remote), nil)
		}
		if err == nil {
			t.Errorf("%s %q %q: no error", op, c.local, c.remote)
			continue
		}
		wantError(t, err, op, c.want)
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q does not say %q", err, c.says)
		}
	}
	_ = b
}

func TestBadConfig(t *testing.T) {
	a, _ := pair(t, nil)
	for _, cfg := range []udp.Config{{Queue: -1}, {Queue: udp.MaxQueue + 1}, {Priority: -1}, {Priority: stack.Priorities}} {
		_, err := udp.Listen(a.Stack, a.At(0), &cfg)
		if err == nil {
			t.Errorf("%+v: no error", cfg)
			continue
		}
		wantError(t, err, "listen", syscall.EINVAL)
	}
	c := listen(t, a, 0, nil)
	wantError(t, c.SetPriority(8), "set", syscall.EINVAL)
	wantError(t, c.SetPriority(-1), "set", syscall.EINVAL)
	wantError(t, c.SetReadBuffer(-1), "set", syscall.EINVAL)
	// A refused config leaves nothing behind: the port is free.
	if _, err := udp.Listen(a.Stack, a.At(1000), &udp.Config{Queue: -1}); err == nil {
		t.Fatal("no error")
	}
	listen(t, a, 1000, nil)
}

func TestClosedStack(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := listenOn(t, s, netip.AddrPortFrom(netip.Addr{}, 1), nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, c.Close(), "close", net.ErrClosed)
	_, err = c.Read(nil)
	wantError(t, err, "read", net.ErrClosed)
	_, err = udp.Listen(s, netip.AddrPort{}, nil)
	wantError(t, err, "listen", net.ErrClosed)
	_, err = udp.Dial(s, netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.1:9"), nil)
	wantError(t, err, "dial", net.ErrClosed)
	_, err = udp.Listen(nil, netip.AddrPort{}, nil)
	wantError(t, err, "listen", syscall.EINVAL)

	// The same for a stack that has never had a socket.
	if s, err = stack.New(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = udp.Listen(s, netip.AddrPort{}, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want net.ErrClosed", err)
	}
}
