package bench

import (
	"context"
	"errors"
	"fmt"
	"net"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	gstack "gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// gvisorLink is the least a gVisor link can be: frames go in as they are
// called in, and what is sent is counted and forgotten. It claims no checksum
// offload, so that gVisor verifies and computes what we do.
type gvisorLink struct {
	dispatcher gstack.NetworkDispatcher
	sent       int
}

func (l *gvisorLink) MTU() uint32                                   { return 1500 + header.EthernetMinimumSize }
func (l *gvisorLink) SetMTU(uint32)                                 {}
func (l *gvisorLink) MaxHeaderLength() uint16                       { return 0 }
func (l *gvisorLink) LinkAddress() tcpip.LinkAddress                { return tcpip.LinkAddress(ownMAC[:]) }
func (l *gvisorLink) SetLinkAddress(tcpip.LinkAddress)              {}
func (l *gvisorLink) Capabilities() gstack.LinkEndpointCapabilities { return 0 }
func (l *gvisorLink) Attach(d gstack.NetworkDispatcher)             { l.dispatcher = d }
func (l *gvisorLink) IsAttached() bool                              { return l.dispatcher != nil }
func (l *gvisorLink) Wait()                                         {}
func (l *gvisorLink) ARPHardwareType() header.ARPHardwareType       { return header.ARPHardwareEther }
func (l *gvisorLink) AddHeader(*gstack.PacketBuffer)                {}
func (l *gvisorLink) ParseHeader(*gstack.PacketBuffer) bool         { return true }
func (l *gvisorLink) Close()                                        {}
func (l *gvisorLink) SetOnCloseAction(func())                       {}

func (l *gvisorLink) WritePackets(pkts gstack.PacketBufferList) (int, tcpip.Error) {
	l.sent += pkts.Len()
	return pkts.Len(), nil
}

// inject hands a frame up. gVisor cannot wrap foreign memory, so the frame is
// copied into a buffer of its own, as every link that receives into its own
// memory must.
func (l *gvisorLink) inject(frame []byte) {
	pkt := gstack.NewPacketBuffer(gstack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	l.dispatcher.DeliverNetworkPacket(0, pkt)
	pkt.DecRef()
}

const gvisorNIC = 1

// gvisorStack is a stack with one Ethernet NIC and a static neighbour, as ours
// has in the same contest.
func gvisorStack() (*gstack.Stack, *gvisorLink, error) {
	s := gstack.New(gstack.Options{
		NetworkProtocols:   []gstack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []gstack.TransportProtocolFactory{udp.NewProtocol},
	})
	l := &gvisorLink{}
	if err := s.CreateNIC(gvisorNIC, ethernet.New(l)); err != nil {
		return nil, nil, fmt.Errorf("gvisor: NIC: %s", err)
	}
	addr := tcpip.AddrFrom4(ownAddr.As4())
	err := s.AddProtocolAddress(gvisorNIC, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: addr, PrefixLen: ownNet.Bits()},
	}, gstack.AddressProperties{})
	if err != nil {
		return nil, nil, fmt.Errorf("gvisor: address: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: gvisorNIC}})
	peer := tcpip.AddrFrom4(peerAddr.As4())
	if err := s.AddStaticNeighbor(gvisorNIC, ipv4.ProtocolNumber, peer, tcpip.LinkAddress(peerMAC[:])); err != nil {
		return nil, nil, fmt.Errorf("gvisor: neighbour: %s", err)
	}
	return s, l, nil
}

func gvisorConn() (*gonet.UDPConn, *gvisorLink, func(), error) {
	s, l, err := gvisorStack()
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := gonet.DialUDP(s, &tcpip.FullAddress{NIC: gvisorNIC, Addr: tcpip.AddrFrom4(ownAddr.As4()), Port: firstPort}, nil, ipv4.ProtocolNumber)
	if err != nil {
		s.Destroy()
		return nil, nil, nil, err
	}
	return c, l, func() { c.Close(); s.Destroy() }, nil
}

// gvisorReceive is frame bytes to ReadFrom's slice.
func gvisorReceive(size int) contender {
	return contender{name: "gvisor", setUp: func(context.Context) (turn, func(), error) {
		c, l, tearDown, err := gvisorConn()
		if err != nil {
			return nil, nil, err
		}
		frame := receivedFrame(size)
		b := make([]byte, 2048)
		p := path{before: nothing, after: nothingErr, run: func() error {
			for range batch {
				l.inject(frame)
			}
			for range batch {
				n, _, err := c.ReadFrom(b)
				if err != nil {
					return err
				}
				if n != size {
					return fmt.Errorf("gvisor: received %d bytes, want %d", n, size)
				}
			}
			return nil
		}}
		return p.turn, tearDown, nil
	}}
}

// gvisorSend is WriteTo to WritePackets of the link.
func gvisorSend(size int) contender {
	return contender{name: "gvisor", setUp: func(context.Context) (turn, func(), error) {
		c, l, tearDown, err := gvisorConn()
		if err != nil {
			return nil, nil, err
		}
		data := payload(size)
		to := &net.UDPAddr{IP: peerAddr.AsSlice(), Port: peerPort}
		p := path{
			before: func() { l.sent = 0 },
			run: func() error {
				for range batch {
					if _, err := c.WriteTo(data, to); err != nil {
						return err
					}
				}
				return nil
			},
			after: func() error {
				if l.sent != batch {
					return errors.New("gvisor: not every datagram reached the link")
				}
				return nil
			},
		}
		return p.turn, tearDown, nil
	}}
}
