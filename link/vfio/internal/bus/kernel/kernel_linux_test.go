package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
)

// tree makes the kernel's trees with one function in group 7.
func tree(t *testing.T) (w where, function string) {
	t.Helper()
	top := t.TempDir()
	w = where{filepath.Join(top, "sys"), filepath.Join(top, "dev")}
	function = w.tree().Dir("0000:02:00.0")
	for _, dir := range []string{function, filepath.Join(w.sys, "kernel/iommu_groups/7/devices"), filepath.Join(w.dev, "vfio")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return w, function
}

func symlink(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestErrors walks from an address to an open group, and sees that each missing
// step is named together with the mend.
func TestErrors(t *testing.T) {
	leaktest.Check(t)
	w, function := tree(t)
	try := func(addr string, wraps error, says ...string) {
		t.Helper()
		b, err := open(w, addr)
		if err == nil {
			b.Close()
			t.Fatalf("opened %s", addr)
		}
		if !errors.Is(err, wraps) {
			t.Errorf("%v: does not wrap %v", err, wraps)
		}
		for _, s := range says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%v: does not say %q", err, s)
			}
		}
	}
	try("0000:03:00.0", fs.ErrNotExist, "no such PCI device", "lspci -D")
	try("02:00.0", unix.ENODEV, "IOMMU", "intel_iommu=on")
	symlink(t, "../../kernel/iommu_groups/7", filepath.Join(function, "iommu_group"))
	try("02:00.0", unix.ENXIO, "no driver", "oobnet bind 0000:02:00.0")
	symlink(t, "../drivers/e1000e", filepath.Join(function, "driver"))
	try("02:00.0", unix.EBUSY, "e1000e", "oobnet bind 0000:02:00.0")
	if err := os.Remove(filepath.Join(function, "driver")); err != nil {
		t.Fatal(err)
	}
	symlink(t, "../drivers/vfio-pci", filepath.Join(function, "driver"))
	try("02:00.0", fs.ErrNotExist, "modprobe vfio-pci")
	// A file in the place of the container is no container.
	if err := os.WriteFile(filepath.Join(w.dev, "vfio/vfio"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	try("02:00.0", unix.ENOTTY, "version")
	if _, err := w.openGroup("7"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "oobnet bind") {
		t.Errorf("no group: %v", err)
	}
	if err := os.WriteFile(filepath.Join(w.dev, "vfio/noiommu-7"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.openGroup("7"); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "no-IOMMU") {
		t.Errorf("a group without IOMMU: %v", err)
	}
}

// TestNoAccess opens a container and a group that this user may not open.
func TestNoAccess(t *testing.T) {
	leaktest.Check(t)
	w, _ := tree(t)
	for _, file := range []string{"vfio/vfio", "vfio/7"} {
		if err := os.WriteFile(filepath.Join(w.dev, file), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan map[string]error)
	go func() {
		// Root may open what it likes, and on Linux a thread can be somebody else to
		// the file system. It is never unlocked: it ends with its goroutine.
		runtime.LockOSThread()
		_ = unix.Setfsuid(65534) // an error: nobody privileged is here
		_, container := w.openContainer()
		_, group := w.openGroup("7")
		done <- map[string]error{"vfio/vfio": container, "vfio/7": group}
	}()
	for file, err := range <-done {
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("%s: %v, want EACCES", file, err)
			continue
		}
		for _, s := range []string{"no access to " + filepath.Join(w.dev, file), "run as root"} {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%v: does not say %q", err, s)
			}
		}
	}
}

func TestStrangersAreNamed(t *testing.T) {
	w, function := tree(t)
	symlink(t, "../drivers/vfio-pci", filepath.Join(function, "driver"))
	for addr, driver := range map[string]string{"0000:02:00.1": "igb", "0000:00:1c.0": "pcieport", "0000:02:00.2": ""} {
		dir := w.tree().Dir(addr)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if driver != "" {
			symlink(t, "../drivers/"+driver, filepath.Join(dir, "driver"))
		}
	}
	for _, addr := range []string{"0000:02:00.0", "0000:02:00.1", "0000:02:00.2", "0000:00:1c.0"} {
		symlink(t, w.tree().Dir(addr), filepath.Join(w.sys, "kernel/iommu_groups/7/devices", addr))
	}
	if got := strings.Join(w.strangers("7"), " "); got != "0000:02:00.1 (igb)" {
		t.Errorf("strangers are %q", got)
	}
}

func TestPlace(t *testing.T) {
	// x86: the interrupt window is cut out; a 39-bit IOMMU.
	b := &group{free: []iovaRange{{0, 0xfedfffff}, {0xfef00000, 1<<39 - 1}}}
	var taken []iovaRange
	take := func(size uint64) uint64 {
		at, err := b.place(size)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range taken {
			if at <= r.end && r.start <= at+size-1 {
				t.Fatalf("%#x+%#x meets %#x-%#x", at, size, r.start, r.end)
			}
		}
		taken = append(taken, iovaRange{at, at + size - 1})
		return at
	}
	if at := take(8192); at != firstIOVA {
		t.Errorf("the first extent is at %#x, want %#x", at, uint64(firstIOVA))
	}
	if at := take(64 << 20); at%(2<<20) != 0 || at < firstIOVA {
		t.Errorf("a large extent is at %#x", at)
	}
	for range 100 {
		if at := take(4096); at%4096 != 0 {
			t.Errorf("an extent is at %#x", at)
		}
	}
	if _, err := b.place(1 << 39); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("more than there is: %v", err)
	}
	// An IOMMU of 32 bits: what there is has to do, but not the first MiB.
	b.free, taken = []iovaRange{{0, 0xfedfffff}}, nil
	if at := take(4096); at != 1<<20 {
		t.Errorf("an extent is at %#x, want 1 MiB", at)
	}
	b.free = []iovaRange{{0, 1<<64 - 1}}
	if at := take(2 << 20); at+2<<20 > bus.MaxIOVA {
		t.Errorf("an extent is at %#x", at)
	}
}

func TestFindRanges(t *testing.T) {
	words := make([]uint64, 16)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	other, ours := (*iovaRanges)(unsafe.Pointer(&b[24])), (*iovaRanges)(unsafe.Pointer(&b[40]))
	chain := func() {
		*other = iovaRanges{capHeader: capHeader{id: 3, next: 40}}
		*ours = iovaRanges{capHeader: capHeader{id: capIOVARanges}, count: 2}
		words[7], words[8], words[9], words[10] = 0, 0xfedfffff, 0xfef00000, 1<<39-1
	}
	chain()
	got := findRanges(b, 24)
	if len(got) != 2 || got[0] != (iovaRange{0, 0xfedfffff}) || got[1] != (iovaRange{0xfef00000, 1<<39 - 1}) {
		t.Errorf("found %x", got)
	}
	for name, spoil := range map[string]func(){
		"too many":   func() { ours.count = 1 << 30 },
		"none":       func() { ours.count = 0 },
		"in a ring":  func() { ours.id, ours.next = 9, 24 },
		"outside":    func() { other.next = 1 << 20 },
		"not a word": func() { other.next = 41 },
	} {
		chain()
		spoil()
		if got := findRanges(b, 24); got != nil {
			t.Errorf("%s: found %x", name, got)
		}
	}
}

// TestDetach takes the registers away under a reader: it finds ones, and no fault.
func TestDetach(t *testing.T) {
	leaktest.Check(t)
	const size = 128 << 10
	p, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	r := &bar{addr: p, size: size}
	if r.registers, err = bus.NewRegisters(unsafe.Slice((*byte)(p), size)); err != nil {
		t.Fatal(err)
	}
	r.registers.Write32(8, 5)
	for range 2 {
		if err := r.detach(); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []uint32{0, 8, size - 4} {
		if v := r.registers.Read32(at); v != bus.AllOnes {
			t.Errorf("register %#x reads as %#x", at, v)
		}
	}
	r.registers.Write32(8, 7) // goes nowhere, and does no harm
	if err := r.unmap(); err != nil {
		t.Error(err)
	}
}

// TestMemlockIsExplained: what the kernel says is ENOMEM alone. What is said is the
// piece, what is still expected, and what the process has locked otherwise.
func TestMemlockIsExplained(t *testing.T) {
	leaktest.Check(t)
	b := &Bus{}
	before := b.locked()
	b.Expect(64<<20, 4096, 100) // the last takes a page
	b.expected -= 64 << 20      // asked for, and refused
	want := func() string { return fmt.Sprintf("needs %d KiB in all", (b.locked()+64<<20+2*4096)>>10) }
	if s := b.memlock(64 << 20); !strings.Contains(s, want()) {
		t.Errorf("%q: does not say %q", s, want())
	}
	other, err := unix.Mmap(-1, 0, 32<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(other)
	if err := unix.Mlock(other); err != nil {
		t.Skipf("nothing can be locked here: %v", err)
	}
	if now := b.locked(); now != before+32<<10 {
		t.Errorf("%d bytes are locked after 32 KiB more, %d before", now, before)
	}
	if s := b.memlock(64 << 20); !strings.Contains(s, want()) {
		t.Errorf("%q: does not say %q", s, want())
	}
	b.Expect(4096)
	if b.expected != 4096 {
		t.Errorf("%d bytes are expected, want those said last", b.expected)
	}
}
