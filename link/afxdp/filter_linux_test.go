package afxdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
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
}

func newFilterRig(t *testing.T, cfg *Config, claims *link.Claims) *filterRig {
	t.Helper()
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	return &filterRig{
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
// is there before the sender's call returns: veth receives on its thread.
const silence = 20 * time.Millisecond

// comes sends a frame and says to whom it comes: us, the kernel, back, nobody.
func (r *filterRig) comes(frame []byte) string {
	r.t.Helper()
	if err := r.sender.Send(frame); err != nil {
		r.t.Fatal(err)
	}
	for patience := silence; ; patience = 2 * time.Second {
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
		if len(to) == 0 && patience == silence {
			time.Sleep(silence)
			continue
		}
		if len(to) == 0 {
			return "nobody"
		}
		return strings.Join(to, " and ")
	}
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
		a.TX == b.TX && a.Redirect == b.Redirect
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
			want := map[byte]string{xdpAborted: "nobody", xdpDrop: "nobody", xdpPass: "kernel", xdpRedirect: "us", 9: "nobody"}
			if mode == Generic {
				want[xdpTX] = "back" // native, veth would want a program on the peer
			}
			for what, to := range want {
				if got := r.comes(saying(what, 0)); got != to {
					t.Errorf("action %d: comes to %s, want %s", what, got, to)
				}
			}
			counted := filter.Stats{Verdicts: [4]uint64{1, 1, 1, 0}, Errors: 2, TX: uint64(len(want)) - 5}
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
	r := &filterRig{bench: newBench(t, w.A, nil, nil), sender: newPacketPeer(t, w.B, suiteType), kernel: newPacketPeer(t, w.A, suiteType)}
	peer := openOn(t, w.B, nil, nil) // its program passes everything
	r.setFilter(program(t, "xsk"))
	if got := r.comes(saying(xdpTX, 0)); got != "back" {
		t.Errorf("comes to %s", got)
	}
	if s := r.FilterStats(); s.TX != 1 {
		t.Errorf("%+v, want one TX", s)
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

// odd is a filter that is whatever it is made of.
type odd struct {
	x   *filter.XDP
	err error
}

func (o odd) XDP() (*filter.XDP, error)             { return o.x, o.err }
func (o odd) Instance(int) (filter.Instance, error) { return nil, errors.ErrUnsupported }

// TestSetFilterErrors: what cannot be set leaves what there was.
func TestSetFilterErrors(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	r.setFilter(program(t, "always"))
	wrongMap := &ebpf.CollectionSpec{
		Maps:     map[string]*ebpf.MapSpec{"xsks_map": {Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}},
		Programs: map[string]*ebpf.ProgramSpec{"p": {Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}}},
	}
	for _, c := range []struct {
		name string
		f    filter.Filter
		is   error
		says string
	}{
		{"a socket filter", program(t, "socket"), errors.ErrUnsupported, `change SEC("socket") to SEC("oobnet")`},
		{"reads past the end", program(t, "bad"), unix.EACCES, "invalid access to packet"},
		{"no form", odd{}, nil, "no programs"},
		{"its own error", odd{err: os.ErrInvalid}, os.ErrInvalid, ""},
		{"no such entry", odd{x: &filter.XDP{Spec: wrongMap.Copy(), Entry: "q"}}, nil, `"q"`},
		{"no such map", odd{x: &filter.XDP{Spec: wrongMap.Copy(), Entry: "p", Actions: true, SocketMap: "none"}}, nil, `"none"`},
		{"a map of another type", odd{x: &filter.XDP{Spec: wrongMap.Copy(), Entry: "p", Actions: true, SocketMap: "xsks_map"}}, errors.ErrUnsupported, "BPF_MAP_TYPE_XSKMAP"},
	} {
		err := r.SetFilter(c.f)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "afxdp: "+r.Name()+": set a filter: ") {
			t.Errorf("%s: %v", c.name, err)
		}
		var refused *filter.VerifierError
		if errors.As(err, &refused) != (c.name == "reads past the end") {
			t.Errorf("%s: an error of the verifier: %v", c.name, refused != nil)
		}
		if refused != nil {
			checkLog(t, refused)
		}
	}
	if got := r.comes(saying(0, 0)); got != "us" {
		t.Errorf("after refused filters a frame comes to %s, want what the former says: us", got)
	}
}

// checkLog wants the whole log in the file, and its head in the message.
func checkLog(t *testing.T, e *filter.VerifierError) {
	t.Helper()
	defer os.Remove(e.File)
	whole, err := os.ReadFile(e.File)
	if err != nil {
		t.Fatal(err)
	}
	if string(whole) != strings.Join(e.Log, "\n")+"\n" || len(e.Log) < 5 {
		t.Errorf("the file holds %d bytes of %d lines:\n%s", len(whole), len(e.Log), whole)
	}
	if info, err := os.Stat(e.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	for _, want := range []string{e.File, e.Log[0], e.Log[1]} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q is not in %v", want, e)
		}
	}
}

// TestFilterClosed: after Close, and of a filter that was replaced.
func TestFilterClosed(t *testing.T) {
	r := newFilterRig(t, nil, nil)
	if _, err := r.FilterMap("seen"); !errors.Is(err, filter.ErrNoMap) {
		t.Errorf("a map without a filter: %v", err)
	}
	r.setFilter(program(t, "verdict"))
	if _, err := r.FilterMap("none"); !errors.Is(err, filter.ErrNoMap) {
		t.Errorf("a map that is not there: %v", err)
	}
	m, err := r.FilterMap("seen")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Lookup([]byte{1, 0, 0, 0}); !errors.Is(err, filter.ErrKeyNotExist) {
		t.Errorf("look up what is not there: %v", err)
	}
	if r.comes(saying(1, 0)) != "us" {
		t.Fatal("the filter does not work")
	}
	if v, err := m.Lookup([]byte{1, 0, 0, 0}); err != nil || !bytes.Equal(v, binary.NativeEndian.AppendUint64(nil, 1)) {
		t.Errorf("looked up % x, %v", v, err)
	}
	if err := m.Delete([]byte{1, 0, 0, 0}); err != nil {
		t.Error(err)
	}
	r.setFilter(nil)
	for what, err := range map[string]error{
		"Update": m.Update(make([]byte, 4), make([]byte, 8)),
		"Delete": m.Delete(make([]byte, 4)),
		"Each":   m.Each(func(_, _ []byte) bool { return true }),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s on a map of a filter that is gone: %v", what, err)
		}
	}
	before := r.FilterStats()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = r.FilterMap("seen")
	for what, err := range map[string]error{"SetFilter": r.SetFilter(nil), "Divert": r.Divert(true), "FilterMap": err} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if after := r.FilterStats(); !sameStats(before, after) || after.Verdicts[filter.Accept] != 1 {
		t.Errorf("counters %+v before Close, %+v after", before, after)
	}
}
