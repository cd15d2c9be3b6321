package guestdpdk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/netns"
)

// traffic is some of everything, both ways.
func (r *rig) traffic(largest int) {
	r.t.Helper()
	r.ping(3, 56)
	r.udp(r.A, r.B, 200, 1, largest)
	r.udp(r.B, r.A, 200, 1, largest)
	r.tcp(200_000)
}

// largest is the payload of a datagram that fills a frame.
const largest = 1500 - 20 - 8

// TestForward hands frames on as they are, stops and starts again, resets the cards
// and starts again, and ends in good order.
func TestForward(t *testing.T) {
	r := newRig(t, 1500)
	r.do("set fwd io")
	r.do("start")
	r.balanced(func() { r.traffic(largest) })
	r.do("stop")
	r.do("start")
	r.balanced(func() { r.traffic(largest) })
	r.do("stop")
	for range 2 {
		r.do("port stop all")
		r.do("port start all")
		r.awaitLink(0, true)
		r.awaitLink(1, true)
	}
	r.do("start")
	r.balanced(func() { r.traffic(largest) })
	r.do("stop")
	r.do("port stop all")
	said := r.do("port close all")
	for port := range r.cards {
		if want := fmt.Sprintf("Port %d is closed", port); !strings.Contains(said, want) {
			t.Errorf("not said: %s: %s", want, said)
		}
	}
	r.quit()
}

// TestAddresses wants the cards to take what is for them, and nothing else, by
// the filters that DPDK sets, while testpmd sends it on under new addresses.
func TestAddresses(t *testing.T) {
	r := newRig(t, 1500)
	own := [2][6]byte{r.mac(0), r.mac(1)}
	r.do("set fwd mac")
	for port, far := range []*netns.Host{r.A, r.B} {
		r.do("set eth-peer %d %v", port, net.HardwareAddr(far.MAC[:]))
	}
	r.neighbours(own[0], own[1])
	r.do("set promisc all off")
	r.do("set allmulti all off")
	r.do("start")
	r.balanced(func() { r.traffic(largest) })

	var (
		broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		group     = [6]byte{0x01, 0x00, 0x5e, 0x01, 0x02, 0x03}
		group2    = [6]byte{0x01, 0x00, 0x5e, 0x04, 0x05, 0x06}
		second    = [6]byte{0x02, 0x00, 0x5e, 0x10, 0x00, 0x02}
		foreign   = [6]byte{0x02, 0x00, 0x5e, 0x10, 0x77, 0x03} // QEMU's cards look for hosts, too, in the table for groups: not in the same place
	)
	in, out := r.raw(r.A, experiment), r.raw(r.B, experiment)
	var offered [][]byte
	for name, to := range map[string][6]byte{"group": group, "group2": group2, "second": second, "foreign": foreign, "broadcast": broadcast, "own": own[0]} {
		offered = append(offered, frame(to, r.A.MAC, name))
	}
	for _, step := range []struct{ commands, taken string }{
		{"", "broadcast own"},
		{"mcast_addr add 0 01:00:5e:01:02:03", "broadcast group own"},
		{"mac_addr add 0 02:00:5e:10:00:02", "broadcast group own second"},
		{"mac_addr remove 0 02:00:5e:10:00:02", "broadcast group own"},
		{"set allmulti 0 on", "broadcast group group2 own"},
		{"set promisc 0 on", "broadcast foreign group group2 own second"},
		{"set promisc 0 off;set allmulti 0 off;mcast_addr remove 0 01:00:5e:01:02:03", "broadcast own"},
	} {
		r.each(step.commands)
		taken := r.offer(in, out, offered, frame(own[0], r.A.MAC, last), func(f []byte) {
			if !bytes.Equal(f[:12], append(r.B.MAC[:], own[1][:]...)) {
				t.Errorf("after %q: the addresses are % x, want B's and the second card's", step.commands, f[:12])
			}
		})
		if taken != step.taken {
			t.Errorf("after %q the card took %q, want %q", step.commands, taken, step.taken)
		}
	}
	r.do("stop")
	r.quit()
}

