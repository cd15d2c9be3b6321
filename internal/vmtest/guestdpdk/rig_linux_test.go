package guestdpdk

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
)

// The addresses of the far ends.
var (
	addrA = netip.MustParsePrefix("192.0.2.1/24")
	addrB = netip.MustParsePrefix("192.0.2.2/24")
)

// patience bounds every wait for something to arrive or to change.
const patience = 30 * time.Second

// speeds are those of the links, as testpmd prints them.
var speeds = map[string]string{"igb": "1 Gbps", "82599": "10 Gbps", "x540": "10 Gbps"}

// rig is testpmd on two cards, and the kernel at the far ends of their wires: A
// behind card 0, B behind card 1. Both ends know each other's address beforehand, so
// that nothing is on the wires but what a test sends.
type rig struct {
	*pmd
	*netns.Wire
	cards []guesttest.Card
	t     testing.TB
}

// newRig makes one, with the MTU of the far ends and further options for testpmd.
// The links of the cards are up when it returns, and nothing is forwarded yet.
func newRig(t *testing.T, mtu int, options ...string) *rig {
	t.Helper()
	leaktest.Check(t)
	cards := guesttest.Cards(t)
	if len(cards) < 2 || cards[0].Driver != "vfio-pci" {
		t.Skip("needs two cards that are VFIO's")
	}
	r := &rig{cards: cards[:2], t: t}
	w, err := netns.Make(&netns.Config{
		Ends: [2]string{cards[0].PeerNetdev(t), cards[1].PeerNetdev(t)}, MTU: mtu,
		AddrA: addrA, AddrB: addrB, Offloads: netns.OffloadsOff,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Wire = w
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	r.neighbours(w.B.MAC, w.A.MAC)
	r.pmd = start(t, r.cards, options...)
	for port, c := range r.cards {
		r.awaitLink(port, true)
		if info := r.do("show port info %d", port); !strings.Contains(info, "Link speed: "+speeds[c.Model]) {
			t.Errorf("port %d: the speed of its link is not %s:\n%s", port, speeds[c.Model], info)
		}
	}
	return r
}

// neighbours tells A and B to which hardware address they send what is for the
// other one.
func (r *rig) neighbours(ofB, ofA [6]byte) {
	r.t.Helper()
	for _, n := range []struct {
		at   *netns.Host
		addr netip.Prefix
		mac  [6]byte
	}{{r.A, addrB, ofB}, {r.B, addrA, ofA}} {
		if err := n.at.AddNeighbour(n.addr.Addr(), n.mac); err != nil {
			r.t.Fatal(err)
		}
	}
}

// eventually waits until the function returns "", which else says what is missing.
func (r *rig) eventually(missing func() string) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		text := missing()
		if text == "" {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("after %v: %s", patience, text)
		}
	}
}

// awaitLink waits until testpmd says that a port's link is up, or down.
func (r *rig) awaitLink(port int, up bool) {
	r.t.Helper()
	want := map[bool]string{true: "Link status: up", false: "Link status: down"}[up]
	r.eventually(func() string {
		info := r.do("show port info %d", port)
		if strings.Contains(info, want) {
			return ""
		}
		return fmt.Sprintf("port %d: not %q:\n%s", port, want, info)
	})
}

// mac is the hardware address of a port.
func (r *rig) mac(port int) (mac [6]byte) {
	r.t.Helper()
	_, text, _ := strings.Cut(r.do("show port info %d", port), "MAC address: ")
	text, _, _ = strings.Cut(text, "\n")
	hw, err := net.ParseMAC(strings.TrimSpace(text))
	if err != nil || copy(mac[:], hw) != len(mac) {
		r.t.Fatalf("the address of port %d: %v", port, err)
	}
	return mac
}

// counts are frames and bytes that an interface has received and sent, without
// their checksums.
type counts struct{ rxFrames, rxBytes, txFrames, txBytes uint64 }

func (c counts) minus(d counts) counts {
	return counts{c.rxFrames - d.rxFrames, c.rxBytes - d.rxBytes, c.txFrames - d.txFrames, c.txBytes - d.txBytes}
}

// crossed is the same from the other end of the wire.
func (c counts) crossed() counts { return counts{c.txFrames, c.txBytes, c.rxFrames, c.rxBytes} }

// kernel is what the kernel has counted at a far end.
func (r *rig) kernel(h *netns.Host) (c counts) {
	r.t.Helper()
	err := h.DoErr(func() error {
		// "peer0: " and 8 numbers of what it has received, from bytes and packets
		// on, and 8 of what it has sent. The thread's, since a process has threads
		// in several namespaces.
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		_, line, _ := strings.Cut(string(text), h.IfName+":")
		f := strings.Fields(line)
		if len(f) < 16 {
			return fmt.Errorf("no counters of %s in %q", h.IfName, text)
		}
		for i, to := range map[int]*uint64{0: &c.rxBytes, 1: &c.rxFrames, 8: &c.txBytes, 9: &c.txFrames} {
			if *to, err = strconv.ParseUint(f[i], 10, 64); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

var counted = regexp.MustCompile(`([RT]X-[a-z]+): +([0-9]+)`)

// port is what a card has counted; it must have counted no error and no loss.
func (r *rig) port(n int) counts {
	r.t.Helper()
	text := r.do("show port stats %d", n)
	got := map[string]uint64{}
	for _, m := range counted.FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		got[m[1]] = v
	}
	if len(got) != 8 || got["RX-missed"]+got["RX-errors"]+got["RX-nombuf"]+got["TX-errors"] != 0 {
		r.t.Fatalf("counters of port %d: want eight, and no error:\n%s", n, text)
	}
	return counts{got["RX-packets"], got["RX-bytes"], got["TX-packets"], got["TX-bytes"]}
}

// balanced runs traffic, and wants each card to have counted what the kernel has
// at the far end of its wire, to the byte, and testpmd to have lost nothing.
func (r *rig) balanced(traffic func()) {
	r.t.Helper()
	r.do("clear port stats all")
	far := []*netns.Host{r.A, r.B}
	before := []counts{r.kernel(far[0]), r.kernel(far[1])}
	traffic()
	r.eventually(func() string {
		var ports, sent [2]counts
		for n := range ports {
			ports[n], sent[n] = r.port(n), r.kernel(far[n]).minus(before[n])
		}
		if ports[0] == sent[0].crossed() && ports[1] == sent[1].crossed() && ports[0] == ports[1].crossed() && ports[0] != (counts{}) {
			return ""
		}
		return fmt.Sprintf("the cards have counted %+v, and the kernel at their wires %+v", ports, sent)
	})
}
