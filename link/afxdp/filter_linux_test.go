package afxdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// program loads one of the objects of package filter's tests.
func program(t testing.TB, object string, options ...filter.LoadOption) *filter.Program {
	t.Helper()
	p, err := filter.LoadFile(filepath.Join("..", "..", "filter", "testdata", object+".o"), options...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// saying is a frame that says what is to become of it, as the objects read it,
// and carries a number.
func saying(what byte, number uint32) []byte {
	return ethernet(suiteType, append(binary.BigEndian.AppendUint32([]byte{what}, number), make([]byte, 41)...))
}

// filterRig is a link with a filter between a sender and the kernel beside it.
type filterRig struct {
	*bench
	sender, kernel *packetPeer
	card           bool // the wire is a card's
}

func newFilterRig(t *testing.T, cfg *Config, claims *link.Claims) *filterRig {
	t.Helper()
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	takeAll(t, w)
	return &filterRig{
		card:   w.Borrowed(),
		bench:  newBench(t, w.A, cfg, claims),
		sender: newPacketPeer(t, w.B, suiteType),
		kernel: newPacketPeer(t, w.A, suiteType),
	}
}

func (r *filterRig) setFilter(f filter.Filter) {
	r.t.Helper()
	if err := r.SetFilter(f); err != nil {
		r.t.Fatal(err)
	}
}

// silence is how long nothing comes where nothing is expected. What would come
// is there before the sender's call returns: veth receives on its thread. A card
// that is emulated takes its time.
const silence, cardSilence = 20 * time.Millisecond, 300 * time.Millisecond

// takeAll has a card and its peer receive the frames of tests, which are for no
// address in particular.
func takeAll(t testing.TB, w *netnstest.Wire) {
	t.Helper()
	if !w.Borrowed() {
		return
	}
	set := func(to string) {
		for _, h := range []*netnstest.Host{w.A, w.B} {
			if out, err := h.Exec("ip", "link", "set", h.IfName, "promisc", to); err != nil {
				t.Errorf("promiscuous mode %s: %v: %s", to, err, out)
			}
		}
	}
	set("on")
	t.Cleanup(func() { set("off") })
}

// comes sends a frame and says to whom it comes: us, the kernel, back, nobody.
func (r *filterRig) comes(frame []byte) string {
	r.t.Helper()
	if err := r.sender.Send(frame); err != nil {
		r.t.Fatal(err)
	}
	for end := time.Now().Add(r.silence()); ; {
		late := time.Now().After(end)
		var to []string
		if got := r.receive(0); bytes.Equal(got, frame) {
			to = append(to, "us")
		}
		if got, err := r.kernel.Receive(time.Millisecond); err == nil && bytes.Equal(got, frame) {
			to = append(to, "kernel")
		}
		if _, err := r.sender.Receive(time.Millisecond); err == nil {
			to = append(to, "back")
		}
		switch {
		case len(to) > 0:
			return strings.Join(to, " and ")
		case late:
			return "nobody"
		}
	}
}

func (r *filterRig) silence() time.Duration {
	if r.card {
		return cardSilence
	}
	return silence
}

var bothModes = []Mode{Native, Generic}

// TestVerdicts: what a verdict program says happens, and is counted.
func TestVerdicts(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.String(), func(t *testing.T) {
			r := newFilterRig(t, &Config{Mode: mode}, &link.Claims{VLANs: []uint16{5, 64, maxVLAN}})
			r.setFilter(program(t, "verdict"))
			for what, want := range map[byte]string{0: "nobody", 1: "us", 2: "kernel", 3: "kernel", 4: "nobody", 200: "nobody", 255: "nobody"} {
				if got := r.comes(saying(what, 0)); got != want {
					t.Errorf("verdict %d: comes to %s, want %s", what, got, want)
				}
			}
			want := filter.Stats{Verdicts: [4]uint64{1, 1, 1, 1}, Errors: 3}
			if s := r.FilterStats(); !sameStats(s, want) {
				t.Errorf("%+v, want %+v", s, want)
			}
			seen, err := r.FilterMap("seen")
			if err != nil {
				t.Fatal(err)
			}
			entries := 0
			err = seen.Each(func(key, value []byte) bool {
				if entries++; binary.NativeEndian.Uint64(value) != 1 {
					t.Errorf("the program counts % x for verdict % x", value, key)
				}
				return true
			})
			if err != nil || entries != 7 {
				t.Errorf("%d entries in the program's map, %v", entries, err)
			}
		})
	}
}

