package afxdp

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// secondPair makes another veth pair in a host's namespace, and returns its
// ends. Its far end has a program of its own that passes everything: without one
// a veth takes no frames that are redirected to its peer by a driver.
func secondPair(t testing.TB, h *netnstest.Host, mode Mode) (near, far *netnstest.Host) {
	t.Helper()
	const nearName, farName = "near", "far"
	for _, args := range [][]string{
		{"link", "add", nearName, "type", "veth", "peer", "name", farName},
		{"link", "set", nearName, "up"}, {"link", "set", farName, "up"},
	} {
		if out, err := h.Exec("ip", args...); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	end := func(name string) *netnstest.Host {
		e := *h
		h.Do(func() {
			i, err := net.InterfaceByName(name)
			if err != nil {
				t.Fatal(err)
			}
			e.IfName, e.IfIndex = name, i.Index
		})
		return &e
	}
	near, far = end(nearName), end(farName)
	if mode == Native {
		passAll(t, far)
	}
	return near, far
}

// redirectRig is a link whose filter is the object "redirect", another interface
// beside it, and a kernel socket where frames that leave by that one arrive.
type redirectRig struct {
	*filterRig
	host *netnstest.Host
	near *netnstest.Host
	far  *packetPeer
}

func newRedirectRig(t *testing.T, mode Mode) *redirectRig {
	t.Helper()
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	needsVeth(t, w, "the second pair is one")
	near, far := secondPair(t, w.A, mode)
	r := &redirectRig{
		filterRig: &filterRig{bench: newBench(t, w.A, &Config{Mode: mode}, nil), sender: newPacketPeer(t, w.B, suiteType), kernel: newPacketPeer(t, w.A, suiteType)},
		host:      w.A, near: near, far: newPacketPeer(t, far, suiteType),
	}
	r.setFilter(program(t, "redirect"))
	return r
}

// put sets entry 0 of one of the program's maps to the number of an interface:
// in a map of devices, of the namespace of who sets it.
func (r *redirectRig) put(name string, number int) {
	r.t.Helper()
	m, err := r.FilterMap(name)
	if err != nil {
		r.t.Fatal(err)
	}
	r.host.Do(func() { err = m.Update(make([]byte, 4), binary.NativeEndian.AppendUint32(nil, uint32(number))) })
	if err != nil {
		r.t.Fatal(err)
	}
}

// comesToUs sends a frame and wants it next.
func (r *redirectRig) comesToUs(frame []byte) {
	r.t.Helper()
	if err := r.sender.Send(frame); err != nil {
		r.t.Fatal(err)
	}
	if got := r.receive(5 * time.Second); !bytes.Equal(got, frame) {
		r.t.Fatalf("% x comes to us, want % x", got, frame)
	}
}

// TestRedirectToAnother: frames leave by another interface, by number and by a
// map of devices, as they came, and are counted apart from those for the
// sockets, which still come.
func TestRedirectToAnother(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRedirectRig(t, mode)
			r.put("target", r.near.IfIndex)
			r.put("devices", r.near.IfIndex)
			const rounds, toSocket, byMap, byNumber = 3, 4, 5, 6
			for i := range uint32(rounds) {
				for _, what := range []byte{byNumber, byMap} {
					frame := saying(what, i)
					if err := r.sender.Send(frame); err != nil {
						t.Fatal(err)
					}
					if got, err := r.far.Receive(5 * time.Second); err != nil || !bytes.Equal(got, frame) {
						t.Fatalf("%d: % x comes out, %v, want % x", what, got, err, frame)
					}
				}
				r.comesToUs(saying(toSocket, i))
			}
			want := filter.Stats{Redirect: 2 * rounds, Verdicts: [4]uint64{filter.Accept: rounds}}
			if s := r.FilterStats(); !sameStats(s, want) {
				t.Errorf("%+v, want %+v", s, want)
			}
		})
	}
}

// TestRedirectNowhere: to an interface that is not there nothing goes, and what
// comes after it is not held up. veth counts those frames among its drops, of
// whatever cause, and so RedirectErrors has none of them, as its documentation says.
func TestRedirectNowhere(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.String(), func(t *testing.T) {
			r := newRedirectRig(t, mode)
			const nobody = 1 << 20
			r.put("target", nobody)
			for i := range uint32(3) {
				if got := r.comes(saying(6, i)); got != "nobody" {
					t.Errorf("comes to %s", got)
				}
				r.comesToUs(saying(4, i))
			}
			want := filter.Stats{Redirect: 3, Verdicts: [4]uint64{filter.Accept: 3}}
			if s := r.FilterStats(); !sameStats(s, want) {
				t.Errorf("%+v, want %+v", s, want)
			}
			names := r.dev.names(statisticSet)
			drops := slices.Index(names, "rx_queue_0_drops")
			if drops < 0 {
				t.Fatalf("veth has no such statistic: %q", names)
			}
			lost := uint64(3)
			if mode == Generic { // nobody counts
				lost = 0
			}
			if got := r.dev.statistics(len(names))[drops]; got != lost {
				t.Errorf("veth counts %d drops, want %d", got, lost)
			}
		})
	}
}
