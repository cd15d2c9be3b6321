package oracle

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// The ports of the filters here: everybody may reach openPort, a drop is a
// drop, and what is skipped is the host's.
const (
	openPort, dropPort, skipPort = 7001, 7002, 7003
	filterRules                  = `
drop proto udp dport 7002
skip proto udp dport 7003
accept ethertype ipv4,arp
default skip`
)

// parts is a device with echoes of ours on all three ports, a peer's sockets
// that ask them, and, where the host is a kernel, its answer on skipPort.
type parts struct {
	device           *stack.Device
	open, drop, skip net.Conn
	// byHost: what is skipped is answered by a kernel, with other words.
	byHost bool
}

// onBoth runs a test on a link to a kernel, and on a wire in memory,
// against another stack of ours.
func onBoth(t *testing.T, test func(t *testing.T, p parts)) {
	t.Run("kernel", func(t *testing.T) {
		b := makeBed(t, nil)
		p := parts{device: b.Device, byHost: b.xdp != nil}
		for port, c := range map[uint16]*net.Conn{openPort: &p.open, dropPort: &p.drop, skipPort: &p.skip} {
			b.echo(port)
			*c = kernelDial(t, b.peer, b.At(port))
		}
		test(t, p)
	})
	t.Run("loopback", func(t *testing.T) {
		leaktest.Check(t)
		la, lb, err := loopback.Pair(nil)
		if err != nil {
			t.Fatal(err)
		}
		us, peer := stacktest.On(t, la, ours, nil), stacktest.On(t, lb, theirs, nil)
		p := parts{device: us.Device}
		for port, c := range map[uint16]*net.Conn{openPort: &p.open, dropPort: &p.drop, skipPort: &p.skip} {
			s, err := udp.Listen(us.Stack, us.At(port), nil)
			if err != nil {
				t.Fatal(err)
			}
			serve(t, s)
			d, err := udp.Dial(peer.Stack, netip.AddrPort{}, us.At(port), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			*c = d
		}
		test(t, p)
		stacktest.AssertBooks(t, us.Device)
	})
}

// answers says which of the three ports our sockets answer on.
func (p parts) answers(t *testing.T, what string, open, drop, skip bool) {
	t.Helper()
	for _, a := range []struct {
		name string
		c    net.Conn
		want bool
	}{{"open", p.open, open}, {"drop", p.drop, drop}, {"skip", p.skip, skip}} {
		if a.want {
			exchange(t, a.c, []byte(what))
		} else if try(a.c, []byte(what)) {
			t.Errorf("%s: an answer on the port %q", what, a.name)
		}
	}
}

// TestFilter: rules in front of our stack, on the wire: what they drop is gone,
// what they skip is the host's (on a wire of our own the in-band stage's, which
// knows our sockets), and it can be changed and switched off while in use.
func TestFilter(t *testing.T) {
	onBoth(t, func(t *testing.T, p parts) {
		p.answers(t, "no filter", true, true, true)
		rules, err := filter.ParseRules(filterRules)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.device.SetFilter(rules); err != nil {
			t.Fatal(err)
		}
		before := p.device.Stats().Filter
		p.answers(t, "rules", true, false, !p.byHost)
		now := p.device.Stats().Filter
		if now.Verdicts[filter.Drop] == before.Verdicts[filter.Drop] || now.Verdicts[filter.Skip] == before.Verdicts[filter.Skip] ||
			now.Verdicts[filter.Accept] == before.Verdicts[filter.Accept] {
			t.Errorf("verdicts %v, before %v", now.Verdicts, before.Verdicts)
		}
		if len(now.Rules) != 4 || now.Rules[0] == 0 || now.Rules[1] == 0 || now.Rules[2] == 0 {
			t.Errorf("hits of the rules: %v", now.Rules)
		}

		if err := p.device.Divert(false); err != nil {
			t.Fatal(err)
		}
		p.answers(t, "off", !p.byHost, !p.byHost, !p.byHost)
		if err := p.device.Divert(true); err != nil {
			t.Fatal(err)
		}
		p.answers(t, "on", true, false, !p.byHost)

		if err := p.device.SetFilter(nil); err != nil {
			t.Fatal(err)
		}
		p.answers(t, "no filter again", true, true, true)
	})
}

// TestFilterObject: the same by an eBPF object, with a map that is written
// while it works.
func TestFilterObject(t *testing.T) {
	onBoth(t, func(t *testing.T, p parts) {
		program, err := filter.LoadFile("testdata/ports.o")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.device.SetFilter(program); err != nil {
			t.Fatal(err)
		}
		ports, err := p.device.FilterMap("ports")
		if err != nil {
			t.Fatal(err)
		}
		p.answers(t, "empty map", true, true, true)
		set := func(port uint16, v filter.Verdict) {
			t.Helper()
			var key [2]byte
			var value [4]byte
			binary.BigEndian.PutUint16(key[:], port)
			binary.NativeEndian.PutUint32(value[:], uint32(v))
			if err := ports.Update(key[:], value[:]); err != nil {
				t.Fatal(err)
			}
		}
		set(dropPort, filter.Drop)
		set(skipPort, filter.Skip)
		p.answers(t, "two ports", true, false, !p.byHost)
		const noVerdict = 4
		set(openPort, noVerdict)
		before := p.device.Stats().Filter.Errors
		p.answers(t, "no verdict", false, false, !p.byHost)
		if now := p.device.Stats().Filter.Errors; now == before {
			t.Error("a verdict that does not exist is no error")
		}
		if err := ports.Delete([]byte{openPort >> 8, openPort & 0xff}); err != nil {
			t.Fatal(err)
		}
		p.answers(t, "one port less", true, false, !p.byHost)
	})
}
