package differential

import (
	"bytes"
	"net/netip"
	"os"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/refs"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Every packet buffer that gVisor lends must have come back when the tests
// end; what it would write to standard error of damaged frames is not wanted.
func TestMain(m *testing.M) {
	log.SetLevel(log.Warning)
	refs.SetLeakMode(refs.LeaksPanic)
	code := m.Run()
	refs.DoRepeatedLeakCheck()
	os.Exit(code)
}

// theirs is gVisor from end to end: its ARP, IPv4, ICMP and UDP, its socket.
type theirs struct {
	t    testing.TB
	link *channel.Endpoint
	s    *stack.Stack
	ep   tcpip.Endpoint
}

const nic = 1

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

func newTheirs(t testing.TB) *theirs {
	t.Helper()
	check := func(err tcpip.Error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g := &theirs{t: t, link: channel.New(ringSize, 1500+14, tcpip.LinkAddress(hostMAC[:]))}
	g.s = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocolWithOptions(ipv4.Options{IGMP: ipv4.IGMPOptions{Enabled: true}}), arp.NewProtocol,
		},
		TransportProtocols: []stack.TransportProtocolFactory{udp.NewProtocol, icmp.NewProtocol4},
		HandleLocal:        true,
	})
	check(g.s.CreateNIC(nic, ethernet.New(g.link)))
	check(g.s.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(hostAddr), PrefixLen: hostNet.Bits()},
	}, stack.AddressProperties{}))
	mask := tcpip.MaskFromBytes([]byte{255, 255, 255, 0})
	subnet, err := tcpip.NewSubnet(address(hostNet.Masked().Addr()), mask)
	if err != nil {
		t.Fatal(err)
	}
	g.s.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: nic}})
	check(g.s.AddStaticNeighbor(nic, ipv4.ProtocolNumber, address(peerAddr), tcpip.LinkAddress(peerMAC[:])))
	var wq waiter.Queue
	ep, terr := g.s.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	check(terr)
	g.ep = ep
	ep.SocketOptions().SetBroadcast(true)
	ep.SocketOptions().SetReceiveBufferSize(1<<20, false)
	check(ep.Bind(tcpip.FullAddress{Port: port}))
	check(ep.SetSockOpt(&tcpip.AddMembershipOption{NIC: nic, MulticastAddr: address(group)}))
	return g
}

func (g *theirs) close() {
	g.ep.Close()
	g.s.RemoveNIC(nic)
	g.s.Destroy()
	g.link.Close()
}

// run hands frames over, one after the other; gVisor does all on this goroutine.
func (g *theirs) run(frames ...[]byte) (out outcome) {
	g.t.Helper()
	for _, b := range frames {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		g.link.InjectInbound(0, pkt)
		pkt.DecRef()
	}
	for pkt := g.link.Read(); pkt != nil; pkt = g.link.Read() {
		v := pkt.ToView()
		if a := answerAs(v.AsSlice()); a != "" {
			out.answers = append(out.answers, a)
		}
		v.Release()
		pkt.DecRef()
	}
	for {
		var b bytes.Buffer
		r, err := g.ep.Read(&b, tcpip.ReadOptions{NeedRemoteAddr: true})
		if err != nil {
			if _, none := err.(*tcpip.ErrWouldBlock); !none {
				g.t.Fatalf("theirs: %v", err)
			}
			return out
		}
		from := netip.AddrPortFrom(netip.AddrFrom4(r.RemoteAddr.Addr.As4()), r.RemoteAddr.Port)
		out.delivered = append(out.delivered, deliveredAs(b.Bytes(), from))
	}
}
