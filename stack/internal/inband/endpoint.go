package inband

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/oobnet/oobnet/link"
)

// endpoint is a port's link endpoint: what gVisor sends goes to Host.Output.
// It pushes no link header, the host writes that.
type endpoint struct {
	port uint32
	mac  tcpip.LinkAddress
	host Host
	gate *gate // shut when the port is removed

	// mtu is written by SetMTU and read by whichever goroutine sends.
	mtu atomic.Uint32
	// dispatcher is written by gVisor when it attaches and detaches, and read
	// by Input.
	dispatcher atomic.Pointer[stack.NetworkDispatcher]

	sent, noBuffer atomic.Uint64
	// muted: IGMP goes nowhere; set by Announce, read by whichever goroutine sends.
	muted atomic.Bool
}

var _ stack.LinkEndpoint = (*endpoint)(nil)

// deliver hands an inbound packet to gVisor and gives up the reference.
func (e *endpoint) deliver(etherType uint16, pkt *stack.PacketBuffer) {
	defer pkt.DecRef()
	if d := e.dispatcher.Load(); d != nil {
		(*d).DeliverNetworkPacket(tcpip.NetworkProtocolNumber(etherType), pkt)
	}
}

// output sends one packet. It reports tcpip's two permitted errors only.
func (e *endpoint) output(dst link.MAC, etherType uint16, priority uint8, packet [][]byte) tcpip.Error {
	if !e.gate.enter() {
		return &tcpip.ErrClosedForSend{}
	}
	defer e.gate.leave()
	if !e.host.Output(e.port, dst, etherType, priority, packet) {
		e.noBuffer.Add(1)
		return &tcpip.ErrNoBufferSpace{}
	}
	e.sent.Add(1)
	return nil
}

// WritePackets implements stack.LinkWriter. The packets are lent: gVisor drops
// the references, and other errors than these two make it panic on forwarding.
func (e *endpoint) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range pkts.AsSlice() {
		dst, ok := macOf(pkt.EgressRoute.RemoteLinkAddress)
		if !ok {
			// A route without a MAC is a fault of the stack above; the packet
			// cannot leave, and nothing is sent in its stead.
			e.noBuffer.Add(1)
			return i, &tcpip.ErrNoBufferSpace{}
		}
		if e.muted.Load() && pkt.NetworkProtocolNumber == header.IPv4ProtocolNumber &&
			header.IPv4(pkt.NetworkHeader().Slice()).Protocol() == protoIGMP {
			continue
		}
		err := e.output(dst, uint16(pkt.NetworkProtocolNumber), uint8(pkt.Mark>>markPriority), pkt.AsSlices())
		if _, full := err.(*tcpip.ErrNoBufferSpace); full && pkt.NetworkProtocolNumber == header.ARPProtocolNumber {
			continue // as if lost on the wire: gVisor would fail the neighbour at once, and not try again
		}
		if err != nil {
			return i, err
		}
	}
	return pkts.Len(), nil
}

// Attach implements stack.NetworkLinkEndpoint. It runs under gVisor's stack
// lock when the NIC goes: it must not wait for anybody.
func (e *endpoint) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		e.dispatcher.Store(nil)
		return
	}
	e.dispatcher.Store(&d)
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (e *endpoint) IsAttached() bool { return e.dispatcher.Load() != nil }

// MTU implements stack.NetworkLinkEndpoint.
func (e *endpoint) MTU() uint32 { return e.mtu.Load() }

// SetMTU implements stack.NetworkLinkEndpoint.
func (e *endpoint) SetMTU(mtu uint32) { e.mtu.Store(mtu) }

// MaxHeaderLength implements stack.NetworkLinkEndpoint.
func (*endpoint) MaxHeaderLength() uint16 { return 0 }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (e *endpoint) LinkAddress() tcpip.LinkAddress { return e.mac }

// SetLinkAddress implements stack.NetworkLinkEndpoint. The MAC belongs to the
// device; a port that changes it is removed and added again.
func (*endpoint) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.NetworkLinkEndpoint. No checksum offload: with
// it gVisor would not verify the IPv4 header either.
func (*endpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired
}

// Wait implements stack.NetworkLinkEndpoint: there is no goroutine.
func (*endpoint) Wait() {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (*endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.NetworkLinkEndpoint.
func (*endpoint) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (*endpoint) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close implements stack.NetworkLinkEndpoint.
func (*endpoint) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (*endpoint) SetOnCloseAction(func()) {}

func macOf(a tcpip.LinkAddress) (mac link.MAC, ok bool) {
	return mac, copy(mac[:], a) == len(mac)
}