// TestVLAN filters frames by their tags, and has the cards take tags out and put
// others in.
func TestVLAN(t *testing.T) {
	const ofA, ofB, third = 5, 7, 6
	r := newRig(t, 1500)
	r.do("set fwd mac")
	for port, far := range []*netns.Host{r.A, r.B} {
		r.do("set eth-peer %d %v", port, net.HardwareAddr(far.MAC[:]))
	}
	r.do("vlan set strip off 0")
	r.do("start")
	in, out := r.raw(r.A, experiment), r.raw(r.B, experiment)
	plain := frame(r.B.MAC, r.A.MAC, "untagged")
	offered := [][]byte{plain, tagged(ofA, frame(r.B.MAC, r.A.MAC, "5")), tagged(third, frame(r.B.MAC, r.A.MAC, "6"))}
	for _, step := range []struct{ commands, taken string }{
		{"", "5 6 untagged"},
		{"vlan set filter on 0;rx_vlan add 5 0", "5 untagged"},
		{"rx_vlan add 6 0", "5 6 untagged"},
		{"rx_vlan rm 5 0", "6 untagged"},
		{"vlan set filter off 0", "5 6 untagged"},
	} {
		r.each(step.commands)
		// B's kernel takes tags out of what a packet socket shows.
		if taken := r.offer(in, out, offered, frame(r.B.MAC, r.A.MAC, last), nil); taken != step.taken {
			t.Errorf("after %q the card took %q, want %q", step.commands, taken, step.taken)
		}
	}
	r.do("stop")

	// A has its address on one VLAN and B on another: what is between them takes
	// the one tag out, and puts the other in.
	tagA, tagB := netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("198.51.100.2/24")
	for _, end := range []struct {
		h    *netns.Host
		id   int
		addr netip.Prefix
	}{{r.A, ofA, tagA}, {r.B, ofB, tagB}} {
		if _, err := end.h.AddVLAN(end.id, end.addr); err != nil {
			t.Skipf("tags in the kernel: %v", err)
		}
	}
	r.do("port stop all")
	for port, id := range []int{ofA, ofB} {
		r.do("vlan set strip on %d", port)
		r.do("tx_vlan set %d %d", port, id)
	}
	r.do("port start all")
	r.awaitLink(0, true)
	r.awaitLink(1, true)
	r.do("start")
	if out, err := r.A.Exec("ping", "-q", "-c", "5", "-w", fmt.Sprint(patience.Seconds()), tagB.Addr().String()); err != nil {
		t.Errorf("ping from VLAN %d to VLAN %d: %v: %s", ofA, ofB, err, out)
	}
	r.do("stop")
	r.quit()
}

// TestChecksums leaves the sums of IPv4, UDP and TCP to the cards, both ways: of
// what came in they say whether it was right, what goes out they make right.
func TestChecksums(t *testing.T) {
	r := newRig(t, 1500, "--enable-rx-cksum")
	r.do("port stop all")
	for port, far := range []*netns.Host{r.A, r.B} {
		for _, layer := range []string{"ip", "udp", "tcp"} {
			r.do("csum set %s hw %d", layer, port)
		}
		r.do("set eth-peer %d %v", port, net.HardwareAddr(far.MAC[:]))
	}
	r.do("port start all")
	r.awaitLink(0, true)
	r.awaitLink(1, true)
	r.do("set fwd csum")
	r.do("start")
	r.balanced(func() { r.traffic(largest) })
	bad := func(layer string) string {
		t.Helper()
		stats := r.do("show fwd stats all")
		m := regexp.MustCompile(`Bad-` + layer + `: ([0-9]+)`).FindStringSubmatch(stats)
		if m == nil {
			return "0" // it prints the line when there was one
		}
		return m[1]
	}
	if ip, l4 := bad("ipcsum"), bad("l4csum"); ip != "0" || l4 != "0" {
		t.Errorf("of good packets cards found bad: %s IPv4, %s UDP or TCP", ip, l4)
	}
	in, out := r.raw(r.A, 0x0800), r.raw(r.B, 0x0800)
	good := segment(r.B.MAC, r.A.MAC, "a checksum that is wrong")
	for _, at := range []int{14 + 10, 14 + 20 + 16} {
		f := bytes.Clone(good)
		f[at] ^= 0x55
		if _, err := in.Write(f); err != nil {
			t.Fatal(err)
		}
		// What is wrong testpmd sends on all the same, and it was made right.
		got := r.next(out)
		if !bytes.Equal(got[12:], good[12:]) {
			t.Errorf("the checksum at %d was wrong: received % x, want % x", at, got[12:], good[12:])
		}
	}
	if ip, l4 := bad("ipcsum"), bad("l4csum"); ip != "1" || l4 != "1" {
		t.Errorf("cards found bad: %s IPv4, %s UDP or TCP; want one each", ip, l4)
	}
	r.do("stop")

	// Segments of TCP that are larger than so the cards cut up.
	const most = 500
	r.do("port stop all")
	r.do("tso set %d 0", most)
	r.do("tso set %d 1", most)
	r.do("port start all")
	r.awaitLink(0, true)
	r.awaitLink(1, true)
	r.do("start")
	// Of these QEMU's card counts one for all.
	const stream = 200_000
	before := [2]counts{r.kernel(r.A), r.kernel(r.B)}
	r.tcp(stream)
	for i, far := range []*netns.Host{r.A, r.B} {
		if got := r.kernel(far).minus(before[i]); got.rxFrames < stream/most {
			t.Errorf("%d bytes came in %d frames, want %d at least", stream, got.rxFrames, stream/most)
		}
	}
	r.do("stop")
	r.quit()
}

