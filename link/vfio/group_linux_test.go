package vfio

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
	"github.com/oobnet/oobnet/link"
)

// The tests below want a machine whose cards are in one IOMMU group, as the ports
// of a card are behind a bridge that does not keep them apart, and skip elsewhere.

// twoOfOneGroup are two cards that VFIO has.
func twoOfOneGroup(t *testing.T) (first, second guesttest.Card) {
	t.Helper()
	cards := guesttest.Cards(t)
	if len(cards) < 2 || cards[0].Group(t) != cards[1].Group(t) {
		t.Skip("no two cards of this machine are in one IOMMU group")
	}
	first = guesttest.First(t)
	first.Bind(t, pci.VFIO) // and so the whole group
	for _, c := range cards[:2] {
		if got := c.Bound(t); got != pci.VFIO {
			t.Fatalf("%s has driver %q after the group was bound", c.Address, got)
		}
	}
	return first, cards[1]
}

// groupPort is an open link, and the other end of its wire.
type groupPort struct {
	*Link
	mem  *link.Memory
	peer *packetPeer
}

func openOne(t *testing.T, c guesttest.Card, peer *packetPeer) *groupPort {
	t.Helper()
	l := openCard(t, c, nil)
	layout := link.Layout{BufferSize: 2048, Queues: l.Queues(), RXBuffers: 64, TXBuffers: 64}
	mem, err := l.Attach(layout)
	if err != nil {
		t.Fatal(err)
	}
	l.Queue(0).Fill([]uint32{0, 1, 2, 3, 4, 5, 6, 7})
	return &groupPort{l, mem, peer}
}

// exchange sends a frame each way, again and again until it comes: the wire takes
// its time.
func (p *groupPort) exchange(t *testing.T) {
	t.Helper()
	q := p.Queue(0)
	out := testFrame(p.peer.mac, nil)
	copy(out[6:], "\x06L")
	in := testFrame(p.MAC(), nil)
	copy(in[6:], "\x06L")
	index := []uint32{uint32(p.mem.Layout().RXTotal())}
	var got [1]link.Frame
	sent, received := false, false
	for end := time.Now().Add(wireTime); !sent || !received; {
		if time.Now().After(end) {
			t.Fatalf("%s: sent %v, received %v after %v", p.Name(), sent, received, wireTime)
		}
		if !sent && q.Reclaim(index) == 0 {
			copy(p.mem.Buffer(index[0]), out)
			q.Send([]link.Frame{{Index: index[0], Len: uint16(len(out))}})
			_ = q.Flush() // the wire may still be down
		}
		if b, err := p.peer.Receive(50 * time.Millisecond); err == nil && bytes.Equal(b, out) {
			sent = true
		}
		if err := p.peer.Send(in); err != nil {
			t.Fatal(err)
		}
		if err := q.WaitReceive(50 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if q.Receive(got[:]) == 1 {
			received = received || bytes.Equal(p.mem.Bytes(got[0]), in)
			q.Fill([]uint32{got[0].Index})
		}
	}
}

// drop gives what was received back.
func (p *groupPort) drop() {
	q := p.Queue(0)
	var got [8]link.Frame
	for _, f := range got[:q.Receive(got[:])] {
		q.Fill([]uint32{f.Index})
	}
}

// TestVMGroup opens both at the same time: each works whatever becomes of the
// other, and the group goes with the last.
func TestVMGroup(t *testing.T) {
	first, second := twoOfOneGroup(t)
	leaktest.Check(t)
	peers := [2]*packetPeer{newPacketPeer(t, first.PeerNetdev(t)), newPacketPeer(t, second.PeerNetdev(t))}
	a, b := openOne(t, first, peers[0]), openOne(t, second, peers[1])
	a.exchange(t)
	b.exchange(t)
	a.exchange(t)
	if again, err := Open(first.Address, nil); err == nil {
		again.Close()
		t.Error("a device was opened twice")
	} else if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "in use by this process") {
		t.Errorf("a device in use: %v", err)
	}
	b.exchange(t)
	for range 3 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		b.exchange(t)
		a = openOne(t, first, peers[0])
		a.exchange(t)
	}
	b.exchange(t)

	// The system wants one of them back, and gets it.
	waited := make(chan error, 1)
	go func() {
		for { // frames may still come
			if err := a.Queue(0).WaitReceive(-1); err != nil {
				waited <- err
				return
			}
			a.drop()
		}
	}()
	unbindAlone(t, first)
	if err := <-waited; !errors.Is(err, syscall.ENODEV) {
		t.Errorf("WaitReceive: %v, want ENODEV", err)
	}
	if s := a.State(); s != link.Gone {
		t.Errorf("the link that was taken away is %v", s)
	}
	b.exchange(t)
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	second.Bind(t, "") // it would be refused, or wait, if someone had the group
}

// unbindAlone takes a card from its driver, but no other of its group. The kernel
// waits until whoever has it open gives it back.
func unbindAlone(t *testing.T, c guesttest.Card) {
	t.Helper()
	k := pci.System().Kernel
	if err := k.Write(filepath.Join(pci.Sys.Dir(c.Address), "driver/unbind"), c.Address); err != nil {
		t.Fatal(err)
	}
}

// TestVMGroupNotViable leaves one card of the group to the kernel's driver: it is
// named, with the way out.
func TestVMGroupNotViable(t *testing.T) {
	first, second := twoOfOneGroup(t)
	leaktest.Check(t)
	b := pci.System()
	dir := pci.Sys.Dir(second.Address)
	for _, w := range [][2]string{
		{filepath.Join(dir, "driver_override"), "\n"},
		{filepath.Join(dir, "driver/unbind"), second.Address},
		{filepath.Join(string(pci.Sys), "bus/pci/drivers_probe"), second.Address},
	} {
		if err := b.Kernel.Write(w[0], w[1]); err != nil {
			t.Fatal(err)
		}
	}
	driver := second.Bound(t)
	if driver == "" || driver == pci.VFIO {
		t.Fatalf("%s has driver %q, and the kernel's own is wanted", second.Address, driver)
	}
	l, err := Open(first.Address, nil)
	if err == nil {
		l.Close()
		t.Fatal("a group of which the kernel has a device was opened")
	}
	for _, s := range []string{"not viable", second.Address + " (" + driver + ")", "oobnet bind " + first.Address} {
		if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), s) {
			t.Errorf("%v: want EPERM, and %q", err, s)
		}
	}
	first.Bind(t, pci.VFIO) // the way out
	openCard(t, first, nil)
}

// TestVMGroupAccess opens the group as a user who may not.
func TestVMGroupAccess(t *testing.T) {
	first, _ := twoOfOneGroup(t)
	leaktest.Check(t)
	const nobody = 65534
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if err := unix.Setfsuid(nobody); err != nil {
			t.Error(err)
		}
		l, err := Open(first.Address, nil)
		if err == nil {
			l.Close()
		}
		done <- err
	}()
	err := <-done
	if group := "/dev/vfio/" + first.Group(t); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), group) || !strings.Contains(err.Error(), "run as root") {
		t.Errorf("%v: want EACCES, %s and a way out", err, group)
	}
	openCard(t, first, nil)
}
