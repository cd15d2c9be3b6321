package pion

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/transport/v5"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/interop/internal/xdppair"
)

// patience is how long a read waits for what must come.
const patience = 20 * time.Second

// closing closes what a test has opened.
func closing(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// onWires runs a test of two stacks in memory, and over AF_XDP on the ends of a
// veth pair.
func onWires(t *testing.T, test func(t *testing.T, a, b *stacktest.Host)) {
	for name, pair := range map[string]func(testing.TB, *stacktest.Options) (a, b *stacktest.Host){
		"loopback": stacktest.Pair, "veth": xdppair.New,
	} {
		t.Run(name, func(t *testing.T) {
			leaktest.Check(t)
			a, b := pair(t, nil)
			test(t, a, b)
		})
	}
}

// exchange has one connection say something that a socket answers.
func exchange(t *testing.T, server net.PacketConn, client net.Conn) {
	t.Helper()
	deadline := time.Now().Add(patience)
	if err := errors.Join(server.SetDeadline(deadline), client.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	n, from, err := server.ReadFrom(b)
	if err != nil || string(b[:n]) != "ping" || from.String() != client.LocalAddr().String() {
		t.Fatalf("%q from %v, %v", b[:n], from, err)
	}
	if _, err := server.WriteTo([]byte("pong"), from); err != nil {
		t.Fatal(err)
	}
	if n, err = client.Read(b); err != nil || string(b[:n]) != "pong" {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

// TestNet opens sockets by each way that there is.
func TestNet(t *testing.T) { onWires(t, testNet) }

func testNet(t *testing.T, a, b *stacktest.Host) {
	an, bn := NewNet(a.Stack, nil), NewNet(b.Stack, nil)
	listeners := []func(address string) (net.PacketConn, error){
		func(address string) (net.PacketConn, error) { return an.ListenPacket("udp", address) },
		func(address string) (net.PacketConn, error) {
			addr, err := an.ResolveUDPAddr("udp4", address)
			if err != nil {
				return nil, err
			}
			return an.ListenUDP("udp4", addr)
		},
		func(address string) (net.PacketConn, error) {
			return an.CreateListenConfig(&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", address)
		},
	}
	dialers := []func(address string) (net.Conn, error){
		func(address string) (net.Conn, error) { return bn.Dial("udp", address) },
		func(address string) (net.Conn, error) { return bn.CreateDialer(nil).Dial("udp4", address) },
		func(address string) (net.Conn, error) {
			local := &net.UDPAddr{IP: b.Addr.AsSlice(), Port: 7001}
			c, err := bn.CreateDialer(&net.Dialer{LocalAddr: local}).Dial("udp", address)
			if err == nil && c.LocalAddr().String() != local.String() {
				err = fmt.Errorf("local address %v", c.LocalAddr())
			}
			return c, err
		},
	}
	for i, listen := range listeners {
		for j, dial := range dialers {
			t.Run(fmt.Sprint(i, j), func(t *testing.T) {
				server, err := listen(fmt.Sprintf("%v:4000", a.Addr))
				if err != nil {
					t.Fatal(err)
				}
				closing(t, server)
				client, err := dial(fmt.Sprintf("%v:4000", a.Addr))
				if err != nil {
					t.Fatal(err)
				}
				closing(t, client)
				exchange(t, server, client)
			})
		}
	}
}

// TestListenEverywhere opens a socket without an address, and without a port.
func TestListenEverywhere(t *testing.T) { onWires(t, testListenEverywhere) }

func testListenEverywhere(t *testing.T, a, b *stacktest.Host) {
	for _, address := range []string{":", ":0", "0.0.0.0:0"} {
		server, err := NewNet(a.Stack, nil).ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, server)
		client, err := NewNet(b.Stack, nil).DialUDP("udp", nil, &net.UDPAddr{IP: a.Addr.AsSlice(), Port: server.LocalAddr().(*net.UDPAddr).Port})
		if err != nil {
			t.Fatal(err)
		}
		closing(t, client)
		exchange(t, server, client)
	}
	c, err := NewNet(a.Stack, nil).ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, c)
}

func TestInterfaces(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	n := NewNet(a.Stack, nil)
	list, err := n.Interfaces()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	addrs, err := list[0].Addrs()
	if err != nil || len(addrs) != 1 || addrs[0].String() != a.Addr.String()+"/24" || list[0].MTU != 1500 || len(list[0].HardwareAddr) != 6 {
		t.Errorf("%+v, %v, %v", list[0], addrs, err)
	}
	if i, err := n.InterfaceByIndex(1); err != nil || i.Name != a.Port.Name() {
		t.Error(i, err)
	}
	if i, err := n.InterfaceByName(a.Port.Name()); err != nil || i.Index != 1 {
		t.Error(i, err)
	}
	if _, err := n.InterfaceByIndex(2); !errors.Is(err, transport.ErrInterfaceNotFound) {
		t.Error(err)
	}
	if _, err := n.InterfaceByName("none"); !errors.Is(err, transport.ErrInterfaceNotFound) {
		t.Error(err)
	}
}

// TestBadInput has an error for each thing that there is not.
func TestBadInput(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	n := NewNet(a.Stack, nil)
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"TCP listener":   {second(n.ListenTCP("tcp", nil)), transport.ErrNotSupported},
		"TCP":            {second(n.DialTCP("tcp", nil, nil)), transport.ErrNotSupported},
		"TCP address":    {second(n.ResolveTCPAddr("tcp", ":1")), transport.ErrNotSupported},
		"TCP by Dial":    {second(n.Dial("tcp", "10.0.0.2:1")), transport.ErrNotSupported},
		"stream":         {second(n.CreateListenConfig(nil).Listen(t.Context(), "tcp", ":1")), transport.ErrNotSupported},
		"IPv6":           {second(n.ListenUDP("udp6", nil)), transport.ErrNotSupported},
		"IPv6 peer":      {second(n.DialUDP("udp6", nil, nil)), transport.ErrNotSupported},
		"IPv6 address":   {second(n.ResolveUDPAddr("udp", "[::1]:1")), transport.ErrNotUDPAddress},
		"a name":         {second(n.ResolveUDPAddr("udp", "localhost:1")), transport.ErrNotUDPAddress},
		"IP":             {second(n.ResolveIPAddr("ip4", "localhost")), transport.ErrNotSupported},
		"dialer":         {second(n.CreateDialer(&net.Dialer{LocalAddr: &net.TCPAddr{}}).Dial("udp", "10.0.0.2:1")), transport.ErrNotUDPAddress},
		"ended":          {second(n.CreateListenConfig(nil).ListenPacket(ended, "udp", ":1")), context.Canceled},
		"name to dial":   {second(n.Dial("udp", "localhost:1")), transport.ErrNotUDPAddress},
		"name to listen": {second(n.ListenPacket("udp", "localhost:1")), transport.ErrNotUDPAddress},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if _, err := n.ResolveUDPAddr("udp", "10.0.0.1"); err == nil {
		t.Error("an address without a port")
	}
	if ip, err := n.ResolveIPAddr("ip4", "10.0.0.9"); err != nil || ip.String() != "10.0.0.9" {
		t.Error(ip, err)
	}
}

func second[T any](_ T, err error) error { return err }
