package guestixgbe

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// etherType is one of those for local experiments (IEEE 802).
const etherType = 0x88b5

var (
	everyone  = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allHosts  = [6]byte{1, 0, 0x5e, 0, 0, 1} // a group that each interface is in
	group     = [6]byte{1, 0, 0x5e, 0x41, 0x42, 0x43}
	stranger  = [6]byte{2, 0, 0x5e, 0x99, 0x98, 0x97}
	stranger2 = [6]byte{2, 0, 0x5e, 0x99, 0x98, 0x96}
)

// frame is one of ours, of a size without checksum.
func frame(to, from [6]byte, size int, text string) []byte {
	f := make([]byte, size)
	copy(f, to[:])
	copy(f[6:], from[:])
	f[12], f[13] = etherType>>8, etherType&0xff
	copy(f[14:], text)
	return f
}

// listener hears our frames at the card.
type listener struct {
	t    *testing.T
	f    *os.File
	send *os.File
	from [6]byte
	n    int
}

func (r *rig) listen() *listener {
	r.t.Helper()
	return &listener{r.t, raw(r.t, r.A), raw(r.t, r.B), r.B.MAC, 0}
}

func raw(t *testing.T, h *netnstest.Host) *os.File {
	t.Helper()
	f, err := h.RawSocket(etherType)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// hears says whether a frame to an address comes through: it is followed by one
// to everybody, which does.
func (l *listener) hears(to [6]byte) bool {
	l.t.Helper()
	l.n++
	mark := fmt.Sprintf("mark %d", l.n)
	for _, f := range [][]byte{frame(to, l.from, 60, "question"), frame(everyone, l.from, 60, mark)} {
		if _, err := l.send.Write(f); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		l.t.Fatal(err)
	}
	b := make([]byte, 2048)
	for heard := false; ; {
		n, err := l.f.Read(b)
		switch {
		case err != nil:
			l.t.Fatalf("the frame to everybody did not come: %v", err)
		case bytes.HasPrefix(b[14:n], []byte(mark)):
			return heard
		case bytes.HasPrefix(b[14:n], []byte("question")) && [6]byte(b) == to:
			heard = true
		}
	}
}

// TestAddresses sends to addresses that the card has and has not.
func TestAddresses(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	l := r.listen()
	want := func(what string, to [6]byte, want bool) {
		t.Helper()
		if l.hears(to) != want {
			t.Errorf("%s: frame to %v heard: %v", what, net.HardwareAddr(to[:]), !want)
		}
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := r.A.Exec("ip", args...); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	want("at first", r.A.MAC, true)
	want("at first", everyone, true)
	want("at first", allHosts, true)
	want("at first", group, false)
	want("at first", stranger, false)

	ip("maddr", "add", net.HardwareAddr(group[:]).String(), "dev", r.A.IfName)
	want("member of a group", group, true)
	want("member of a group", stranger, false)
	ip("maddr", "del", net.HardwareAddr(group[:]).String(), "dev", r.A.IfName)
	want("no more", group, false)

	ip("link", "set", r.A.IfName, "allmulticast", "on")
	want("all groups", group, true)
	want("all groups", stranger, false)
	ip("link", "set", r.A.IfName, "allmulticast", "off")
	want("no more", group, false)

	ip("link", "set", r.A.IfName, "promisc", "on")
	want("promiscuous", group, true)
	want("promiscuous", stranger, true)
	ip("link", "set", r.A.IfName, "promisc", "off")
	want("no more", stranger, false)

	if err := r.A.SetMAC(stranger2); err != nil {
		t.Fatal(err)
	}
	want("another address", stranger2, true)
	want("another address", r.A.MAC, false)
	if err := r.A.SetMAC(r.A.MAC); err != nil {
		t.Fatal(err)
	}
	want("the old address", r.A.MAC, true)
	want("the old address", stranger2, false)
	for i := range 200 { // more groups than the exact filters have
		ip("maddr", "add", fmt.Sprintf("01:00:5e:10:%02x:%02x", i, i*7&0xff), "dev", r.A.IfName)
	}
	want("200 groups", [6]byte{1, 0, 0x5e, 0x10, 150, 150 * 7 & 0xff}, true)
	want("200 groups", stranger, false)
}

// TestStatistics sends frames that are counted, and wants them in the card's
// statistics, each once.
func TestStatistics(t *testing.T) {
	leaktest.Check(t)
	r := newRig(t)
	in, out := raw(t, r.B), raw(t, r.A)
	got := raw(t, r.B)
	before := r.statistics()
	sizes := []int{60, 61, 64, 127, 128, 255, 256, 511, 512, 1023, 1024, 1500, 1514}
	want := map[string]uint64{}
	const rounds = 20
	for range rounds {
		for _, size := range sizes {
			for _, to := range [][6]byte{r.A.MAC, everyone, allHosts, stranger} {
				if _, err := in.Write(frame(to, r.B.MAC, size, "in")); err != nil {
					t.Fatal(err)
				}
				if to != stranger {
					want["rx_pkts_nic"]++
					want["rx_bytes_nic"] += uint64(size) + fcs
				}
			}
			want["broadcast"]++
			want["multicast"]++
			if _, err := out.Write(frame(r.B.MAC, r.A.MAC, size, "out")); err != nil {
				t.Fatal(err)
			}
			want["tx_pkts_nic"]++
			want["tx_bytes_nic"] += uint64(size) + fcs
		}
		// What is on the wire at once stays below the length of the rings.
		for range sizes {
			receive(t, got)
		}
	}
	eventually(t, "all frames counted", func() bool { return r.statistics()["rx_pkts_nic"]-before["rx_pkts_nic"] >= want["rx_pkts_nic"] })
	after := r.statistics()
	for name, n := range want {
		if d := after[name] - before[name]; d != n {
			t.Errorf("%s counts %d, want %d", name, d, n)
		}
	}
	for _, name := range []string{"rx_missed_errors", "rx_crc_errors", "rx_errors", "tx_errors", "rx_no_buffer_count", "rx_csum_offload_errors", "tx_timeout_count"} {
		if after[name] != 0 {
			t.Errorf("%s counts %d", name, after[name])
		}
	}
}

// fcs is what each frame has on the wire beside what software sees, bytes.
const fcs = 4

// receive takes a frame that the card has sent.
func receive(t *testing.T, f *os.File) {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	for {
		n, err := f.Read(b)
		if err != nil {
			t.Fatalf("no frame came: %v", errors.Join(err, unix.ENODATA))
		}
		if bytes.HasPrefix(b[14:n], []byte("out")) {
			return
		}
	}
}
