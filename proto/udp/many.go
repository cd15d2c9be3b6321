package udp

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/stack"
)

// firstGroup is 224.0.0.0: from there on, and for 255.255.255.255, there is no
// neighbour to ask for, and each port is as good a way as any other.
const firstGroup = 0xe0000000

// SetMulticastPort sets the port by which datagrams to groups leave: see
// Config.MulticastPort. EINVAL for another stack's port.
func (c *Conn) SetMulticastPort(p *stack.Port) error {
	if p != nil && p.Device().Stack() != c.s {
		return c.opError("set", nil, fmt.Errorf("multicast port %s: %w: it is another stack's", p.Name(), syscall.EINVAL))
	}
	c.manyBy.Store(p)
	c.path.Store(nil)
	return nil
}

// SetMulticastLoop says whether members of a group on this stack hear what the
// socket sends to it: see Config.MulticastLoop.
func (c *Conn) SetMulticastLoop(on bool) { c.loop.Store(on) }

// via is the port that the socket sends to many by; nil: the routes say.
func (c *Conn) via() *stack.Port {
	if p := c.manyBy.Load(); p != nil {
		return p
	}
	if c.localIP == 0 || c.localIP >= firstGroup {
		return nil
	}
	p := c.home.Load()
	if p == nil || p.Disabled() {
		p = c.s.PortOf(c.local.Addr())
		c.home.Store(p)
	}
	return p
}

// lookup is the look into the front cache, in the part of it that the socket is
// to use.
//
//oobnet:hot
func (c *Conn) lookup(dst uint32) *arp.Entry {
	if dst >= firstGroup {
		if p := c.via(); p != nil {
			return c.s.LookupVia(p, dst)
		}
	}
	return c.s.Lookup(dst)
}

// missTo finds the way to what lookup did not: an entry, or nil where somebody
// has to be asked for.
func (c *Conn) missTo(dst netip.Addr) (*arp.Entry, error) {
	if p := c.via(); p != nil && p.Many(dst) {
		// The address may have moved to another port since it was looked up.
		c.home.Store(nil)
		if p = c.via(); p != nil && p.Many(dst) {
			return c.s.MissVia(p, dst)
		}
	}
	return c.s.Miss(dst)
}

// settleMany is for an entry of a broadcast address of some network: if the
// socket's own port has that network too, it leaves there.
func (c *Conn) settleMany(e *arp.Entry) (*arp.Entry, error) {
	p, dst := c.via(), number4(e.Dst)
	if p == nil || e.Via == arp.Egress(p) || !p.Many(address(dst)) {
		return e, nil
	}
	if own := c.s.LookupVia(p, dst); own != nil {
		return own, nil
	}
	return c.s.MissVia(p, address(dst))
}

// sourceTo is the address that a datagram leaves from, and the port that it has
// to leave by, nil if the routes say.
func (c *Conn) sourceTo(dst netip.Addr) (src netip.Addr, by *stack.Port, err error) {
	if by = c.via(); by != nil && by.Many(dst) {
		src, _, err = c.s.SourceVia(by, dst)
	} else {
		by = nil
		src, _, err = c.s.Source(dst)
	}
	if err == nil && c.localIP != 0 && c.localIP < firstGroup {
		src = c.local.Addr()
	}
	return src, by, err
}

// loopBack gives members of a group on this stack a copy of a datagram.
func (c *Conn) loopBack(payload []byte, src, dst uint32, to uint16, by *stack.Port) {
	t := make([]byte, wire.UDPHeaderLen+len(payload))
	copy(t[wire.UDPHeaderLen:], payload)
	wire.PutUDP(t, src, dst, c.localPort, to)
	// What finds no room is dropped, and the stack counts it.
	_ = c.s.Loop(&stack.Datagram{
		Port: by, Protocol: wire.ProtocolUDP, Src: address(src), Dst: address(dst),
		TTL: c.cfg.MulticastTTL, TOS: uint8(c.tos.Load()), Transport: t, Verified: true,
	})
}
