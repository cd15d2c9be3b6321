package udp_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

func TestFirst(t *testing.T) {
	a, b, err := loopback.Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	mk := func(l link.Link, addr string) *stack.Stack {
		s, err := stack.New(&stack.Config{OnError: func(err error) { t.Error(err) }})
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Attach(l, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	sa, sb := mk(a, "10.0.0.1/24"), mk(b, "10.0.0.2/24")
	srv, err := udp.Listen(sb, netip.MustParseAddrPort("10.0.0.2:7"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cli, err := udp.Dial(sa, netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.2:7"), nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := srv.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := srv.WriteToUDPAddrPort(buf[:n], from); err != nil {
				t.Error(err)
			}
		}
	}()
	buf := make([]byte, 2000)
	cli.SetReadDeadline(time.Now().Add(5 * time.Second))
	for i := range 1000 {
		if _, err := cli.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		n, err := cli.Read(buf)
		if err != nil {
			t.Fatal(i, err)
		}
		if string(buf[:n]) != "hello" {
			t.Fatalf("%q", buf[:n])
		}
	}
	t.Logf("%+v", sa.Stats())
	if err := sa.Close(); err != nil {
		t.Error(err)
	}
	if err := sb.Close(); err != nil {
		t.Error(err)
	}
}
