package afxdp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// testGate is a gate with a socket for queue 0 and on no interface. The socket
// is bound to one, that of a wire: kernels from 7.2 on take no other.
func testGate(t *testing.T) *gate {
	t.Helper()
	w := netnstest.NewPair(t, nil)
	g, err := newGate(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.close(); err != nil {
			t.Error(err)
		}
	})
	fd := foreignSocket(t, w.A)
	t.Cleanup(func() { unix.Close(fd) })
	if err := g.maps.sockets.Put(uint32(0), uint32(fd)); err != nil {
		t.Fatal(err)
	}
	return g
}

// accepted is how many frames went to the link's sockets.
func accepted(s filter.Stats) uint64 { return s.Verdicts[filter.Accept] + s.VLANAccepted }

// takes runs the program in the kernel on one frame.
func takes(t *testing.T, g *gate, frame []byte) bool {
	t.Helper()
	verdict, _, err := g.program().Test(frame)
	if err != nil {
		t.Fatalf("%d bytes: %v", len(frame), err)
	}
	switch verdict {
	case xdpRedirect:
		return true
	case xdpPass:
		return false
	}
	t.Fatalf("verdict %d", verdict)
	return false
}

func addr4(last byte) [4]byte { return [4]byte{192, 0, 2, last} }

// ethernet is a frame of an EtherType with these tags, outermost first.
func ethernet(etherType uint16, payload []byte, tags ...uint32) []byte {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	for _, tag := range tags {
		b = binary.BigEndian.AppendUint32(b, tag)
	}
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

func ctag(vlan uint32) uint32 { return etherTypeVLAN<<16 | vlan }
func stag(vlan uint32) uint32 { return etherTypeSTag<<16 | vlan }

// ipv4 is a packet with so many words of options.
func ipv4(dst [4]byte, options int, fragment uint16) []byte {
	b := make([]byte, ipv4Header+4*options+8)
	b[0] = byte(0x45 + options)
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[9] = unix.IPPROTO_UDP
	copy(b[ipv4Destination:], dst[:])
	return b
}

func arpTo(dst [4]byte) []byte {
	b := make([]byte, arpHeader)
	binary.BigEndian.PutUint32(b, arpSpaces)
	binary.BigEndian.PutUint16(b[4:], arpLengths)
	b[7] = 1
	copy(b[arpTarget:], dst[:])
	return b
}

func TestProgram(t *testing.T) {
	g := testGate(t)
	mine, other := addr4(1), addr4(2)
	const own, profinet = 0x88b5, 0x8892
	oddARP := arpTo(mine)
	oddARP[4] = 8 // hardware addresses of eight bytes: the target is elsewhere
	addresses := &link.Claims{IPv4: []link.ClaimIPv4{{Addr: mine}, {VLAN: 5, Addr: other}}}
	types := &link.Claims{EtherTypes: []link.ClaimEtherType{{EtherType: profinet}, {VLAN: 7, EtherType: own}}}
	all := &link.Claims{EtherTypes: []link.ClaimEtherType{{VLAN: 9, EtherType: link.AllEtherTypes}}}
	for _, c := range []struct {
		name   string
		claims *link.Claims
		frame  []byte
		want   bool
	}{
		{"nothing claimed", &link.Claims{}, ethernet(etherTypeIPv4, ipv4(mine, 0, 0)), false},
		{"claimed address", addresses, ethernet(etherTypeIPv4, ipv4(mine, 0, 0)), true},
		{"other address", addresses, ethernet(etherTypeIPv4, ipv4(other, 0, 0)), false},
		{"options", addresses, ethernet(etherTypeIPv4, ipv4(mine, 10, 0)), true},
		{"first fragment", addresses, ethernet(etherTypeIPv4, ipv4(mine, 0, 0x2000)), true},
		{"last fragment", addresses, ethernet(etherTypeIPv4, ipv4(mine, 0, 185)), true},
		{"header one byte short", addresses, ethernet(etherTypeIPv4, ipv4(mine, 0, 0)[:19]), false},
		{"header and no more", addresses, ethernet(etherTypeIPv4, ipv4(mine, 0, 0)[:20]), true},
		{"bare Ethernet header", addresses, ethernet(etherTypeIPv4, nil), false},
		{"ARP", addresses, ethernet(etherTypeARP, arpTo(mine)), true},
		{"ARP for another", addresses, ethernet(etherTypeARP, arpTo(other)), false},
		{"ARP one byte short", addresses, ethernet(etherTypeARP, arpTo(mine)[:27]), false},
		{"ARP of another hardware", addresses, ethernet(etherTypeARP, oddARP), false},
		{"IPv6", addresses, ethernet(0x86dd, make([]byte, 40)), false},
		{"VLAN", addresses, ethernet(etherTypeIPv4, ipv4(other, 0, 0), ctag(5)), true},
		{"VLAN with priority", addresses, ethernet(etherTypeIPv4, ipv4(other, 0, 0), ctag(7<<13|5)), true},
		{"ARP on a VLAN", addresses, ethernet(etherTypeARP, arpTo(other), ctag(5)), true},
		{"untagged address on a VLAN", addresses, ethernet(etherTypeIPv4, ipv4(mine, 0, 0), ctag(5)), false},
		{"other VLAN", addresses, ethernet(etherTypeIPv4, ipv4(other, 0, 0), ctag(6)), false},
		{"VLAN address untagged", addresses, ethernet(etherTypeIPv4, ipv4(other, 0, 0)), false},
		{"priority tag", addresses, ethernet(etherTypeIPv4, ipv4(mine, 0, 0), ctag(6<<13)), true},
		{"tag cut off", addresses, ethernet(etherTypeVLAN, []byte{0, 5, 8}), false},
		{"two tags", addresses, ethernet(etherTypeIPv4, ipv4(other, 0, 0), ctag(5), ctag(5)), false},
		{"802.1ad", addresses, ethernet(etherTypeIPv4, ipv4(other, 0, 0), stag(5), ctag(5)), false},
		{"claimed EtherType", types, ethernet(profinet, []byte{1}), true},
		{"claimed EtherType with a priority tag", types, ethernet(profinet, []byte{1}, ctag(6<<13)), true},
		{"other EtherType", types, ethernet(own, nil), false},
		{"EtherType on its VLAN", types, ethernet(own, nil, ctag(7)), true},
		{"EtherType on another VLAN", types, ethernet(own, nil, ctag(8)), false},
		{"IPv4 and only EtherTypes claimed", types, ethernet(etherTypeIPv4, ipv4(mine, 0, 0)), false},
		{"all of a VLAN", all, ethernet(0x1234, nil, ctag(9)), true},
		{"all of a VLAN, IPv4", all, ethernet(etherTypeIPv4, ipv4(mine, 0, 0), ctag(9)), true},
		{"all of a VLAN, two tags", all, ethernet(etherTypeIPv4, nil, ctag(9), ctag(1)), true},
		{"all of another VLAN", all, ethernet(0x1234, nil, ctag(10)), false},
		{"802.3 length zero", types, ethernet(0, nil), false},
	} {
		if err := g.apply(c.claims); err != nil {
			t.Fatal(err)
		}
		if got := Decide(c.claims, c.frame); got != c.want {
			t.Errorf("%s: Decide says %v, want %v", c.name, got, c.want)
		}
		if got := takes(t, g, c.frame); got != c.want {
			t.Errorf("%s: the program says %v, want %v", c.name, got, c.want)
		}
	}
}

// TestProgramRandom compares the program and Decide on frames that are made
// of the right pieces in wrong orders, cut anywhere.
func TestProgramRandom(t *testing.T) {
	g := testGate(t)
	const seed, rounds, frames = 1, 60, 200
	r := rand.New(rand.NewPCG(seed, 0))
	taken := 0
	for range rounds {
		claims := randomClaims(r)
		if err := g.apply(claims); err != nil {
			t.Fatal(err)
		}
		for range frames {
			frame := randomFrame(r)
			want := Decide(claims, frame)
			if got := takes(t, g, frame); got != want {
				t.Fatalf("claims %+v, frame % x: the program says %v, Decide %v", claims, frame, got, want)
			}
			if want {
				taken++
			}
		}
	}
	if total := rounds * frames; taken < total/20 || taken > total*19/20 {
		t.Errorf("%d of %d random frames were taken: too one-sided to prove much", taken, total)
	}
	if s := g.stats(); accepted(s) != uint64(taken) || accepted(s)+s.Verdicts[filter.Skip] != rounds*frames {
		t.Errorf("counters %+v after %d frames, %d of them taken", s, rounds*frames, taken)
	}
}

var (
	someVLANs = []uint16{0, 0, 1, 5, maxVLAN}
	someTypes = []uint16{etherTypeIPv4, etherTypeIPv4, etherTypeARP, etherTypeVLAN, etherTypeSTag, 0x88b5, 0}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomClaims(r *rand.Rand) *link.Claims {
	c := &link.Claims{}
	for range r.IntN(8) {
		c.IPv4 = append(c.IPv4, link.ClaimIPv4{VLAN: pick(r, someVLANs), Addr: addr4(byte(r.IntN(3)))})
	}
	for range r.IntN(4) {
		c.EtherTypes = append(c.EtherTypes, link.ClaimEtherType{VLAN: pick(r, someVLANs), EtherType: pick(r, someTypes)})
	}
	return c
}

func randomFrame(r *rand.Rand) []byte {
	var tags []uint32
	for range r.IntN(3) {
		tags = append(tags, uint32(pick(r, someTypes[3:5]))<<16|uint32(r.IntN(8))<<13|uint32(pick(r, someVLANs)))
	}
	var payload []byte
	etherType := pick(r, someTypes)
	switch etherType {
	case etherTypeIPv4:
		payload = ipv4(addr4(byte(r.IntN(3))), r.IntN(11), uint16(r.IntN(1<<16)))
	case etherTypeARP:
		payload = arpTo(addr4(byte(r.IntN(3))))
		if r.IntN(4) == 0 {
			payload[r.IntN(6)] ^= 1
		}
	default:
		payload = make([]byte, r.IntN(64))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
	}
	b := ethernet(etherType, payload, tags...)
	if r.IntN(4) == 0 {
		b = b[:ethernetHeader+r.IntN(len(b)-ethernetHeader+1)]
	}
	return b
}

// TestProgramQueue: a frame of a queue that has no socket is the kernel's.
func TestProgramQueue(t *testing.T) {
	g := testGate(t)
	if err := g.apply(&link.Claims{IPv4: []link.ClaimIPv4{{Addr: addr4(1)}}}); err != nil {
		t.Fatal(err)
	}
	frame := ethernet(etherTypeIPv4, ipv4(addr4(1), 0, 0))
	if !takes(t, g, frame) {
		t.Error("a claimed frame was passed")
	}
	if err := g.maps.sockets.Delete(uint32(0)); err != nil {
		t.Fatal(err)
	}
	if takes(t, g, frame) {
		t.Error("a frame was redirected to a queue without a socket")
	}
	if s := g.stats(); accepted(s) != 1 || s.Verdicts[filter.Skip] != 1 {
		t.Errorf("counters %+v, want one of each", s)
	}
}

// TestClaimsDiff: what is no longer claimed is no longer taken, and claims
// that cannot be made leave the former ones.
func TestClaimsDiff(t *testing.T) {
	g := testGate(t)
	var many link.Claims
	for i := range MaxIPv4Claims {
		many.IPv4 = append(many.IPv4, link.ClaimIPv4{Addr: [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}})
	}
	if err := g.apply(&many); err != nil {
		t.Fatal(err)
	}
	// All others at once: for a moment both are there.
	others := link.Claims{EtherTypes: []link.ClaimEtherType{{EtherType: 0x88b5}}}
	for i := range MaxIPv4Claims {
		others.IPv4 = append(others.IPv4, link.ClaimIPv4{Addr: [4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}})
	}
	if err := g.apply(&others); err != nil {
		t.Fatal(err)
	}
	if takes(t, g, ethernet(etherTypeIPv4, ipv4([4]byte{10, 0, 0, 1}, 0, 0))) {
		t.Error("a former claim is still taken")
	}
	if !takes(t, g, ethernet(etherTypeIPv4, ipv4([4]byte{11, 0, 0, 1}, 0, 0))) {
		t.Error("a new claim is not taken")
	}
	// More than the map holds: past what Select would let through.
	var tooMany link.Claims
	for i := range 3 * MaxIPv4Claims {
		tooMany.IPv4 = append(tooMany.IPv4, link.ClaimIPv4{Addr: [4]byte{12, byte(i >> 16), byte(i >> 8), byte(i)}})
	}
	if err := g.apply(&tooMany); err == nil {
		t.Fatal("more claims than the map holds were accepted")
	}
	if !takes(t, g, ethernet(etherTypeIPv4, ipv4([4]byte{11, 0, 0, 1}, 0, 0))) || !takes(t, g, ethernet(0x88b5, nil)) {
		t.Error("a failed change took former claims away")
	}
	entries := 0
	var k ipv4Key
	var v uint8
	for i := g.maps.ipv4.Iterate(); i.Next(&k, &v); {
		entries++
	}
	if entries != MaxIPv4Claims {
		t.Errorf("%d entries after a failed change, want the former %d", entries, MaxIPv4Claims)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(ethernet(etherTypeIPv4, ipv4(addr4(1), 0, 0), ctag(5)))
	f.Add([]byte{})
	claims := &link.Claims{IPv4: []link.ClaimIPv4{{VLAN: 5, Addr: addr4(1)}}, EtherTypes: []link.ClaimEtherType{{EtherType: 0x88b5}}}
	f.Fuzz(func(t *testing.T, frame []byte) { Decide(claims, frame) })
}