func sameStats(a, b filter.Stats) bool {
	return a.Verdicts == b.Verdicts && a.VLANAccepted == b.VLANAccepted && a.Errors == b.Errors &&
		a.TX == b.TX && a.TXErrors == b.TXErrors && a.Redirect == b.Redirect && a.RedirectErrors == b.RedirectErrors
}

// TestVerdictVLAN: the frames of enabled ids are taken, the id being EVL's.
func TestVerdictVLAN(t *testing.T) {
	r := newFilterRig(t, nil, &link.Claims{VLANs: []uint16{1, 5, 63, 64, maxVLAN}})
	r.setFilter(program(t, "always", filter.Function("vlan_all")))
	payload := make([]byte, 46)
	check := func(want bool, what string, frame []byte) {
		t.Helper()
		if got := takes(t, r.gate, frame); got != want {
			t.Errorf("%s: taken %v, want %v", what, got, want)
		}
	}
	taken, left := 0, 0
	for id := range uint32(4096) {
		want := id == 1 || id == 5 || id == 63 || id == 64 || id == maxVLAN
		check(want, "802.1Q", ethernet(suiteType, payload, ctag(7<<13|id)))
		check(want, "behind 802.1ad", ethernet(suiteType, payload, stag(9), ctag(id)))
		if want {
			taken += 2
		} else {
			left += 2
		}
	}
	for what, frame := range map[string][]byte{
		"untagged":       ethernet(suiteType, payload),
		"802.1ad alone":  ethernet(suiteType, payload, stag(5)),
		"two of 802.1ad": ethernet(suiteType, payload, stag(5), stag(5)),
		"cut tag":        ethernet(etherTypeVLAN, []byte{0, 5}),
		"cut inner tag":  ethernet(etherTypeVLAN, []byte{0, 5}, stag(5)),
	} {
		check(false, what, frame)
		left++
	}
	check(true, "two of 802.1Q", ethernet(suiteType, payload, ctag(5), ctag(6)))
	taken++
	if s := r.FilterStats(); s.VLANAccepted != uint64(taken) || s.Verdicts[filter.VLAN] != uint64(taken+left) {
		t.Errorf("%+v, want %d of %d", s, taken, taken+left)
	}
	// Ports come and go while the filter stays.
	if err := r.Select(&link.Claims{VLANs: []uint16{6}}); err != nil {
		t.Fatal(err)
	}
	check(false, "disabled", ethernet(suiteType, payload, ctag(5)))
	check(true, "enabled", ethernet(suiteType, payload, ctag(6)))
}

// TestActions: a plain XDP program of libxdp's convention.
func TestActions(t *testing.T) {
	for _, mode := range bothModes {
		t.Run(mode.String(), func(t *testing.T) {
			r := newFilterRig(t, &Config{Mode: mode}, nil)
			r.setFilter(program(t, "xsk"))
			want := map[byte]string{xdpAborted: "nobody", xdpDrop: "nobody", xdpPass: "kernel", xdpTX: "back", xdpRedirect: "us", 9: "nobody"}
			failed := uint64(0)
			if mode == Native && !r.card { // veth would want a program on the peer
				want[xdpTX], failed = "nobody", 1
			}
			for what, to := range want {
				if got := r.comes(saying(what, 0)); got != to {
					t.Errorf("action %d: comes to %s, want %s", what, got, to)
				}
			}
			counted := filter.Stats{Verdicts: [4]uint64{1, 1, 1, 0}, Errors: 2, TX: 1, TXErrors: failed}
			if s := r.FilterStats(); !sameStats(s, counted) {
				t.Errorf("%+v, want %+v", s, counted)
			}
			if _, err := r.FilterMap("xsks_map"); !errors.Is(err, filter.ErrNoMap) {
				t.Errorf("the link's own map of sockets: %v, want ErrNoMap", err)
			}
		})
	}
}

// TestActionTX: with a receiver in the peer's driver, native XDP bounces too.
func TestActionTX(t *testing.T) {
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	needsVeth(t, w, "a card needs nothing at the peer")
	r := &filterRig{bench: newBench(t, w.A, nil, nil), sender: newPacketPeer(t, w.B, suiteType), kernel: newPacketPeer(t, w.A, suiteType)}
	peer := openOn(t, w.B, nil, nil) // its program passes everything
	r.setFilter(program(t, "xsk"))
	if got := r.comes(saying(xdpTX, 0)); got != "back" {
		t.Errorf("comes to %s", got)
	}
	if s := r.FilterStats(); s.TX != 1 || s.TXErrors != 0 {
		t.Errorf("%+v, want one TX and no error", s)
	}
	if s := peer.FilterStats(); s.Verdicts[filter.Skip] != 1 {
		t.Errorf("the peer's program counts %+v, want the frame that came back", s)
	}
}

