package leaktest

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netns"
	"github.com/oobnet/oobnet/internal/offheap"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	Check(t)
	var f *os.File
	expect(t, os.DevNull, func() {
		var err error
		f, err = os.Open(os.DevNull)
		must(t, err)
	}, func() { f.Close() })
}

func TestSocket(t *testing.T) {
	Check(t)
	var c net.PacketConn
	expect(t, "socket:[", func() {
		var err error
		c, err = net.ListenPacket("udp4", "127.0.0.1:0")
		must(t, err)
	}, func() { c.Close() })
}

func TestEventfd(t *testing.T) {
	Check(t)
	var fd int
	expect(t, "eventfd", func() {
		var err error
		fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
		must(t, err)
	}, func() { unix.Close(fd) })
}

// requireBPF skips where the kernel refuses eBPF to this user.
func requireBPF(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs the right to load eBPF: %v", err)
	}
	must(t, err)
}

func TestBPFMap(t *testing.T) {
	Check(t)
	spec := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	probe, err := ebpf.NewMap(spec)
	requireBPF(t, err)
	probe.Close()
	var m *ebpf.Map
	expect(t, "bpf-map, map_id:", func() {
		m, err = ebpf.NewMap(spec)
		must(t, err)
	}, func() { m.Close() })
}

func TestBPFProgram(t *testing.T) {
	Check(t)
	spec := &ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
	}
	probe, err := ebpf.NewProgram(spec)
	requireBPF(t, err)
	probe.Close()
	var p *ebpf.Program
	expect(t, "bpf-prog, prog_id:", func() {
		p, err = ebpf.NewProgram(spec)
		must(t, err)
	}, func() { p.Close() })
}

func TestRegion(t *testing.T) {
	Check(t)
	var mem *offheap.Region
	expect(t, "off-heap region", func() {
		var err error
		mem, err = offheap.Map(4096)
		must(t, err)
	}, func() { must(t, mem.Close()) })
}

func TestNamespace(t *testing.T) {
	if err := netns.Available(); err != nil {
		t.Skipf("needs root and network namespaces: %v", err)
	}
	Check(t)
	f := &fake{TB: t}
	check(f, short)
	w, err := netns.Make(nil)
	must(t, err)
	f.end()
	must(t, w.Close())
	// Two names, and the descriptor of each.
	if len(f.errors) != 4 {
		t.Errorf("reported %q", f.errors)
	}
}