// segment is one of TCP from A to B, with right checksums: a reset of no
// connection, which nobody answers. Of UDP DPDK believes no 82599 that a checksum is
// wrong, since that one finds fault with sums that were left out.
func segment(to, from [6]byte, text string) []byte {
	b := append(append(append([]byte{}, to[:]...), from[:]...), 0x08, 0)
	ip := []byte{0x45, 0, 0, byte(20 + 20 + len(text)), 0, 1, 0, 0, 64, 6, 0, 0}
	a, z := addrA.Addr().As4(), addrB.Addr().As4()
	ip = append(append(ip, a[:]...), z[:]...)
	const reset = 1 << 2
	tcp := append([]byte{0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, reset, 0x10, 0, 0, 0, 0, 0}, text...)
	pseudo := append(append([]byte{}, ip[12:20]...), 0, 6, 0, byte(len(tcp)))
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	binary.BigEndian.PutUint16(tcp[16:], ^sum(append(pseudo, tcp...)))
	return append(append(b, ip...), tcp...)
}

// sum is that of RFC 1071, of an even number of bytes.
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// queues is how many each card has in TestQueues.
const queues = 4

var stream = regexp.MustCompile(`RX Port= *0/Queue= *([0-9]+) -> [^\n]*\n *RX-packets: ([0-9]+)`)

// TestQueues has several queues each way, over which RSS spreads flows.
func TestQueues(t *testing.T) {
	const n, flows = 512, 64
	count := fmt.Sprint(queues)
	r := newRig(t, 1500, "--rxq="+count, "--txq="+count, "--rss-udp")
	r.do("set fwd io")
	r.do("start")
	r.balanced(func() { r.udp(r.A, r.B, n, flows, 200) })
	stats := r.do("show fwd stats all")
	seen := map[string]string{}
	for _, m := range stream.FindAllStringSubmatch(stats, -1) {
		if m[2] != "0" {
			seen[m[1]] = m[2]
		}
	}
	if len(seen) != queues {
		t.Errorf("%d flows came by the queues %v, want all %d:\n%s", flows, seen, queues, stats)
	}
	r.balanced(func() { r.traffic(largest) })
	r.do("stop")
	if r.cards[0].Model != "igb" { // for which DPDK cannot
		for _, way := range []string{"rxq", "txq"} {
			for _, what := range []string{"stop", "start"} {
				if said := r.do("port 0 %s 1 %s", way, what); strings.Contains(said, "not") {
					t.Errorf("%s of %s 1: %s", what, way, said)
				}
			}
		}
		r.do("start")
		r.balanced(func() { r.udp(r.A, r.B, n, flows, 200) })
		r.do("stop")
	}
	r.do("port stop all")
	r.do("port start all")
	r.awaitLink(0, true)
	r.awaitLink(1, true)
	r.do("start")
	r.balanced(func() { r.udp(r.A, r.B, n, flows, 200) })
	r.do("stop")
	r.quit()
}

// TestJumbo has frames that are larger than a buffer, and so take several
// descriptors each way.
func TestJumbo(t *testing.T) {
	const mtu = 4000
	// The offload of several segments a frame, for sending: RTE_ETH_TX_OFFLOAD_MULTI_SEGS.
	r := newRig(t, mtu, fmt.Sprintf("--max-pkt-len=%d", mtu+14+4), "--enable-scatter", "--tx-offloads=0x8000")
	r.do("set fwd io")
	r.do("start")
	r.balanced(func() {
		r.ping(3, mtu-28)
		r.traffic(mtu - 28)
	})
	r.do("stop")
	r.quit()
}

// TestLink pulls a cable, and plugs it in again: DPDK is told by an interrupt, and
// tells testpmd when the link has kept its state for some seconds.
func TestLink(t *testing.T) {
	r := newRig(t, 1500)
	r.do("set fwd io")
	r.do("start")
	for i := range 4 {
		const event = "Port 0: link state change event"
		up, before := i%2 != 0, strings.Count(r.printed(0), event)
		r.cards[0].SetCable(t, up)
		r.awaitLink(0, up)
		r.eventually(func() string {
			if strings.Count(r.printed(0), event) > before {
				return ""
			}
			return fmt.Sprintf("no %q when the cable's state became %v", event, up)
		})
	}
	r.balanced(func() { r.traffic(largest) })
	r.do("stop")
	r.quit()
}