// TestActionRedirect: a program with frags support redirects to sockets, and
// by number to the interface it came from; the three ways are told apart, if
// the kernel lets them.
func TestActionRedirect(t *testing.T) {
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	needsVeth(t, w, "the peer's frames are exact there")
	r := &filterRig{bench: newBench(t, w.A, &Config{Mode: Generic}, nil), sender: newPacketPeer(t, w.B, suiteType), kernel: newPacketPeer(t, w.A, suiteType)}
	try := func(want filter.Stats) {
		t.Helper()
		before := r.FilterStats()
		target, err := r.FilterMap("target")
		if err == nil {
			err = target.Update(make([]byte, 4), binary.NativeEndian.AppendUint32(nil, uint32(w.A.IfIndex)))
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			what byte
			to   string
		}{{4, "us"}, {6, "back"}, {4, "us"}, {2, "kernel"}, {5, "nobody"}} {
			if got := r.comes(saying(c.what, 0)); got != c.to {
				t.Errorf("%d: comes to %s, want %s", c.what, got, c.to)
			}
		}
		s := r.FilterStats()
		s.Redirect -= before.Redirect
		for i := range s.Verdicts {
			s.Verdicts[i] -= before.Verdicts[i]
		}
		if !sameStats(s, want) {
			t.Errorf("%+v, want %+v", s, want)
		}
	}
	r.setFilter(program(t, "redirect"))
	// The program gives what has no entry in its map of devices to XDP_DROP.
	try(filter.Stats{Redirect: 1, Verdicts: [4]uint64{filter.Drop: 1, filter.Accept: 2, filter.Skip: 1}})
	withoutCapabilities(t, w.A, 1<<unix.CAP_PERFMON|1<<unix.CAP_SYS_ADMIN, func() {
		if err := r.SetFilter(program(t, "redirect")); err != nil {
			t.Errorf("without CAP_PERFMON: %v", err)
		}
	})
	try(filter.Stats{Redirect: 3, Verdicts: [4]uint64{filter.Drop: 1, filter.Skip: 1}})
}

// TestFrags: a program that takes frames of several buffers follows one that
// does not, and the other way round.
func TestFrags(t *testing.T) {
	r := newFilterRig(t, &Config{Mode: Native}, claimSuite)
	for _, f := range []filter.Filter{program(t, "redirect"), nil, program(t, "xsk"), program(t, "redirect")} {
		r.setFilter(f)
		if got := r.comes(saying(xdpRedirect, 0)); got != "us" {
			t.Errorf("%v: a frame comes to %s", f, got)
		}
	}
}

// TestFilterStack: what a program is promised of stack is there.
func TestFilterStack(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	const promised = 480
	r.setFilter(odd{x: &filter.XDP{Entry: "deep", Spec: &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"deep": {
		Name: "deep", License: "MIT",
		Instructions: asm.Instructions{
			asm.Mov.Imm(asm.R0, int32(filter.Accept)),
			asm.StoreMem(asm.RFP, -promised, asm.R0, asm.DWord),
			asm.LoadMem(asm.R0, asm.RFP, -promised, asm.DWord),
			asm.Return(),
		},
	}}}}})
	if got := r.comes(saying(0, 0)); got != "us" {
		t.Errorf("a frame comes to %s", got)
	}
}

// TestFewCapabilities: verdict programs and the convention's need no more than
// the link itself.
func TestFewCapabilities(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	b := newBench(t, w.A, nil, nil)
	withoutCapabilities(t, w.A, 1<<unix.CAP_PERFMON|1<<unix.CAP_SYS_ADMIN, func() {
		for _, object := range []string{"verdict", "xsk", "always"} {
			if err := b.SetFilter(program(t, object)); err != nil {
				t.Errorf("%s: %v", object, err)
			}
		}
	})
	withoutCapabilities(t, w.A, 1<<unix.CAP_BPF|1<<unix.CAP_SYS_ADMIN, func() {
		if err := b.SetFilter(program(t, "verdict")); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_BPF") {
			t.Errorf("without CAP_BPF: %v, want EPERM and what is needed", err)
		}
	})
}

// TestTailCall: a verdict that comes from another program, a stack of 160
// bytes, read-only data.
func TestTailCall(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	r.setFilter(program(t, "tail"))
	for what, want := range map[byte]string{1: "us", 199: "us", 200: "kernel", 255: "kernel"} {
		if got := r.comes(saying(what, 0)); got != want {
			t.Errorf("%d: comes to %s, want %s", what, got, want)
		}
	}
}
