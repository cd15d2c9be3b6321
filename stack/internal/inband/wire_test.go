package inband

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/refs"

	"github.com/oobnet/oobnet/link"
)

// Every packet buffer that gVisor lends must have come back when the tests end.
func TestMain(m *testing.M) {
	refs.SetLeakMode(refs.LeaksPanic)
	code := m.Run()
	refs.DoRepeatedLeakCheck()
	os.Exit(code)
}

var (
	macA, macB   = link.MAC{2, 0, 0, 0, 0, 0xa}, link.MAC{2, 0, 0, 0, 0, 0xb}
	addrA, addrB = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")
	netA, netB   = netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("10.1.0.2/24")
)

const patience = 10 * time.Second // nothing that works takes this long

// side is one end of a wire in memory: a stage and its fake host. What the
// stage sends is queued, and a goroutine of the wire brings it to the peer.
type side struct {
	*Stage
	name string
	mac  link.MAC
	out  chan []byte // bounded: Output refuses when it is full

	mu        sync.Mutex
	sent      [][]byte // every frame of Output
	take      func(Datagram) bool
	speaks    []uint8 // besides UDP
	datagrams chan Datagram
	errors    chan TransportError
	neighbors chan NeighborEvent
	// refuse sees each frame of Output; true: there is no buffer for it.
	refuse func(frame []byte) bool
}

func (h *side) Output(port uint32, dst link.MAC, etherType uint16, priority uint8, packet [][]byte) bool {
	f := append(append([]byte{}, dst[:]...), h.mac[:]...)
	f = binary.BigEndian.AppendUint16(f, etherType)
	for _, p := range packet {
		f = append(f, p...)
	}
	h.mu.Lock()
	refused := h.refuse != nil && h.refuse(f)
	if !refused {
		h.sent = append(h.sent, f)
	}
	h.mu.Unlock()
	if refused {
		return false
	}
	select {
	case h.out <- f:
		return true
	default:
		return false
	}
}

func (h *side) Speaks(protocol uint8) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return protocol == protoUDP || slices.Contains(h.speaks, protocol)
}

func (h *side) Datagram(d Datagram) bool {
	h.mu.Lock()
	take := h.take
	h.mu.Unlock()
	if take != nil && !take(d) {
		return false
	}
	h.datagrams <- d
	return true
}

func (h *side) TransportError(e TransportError) { h.errors <- e }
func (h *side) Neighbor(e NeighborEvent)        { h.neighbors <- e }

func (h *side) frames() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([][]byte{}, h.sent...)
}

func (h *side) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func newSide(t testing.TB, name string, mac link.MAC, cfg Config, p Port) *side {
	t.Helper()
	h := &side{
		name: name, mac: mac, out: make(chan []byte, 4096),
		datagrams: make(chan Datagram, 1024), errors: make(chan TransportError, 1024), neighbors: make(chan NeighborEvent, 4096),
	}
	cfg.Host = h
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Stage = s
	p.ID, p.Name, p.MAC = 1, name, mac
	if p.MTU == 0 {
		p.MTU = 1500
	}
	if err := s.AddPort(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return h
}

// newPair wires two stages back to back.
func newPair(t testing.TB, cfg Config) (a, b *side) {
	t.Helper()
	a = newSide(t, "a", macA, cfg, Port{Addrs: []netip.Prefix{netA}})
	b = newSide(t, "b", macB, cfg, Port{Addrs: []netip.Prefix{netB}})
	connect(t, a, b)
	return a, b
}

func connect(t testing.TB, a, b *side) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	pump := func(from, to *side) {
		defer wg.Done()
		for {
			select {
			case f := <-from.out:
				to.Input(1, f)
			case <-stop:
				return
			}
		}
	}
	wg.Add(2)
	go pump(a, b)
	go pump(b, a)
	t.Cleanup(func() { close(stop); wg.Wait() })
}

func next[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}

// waitState reads events until an address is in a state.
func (h *side) waitState(t testing.TB, addr netip.Addr, want NeighborState) NeighborEvent {
	t.Helper()
	for {
		if e := next(t, fmt.Sprintf("%s: %v to become %v", h.name, addr, want), h.neighbors); e.Addr == addr && e.State == want {
			return e
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// udp builds a transport: header with checksum, payload.
func udp(src, dst netip.AddrPort, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(udpHeaderSize+len(payload)))
	b = append(b, 0, 0)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[6:], ^sum(b, pseudo(src.Addr(), dst.Addr(), len(b))))
	return b
}

func pseudo(src, dst netip.Addr, n int) uint16 {
	b := append(src.AsSlice(), dst.AsSlice()...)
	b = append(b, 0, protoUDP)
	return sum(binary.BigEndian.AppendUint16(b, uint16(n)), 0)
}

// ipv4Packet builds an IPv4 packet. frag is the flags and offset field.
func ipv4Packet(src, dst netip.Addr, proto uint8, id, frag uint16, transport []byte) []byte {
	b := []byte{0x45, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(transport)))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, frag)
	b = append(b, 64, proto, 0, 0)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], ^sum(b, 0))
	return append(b, transport...)
}

func frame(dst, src link.MAC, etherType uint16, packet []byte) []byte {
	f := append(append([]byte{}, dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(f, etherType), packet...)
}

func arpFrame(dst link.MAC, a arpPacket) []byte {
	return frame(dst, a.senderMAC, 0x0806, a.bytes())
}

func isARP(f []byte) bool { return binary.BigEndian.Uint16(f[12:]) == 0x0806 }
