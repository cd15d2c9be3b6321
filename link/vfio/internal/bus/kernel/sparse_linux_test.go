package kernel

import (
	"errors"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// TestSparse: what cannot be mapped for the device has no memory for us either,
// and only what was mapped is unmapped. The way that works takes an IOMMU: the
// contract's suite goes it in a virtual machine.
func TestSparse(t *testing.T) {
	leaktest.Check(t)
	b := &Bus{group: &group{container: -1, fd: -1, free: []iovaRange{{0, 1<<39 - 1}}}, device: -1}
	const size = 5 << 20
	m, err := b.Reserve(size)
	if err != nil {
		t.Fatal(err)
	}
	if m.IOVA%(2<<20) != 0 || len(m.Bytes) != size {
		t.Errorf("%d bytes at %#x", len(m.Bytes), m.IOVA)
	}
	if _, err := b.Populate(m.IOVA, 2<<20); !errors.Is(err, unix.EBADF) {
		t.Errorf("mapped without a container: %v", err)
	}
	if !faults(m.Bytes) {
		t.Error("there is memory that the device has not got")
	}
	for what, err := range map[string]error{
		"below":  second(b.Populate(m.IOVA-4096, 8192)),
		"beyond": second(b.Populate(m.IOVA+4<<20, 2<<20)),
		"none":   second(b.Populate(m.IOVA, 0)),
		"not so": b.Discard(m.IOVA, 2<<20),
		"where":  b.Discard(0, 4096),
	} {
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", what, err)
		}
	}
	// As if the kernel had said yes.
	r := b.sparse[0]
	if _, err := r.region.Populate(0, 2<<20); err != nil {
		t.Fatal(err)
	}
	r.mapped[m.IOVA] = 2 << 20
	if _, err := b.Populate(m.IOVA+1<<20, 2<<20); !errors.Is(err, unix.EEXIST) {
		t.Errorf("mapped twice: %v", err)
	}
	if err := b.Discard(m.IOVA, 1<<20); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a part of what was mapped: %v", err)
	}
	if err := b.Discard(m.IOVA, 2<<20); err != nil {
		t.Error(err)
	}
	if !faults(m.Bytes) {
		t.Error("there is memory that has been discarded")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func second(_ bool, err error) error { return err }

// faults says whether a write to b does.
func faults(b []byte) (yes bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { yes = recover() != nil }()
	b[0] = 1
	return false
}
