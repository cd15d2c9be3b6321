package inband

import (
	"net/netip"
	"testing"

	"github.com/oobnet/oobnet/link"
)

// sink is a host that does nothing, for measuring the stage alone.
type sink struct{}

func (sink) Output(uint32, link.MAC, uint16, uint8, [][]byte) bool { return true }
func (sink) Speaks(uint8) bool                                     { return true }
func (sink) Datagram(Datagram) bool                                { return true }
func (sink) TransportError(TransportError)                         {}
func (sink) Neighbor(NeighborEvent)                                {}

func newBench(b *testing.B) *Stage {
	s, err := New(Config{Host: sink{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	if err := s.AddPort(Port{ID: 1, MAC: macA, MTU: 1500, Addrs: []netip.Prefix{netA}}); err != nil {
		b.Fatal(err)
	}
	if err := s.SetStatic(1, addrB, macB); err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkInputUDP64(b *testing.B) {
	s := newBench(b)
	f := frame(macA, macB, 0x0800, ipv4Packet(addrB, addrA, protoUDP, 1, 0, udp(apB, apA, make([]byte, 64))))
	b.ReportAllocs()
	for b.Loop() {
		s.Input(1, f)
	}
}

func BenchmarkSendUDP64(b *testing.B) {
	s := newBench(b)
	o := outgoing(apA, apB, make([]byte, 64))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Send(o); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSendUDP65507(b *testing.B) {
	s := newBench(b)
	o := outgoing(apA, apB, make([]byte, 65507))
	b.SetBytes(65507)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Send(o); err != nil {
			b.Fatal(err)
		}
	}
}
