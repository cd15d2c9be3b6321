package vm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/oobnet/oobnet/internal/filtertest"
)

//go:generate testdata/build.sh

// headroom before a test frame, bytes: what the kernel leaves a program that
// moves the start of the frame (XDP_PACKET_HEADROOM less its struct xdp_frame
// is 216); the frame of the tests moves by less.
const headroom = 216

// entry is what a map holds before a test starts.
type entry struct {
	name       string
	key, value any
}

// object is a program of testdata with what its maps are filled with.
type object struct {
	file, entry string
	fill        []entry
}

var objects = []object{
	{"netrx", "netrx", []entry{{"vlans", uint32(0), uint64(1<<2 | 1<<5 | 1<<63)}, {"vlans", uint32(1), uint64(1 << 36)}, {"vlans", uint32(63), uint64(1 << 62)}}},
	{"ports", "ports", nil},
	{"firewall", "firewall", []entry{
		{"rules", [8]byte{0}, [2]uint32{2}}, {"rules", [8]byte{8, 0, 0, 0, 10}, [2]uint32{1}},
		{"rules", [8]byte{24, 0, 0, 0, 10, 0, 0}, [2]uint32{3}}, {"rules", [8]byte{32, 0, 0, 0, 10, 0, 0, 1}, [2]uint32{2}},
		{"rules", [8]byte{4, 0, 0, 0, 224}, [2]uint32{1}}, {"rules", [8]byte{17, 0, 0, 0, 192, 168, 128}, [2]uint32{3}}}},
	{"flows", "count", nil},
	{"tail", "parse", nil},
	{"calls", "calls", nil},
	{"globals", "globals", nil},
	{"xsk", "xsk", nil},
	{"echo", "echo", nil},
	{"encap", "encap", nil},
	{"decap", "decap", nil},
	{"devmap", "forward", []entry{{"ports", uint32(1), uint32(1)}, {"ports", uint32(2), uint32(1)}, {"peers", uint32(0x0a000002), uint32(1)}}},
	{"atomics", "atomics", nil},
	{"arith", "arith", nil},
	{"loop", "check", nil},
	{"csum", "translate", []entry{{"nat", uint32(0x0100000a), uint32(0x0201a8c0)}, {"nat", uint32(0x0200000a), uint32(0xffffffff)}, {"nat", uint32(0), uint32(0x01000000)}}},
	{"meta", "meta", nil},
	{"callbacks", "callbacks", nil},
	{"socket", "filter", nil},
}

func loadSpec(t testing.TB, file string) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec(filepath.Join("testdata", file+".o"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range spec.Programs {
		if p.Type == ebpf.UnspecifiedProgram { // section "oobnet"
			p.Type = ebpf.XDP
		}
	}
	return spec
}

func bytesOf(t testing.TB, x any) []byte {
	t.Helper()
	b, err := encode(x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newObject makes a VM of an object, with its maps filled.
func newObject(t testing.TB, o object, cpus int) *VM {
	t.Helper()
	v, err := New(loadSpec(t, o.file), o.entry, &Config{CPUs: cpus})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range o.fill {
		if err := v.Map(e.name).Update(bytesOf(t, e.key), bytesOf(t, e.value)); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// frames draws frames, and repeats some, since programs remember.
func frames(seed uint64, n int) (list [][]byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	for len(list) < n {
		if len(list) > 4 && r.IntN(3) == 0 {
			list = append(list, list[r.IntN(len(list))])
			continue
		}
		f := filtertest.Frame(r)
		if r.IntN(2) == 0 {
			f = datagram(r)
		}
		if len(f) < etherLen { // the kernel's test run takes no shorter one
			continue
		}
		list = append(list, f[:min(len(f), onePage)])
	}
	return list
}

// onePage is what fits into the page that the kernel's test run begins with.
// Programs without frags support are shown that much of a longer frame, and
// socket filters are refused it; there is no such border here.
const onePage = 3500

// datagram is a UDP datagram of few flows, with a right checksum, mostly.
func datagram(r *rand.Rand) []byte {
	f := make([]byte, 14+20+8+r.IntN(300))
	for i := range f {
		f[i] = byte(r.Uint32())
	}
	f[12], f[13], f[14], f[23] = 8, 0, 0x45, 17
	copy(f[26:34], []byte{10, 0, 0, byte(r.IntN(4)), 10, 0, 0, byte(r.IntN(4))})
	f[34], f[35], f[36] = 0x10, byte(r.IntN(4)), 0
	f[37] = []byte{9, 53, 53, 80}[r.IntN(4)]
	if r.IntN(2) == 0 {
		f[36], f[37] = 319>>8, byte(319&0xff+r.IntN(2))
	}
	binary.BigEndian.PutUint16(f[16:], uint16(len(f)-14-r.IntN(2)*r.IntN(8)))
	f[24], f[25] = 0, 0
	sum := uint32(0)
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(f[24:], ^uint16(sum)+uint16(r.IntN(8)/7))
	return f
}

// newContext puts a frame into a buffer with room around it.
func newContext(frame []byte) *Context {
	buffer := make([]byte, headroom+len(frame)+320)
	copy(buffer[headroom:], frame)
	return &Context{Buffer: buffer, Off: headroom, Len: len(frame), IfIndex: 1}
}

// contents of a map, sorted, one entry a line.
func contents(t testing.TB, m *Map) []string {
	t.Helper()
	var list []string
	if err := m.Each(func(key, value []byte) bool {
		list = append(list, fmt.Sprintf("%x: %x", key, value))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestNewRefuses(t *testing.T) {
	spec := loadSpec(t, "echo")
	if _, err := New(spec, "nobody", nil); err == nil || !strings.Contains(err.Error(), `"echo"`) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := New(spec, "echo", &Config{CPUs: 1 << 20}); err == nil {
		t.Error("a million CPUs")
	}
	spec.Programs["echo"].Type = ebpf.Kprobe
	if _, err := New(spec, "echo", nil); err == nil || !strings.Contains(err.Error(), "Kprobe") {
		t.Errorf("a kprobe: %v", err)
	}
	spec = loadSpec(t, "ports")
	spec.Maps["by_port"].Type = ebpf.RingBuf
	if _, err := New(spec, "ports", nil); err == nil || !strings.Contains(err.Error(), "by_port") {
		t.Errorf("a ring buffer: %v", err)
	}
	spec = loadSpec(t, "ports")
	spec.Maps["by_port"].MaxEntries = 1 << 26
	if _, err := New(spec, "ports", nil); err == nil || !strings.Contains(err.Error(), "max_entries") {
		t.Errorf("a huge map: %v", err)
	}
}
