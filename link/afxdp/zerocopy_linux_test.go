package afxdp

import (
	"errors"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/offheap"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/linktest"
)

// zeroCopyBuffers are more than igb's 256 descriptors and all that a test ever
// holds: see ZeroCopyRequire.
const zeroCopyBuffers = 1024

// needsCard skips where there is none whose driver has zero copy. It knows of no
// kernel or driver: what the driver says counts.
func needsCard(t *testing.T) {
	t.Helper()
	w := netnstest.NewPair(t, nil)
	if !w.Borrowed() {
		t.Skip("needs a network card with zero copy: \"make test-vm\"")
	}
	w.A.Do(func() {
		l, err := Open(w.A.IfName, &Config{ZeroCopy: ZeroCopyRequire})
		if errors.Is(err, link.ErrNotSupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.Close(); err != nil { // there is one card
		t.Fatal(err)
	}
}

// TestSuiteZeroCopy is the suite on a card whose driver has zero copy.
func TestSuiteZeroCopy(t *testing.T) {
	needsCard(t)
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d queues", queues), func(t *testing.T) {
			// One wire for all, which takes seconds to make.
			over := netnstest.NewPair(t, &netnstest.Config{Queues: queues})
			linktest.Suite(t, func(t *testing.T) linktest.Wire {
				leaktest.Check(t)
				w := suiteWire(t, over, &Config{ZeroCopy: ZeroCopyRequire})
				if c := w.Link.Capabilities(); !c.ZeroCopy {
					t.Fatalf("no zero copy: %+v", c)
				}
				w.Layout = link.Layout{BufferSize: maxChunk, Queues: queues, RXBuffers: zeroCopyBuffers, TXBuffers: 256}
				w.MinBuffers = zeroCopyBuffers
				return w
			})
		})
	}
}

// TestSuiteCopy is the suite on a card in the other two modes, in which the kernel
// copies: in the driver, and behind it.
func TestSuiteCopy(t *testing.T) {
	if !netnstest.Borrows(t) {
		t.Skip("needs a network card: \"make test-vm\"")
	}
	for _, mode := range []Mode{Native, Generic} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			over := netnstest.NewPair(t, nil)
			linktest.Suite(t, func(t *testing.T) linktest.Wire {
				leaktest.Check(t)
				w := suiteWire(t, over, &Config{Mode: mode, ZeroCopy: ZeroCopyOff})
				if c := w.Link.Capabilities(); c.ZeroCopy {
					t.Fatalf("zero copy: %+v", c)
				}
				return w
			})
		})
	}
}

// TestZeroCopyDown sends while the interface is down. What was sent leaves when
// it is up again, and is given back by Stop if that is never: nobody waits for
// completions that do not come.
func TestZeroCopyDown(t *testing.T) {
	needsCard(t)
	leaktest.Check(t)
	w := netnstest.NewPair(t, nil)
	takeAll(t, w)
	b := newBench(t, w.A, &Config{ZeroCopy: ZeroCopyRequire}, claimSuite)
	peer := newPacketPeer(t, w.B, suiteType)
	const n = 8
	send := func() {
		t.Helper()
		if err := w.A.SetUp(false); err != nil {
			t.Fatal(err)
		}
		var frames []link.Frame
		for i := range uint32(n) {
			frames = append(frames, b.frame(saying(1, i)))
		}
		if b.q.Send(frames) != n {
			t.Fatal("Send did not take all")
		}
		if err := b.q.Flush(); !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("Flush: %v, want ENETDOWN", err)
		}
		start := time.Now()
		if err := b.q.WaitSend(50 * time.Millisecond); err != nil || time.Since(start) > time.Second {
			t.Errorf("WaitSend: %v after %v", err, time.Since(start))
		}
		if got := b.reclaim(); got != 0 {
			t.Errorf("%d frames left an interface that is down", got)
		}
	}
	send()
	if err := w.A.SetUp(true); err != nil {
		t.Fatal(err)
	}
	if err := w.A.WaitUp(cardWait); err != nil {
		t.Fatal(err)
	}
	back := 0
	for deadline := time.Now().Add(cardWait); back < n && time.Now().Before(deadline); {
		if err := b.q.WaitSend(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		back += b.reclaim()
	}
	for i := range n {
		if _, err := peer.Receive(2 * time.Second); err != nil {
			t.Fatalf("frame %d of %d, sent while down: %v", i, n, err)
		}
	}
	if back != n {
		t.Errorf("%d of %d buffers came back", back, n)
	}

	send()
	start := time.Now()
	if err := b.Stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > releaseWait+time.Second {
		t.Errorf("Stop took %v", took)
	}
	held := 0
	for k := b.q.Drain(b.back); k > 0; k = b.q.Drain(b.back) {
		held += k
	}
	if want := zeroCopyBuffers + n; held != want {
		t.Errorf("Drain gave back %d buffers, want %d", held, want)
	}
}

// TestReceiveTwice has the kernel hand out a buffer that the device has not, and
// one twice: neither reaches the caller.
func TestReceiveTwice(t *testing.T) {
	layout := link.Layout{BufferSize: link.MinBufferSize, Queues: 1, RXBuffers: 16, TXBuffers: 16}
	region, err := offheap.Map(layout.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer region.Close()
	mem, err := link.NewMemory(region.Bytes(), layout)
	if err != nil {
		t.Fatal(err)
	}
	var producer, consumer, flags uint32
	slots := make([]unix.XDPDesc, minRing)
	q := &queue{link: &Link{}, memory: mem, held: make([]uint16, layout.Buffers()), shift: 11}
	q.rx = ring[unix.XDPDesc]{producer: &producer, consumer: &consumer, flags: &flags, slots: unsafe.Pointer(unsafe.SliceData(slots)), size: minRing}
	q.held[3], q.held[4] = markReceive, markReceive
	q.held[20] = markSend
	for i, index := range []uint64{3, 5, 3, 20, 4} {
		slots[i] = unix.XDPDesc{Addr: index<<q.shift + headroom, Len: 60}
	}
	producer = 5
	frames := make([]link.Frame, 8)
	if n := q.Receive(frames); n != 2 || frames[0].Index != 3 || frames[1].Index != 4 {
		t.Errorf("received %d: %+v, want buffers 3 and 4", n, frames[:n])
	}
	if bad := q.rxInvalid.Load(); bad != 3 || consumer != 5 {
		t.Errorf("%d counted as invalid, want 3; %d of 5 consumed", bad, consumer)
	}
	if q.held[3] != 0 || q.held[4] != 0 || q.held[5] != 0 || q.held[20] != markSend {
		t.Errorf("owners %v", q.held)
	}
}
