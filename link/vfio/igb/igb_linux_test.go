package igb

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/qtest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/bus/bustest"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
)

// patience is how long anything may take on a machine with other things to do.
const patience = 15 * time.Second

var ownMAC = link.MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// nic is the driver alone on QEMU's 82576: 32 buffers a queue, 32 to send.
type nic struct {
	driver.Device
	t      *testing.T
	bus    *bustest.Bus
	region driver.Region
	queues []driver.Queue
	wire   [2048]byte
}

func startOn(t *testing.T, m *qtest.Machine, cfg driver.Config) *nic {
	t.Helper()
	n := &nic{t: t, bus: bustest.On(m)}
	cfg.MTU = 1500
	var err error
	if n.Device, err = open(n.bus, Driver.Models[0], cfg); err != nil {
		t.Fatal(err)
	}
	layout := link.Layout{BufferSize: 2048, Queues: n.Info().Queues, RXBuffers: 32, TXBuffers: 32}
	memory, err := n.bus.Alloc(layout.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	mem, err := link.NewMemory(memory.Bytes, layout)
	if err != nil {
		t.Fatal(err)
	}
	n.region = driver.Region{Memory: mem, IOVA: memory.IOVA}
	if n.queues, err = n.Start(n.region); err != nil {
		t.Fatal(err)
	}
	n.await("the wire to come up", func() bool { return n.Status().Up })
	return n
}

func (n *nic) await(what string, came func() bool) {
	n.t.Helper()
	for end := time.Now().Add(patience); !came(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			n.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// numbered is a UDP frame of 64 to 1463 bytes with a number, whose flow changes
// with it.
func numbered(number int) []byte {
	b := make([]byte, 64+number*37%1400)
	copy(b, ownMAC[:])
	copy(b[6:], "\x06\x00\x00\x00\x00\x01\x08\x00\x45\x00\x00\x00\x00\x00\x40\x00\x40\x11")
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
	copy(b[26:], "\x0a\x00\x00\x01\x0a\x00\x00\x02")
	binary.BigEndian.PutUint16(b[34:], uint16(number))
	binary.BigEndian.PutUint16(b[38:], uint16(len(b)-34))
	binary.BigEndian.PutUint32(b[44:], uint32(number))
	return b
}

// check says that a frame is the numbered one that it says it is, and which.
func (n *nic) check(b []byte) int {
	n.t.Helper()
	number := int(binary.BigEndian.Uint32(b[44:]))
	if want := numbered(number); string(b) != string(want) {
		n.t.Fatalf("frame %d came as % x", number, b)
	}
	return number
}

// TestFramesBothWays sends and receives 10 000 frames on four queues with rings
// of 16: rings come around hundreds of times, and are full most of the time. Each
// frame arrives once and whole, each buffer comes back, and so it is again after
// a reset in the middle, and for who opens the NIC after a Stop.
func TestFramesBothWays(t *testing.T) {
	leaktest.Check(t)
	m := qtest.Start(t, qtest.Config{Device: "igb"})
	cfg := driver.Config{Queues: 4, Interrupts: bus.MSIX, RXDescriptors: 16, TXDescriptors: 16, Features: driver.RSS}
	n := startOn(t, m, cfg)
	if mac := n.Info().MAC; mac != ownMAC {
		t.Errorf("the address is %x, want %x", mac, ownMAC)
	}
	n.fillAll()
	n.receiveNumbered(0, 10_000)
	n.sendNumbered(0, 10_000)
	var c driver.Counters
	n.Count(&c)
	if c.RXPackets != 10_000 || c.TXPackets != 10_000 || c.RXErrors+c.RXMissed+c.TXErrors != 0 {
		t.Errorf("the NIC has counted %+v", c)
	}

	if err := n.Restart(); err != nil {
		t.Fatal(err)
	}
	for i, q := range n.queues {
		if lost := q.RestartReceive(); lost != 0 {
			t.Errorf("queue %d: %d frames were lost that never came", i, lost)
		}
		if bufs := q.RestartSend(nil); len(bufs) != 0 {
			t.Errorf("queue %d: buffers %v were on an empty ring", i, bufs)
		}
	}
	n.await("the wire to come up again", func() bool { return n.Status().Up })
	n.receiveNumbered(10_000, 500)
	n.sendNumbered(10_000, 500)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := n.bus.Close(); err != nil {
		t.Fatal(err)
	}
	again := startOn(t, m, cfg)
	again.fillAll()
	again.receiveNumbered(0, 500)
	again.sendNumbered(0, 500)
	if err := again.Stop(); err != nil {
		t.Error(err)
	}
	if err := again.bus.Close(); err != nil {
		t.Error(err)
	}
}

// fillAll fills the rings: 15 buffers each.
func (n *nic) fillAll() {
	n.t.Helper()
	for i, q := range n.queues {
		var own []uint32
		for b := range 32 {
			own = append(own, uint32(32*i+b))
		}
		if took := q.Fill(own); took != 15 {
			n.t.Fatalf("queue %d: a ring of 16 took %d buffers, want 15", i, took)
		}
	}
	n.Status() // doorbells are posted, and frames go another way
}

// receiveNumbered has frames come, no more at a time than the fullest ring takes.
func (n *nic) receiveNumbered(first, count int) {
	n.t.Helper()
	const window = 15
	seen := make([]bool, count)
	in := make([]link.Frame, 8)
	var byQueue [4]int
	for sent, came := 0, 0; came < count; {
		for ; sent < count && sent-came < window; sent++ {
			if err := n.bus.SendFrame(numbered(first + sent)); err != nil {
				n.t.Fatal(err)
			}
		}
		n.await("frames", func() bool {
			total := 0
			for i, q := range n.queues {
				got := q.Receive(in)
				for _, f := range in[:got] {
					number := n.check(n.region.Bytes(f)) - first
					if seen[number] {
						n.t.Fatalf("frame %d came twice", number)
					}
					seen[number] = true
					if q.Fill([]uint32{f.Index}) != 1 {
						n.t.Fatalf("queue %d has no room for what it gave", i)
					}
				}
				byQueue[i] += got
				total += got
			}
			n.Status() // doorbells are posted, and frames go another way
			came += total
			return total > 0
		})
	}
	for i, frames := range byQueue {
		if noBuffer, invalid := n.queues[i].Lost(); frames == 0 || noBuffer+invalid != 0 {
			n.t.Errorf("queue %d: %d frames, %d without a buffer, %d invalid", i, frames, noBuffer, invalid)
		}
	}
}

// sendNumbered sends on the queues in turn as many as their rings take.
func (n *nic) sendNumbered(first, count int) {
	n.t.Helper()
	free := []uint32{}
	for i := range 32 {
		free = append(free, uint32(n.region.Layout().RXTotal()+i))
	}
	seen := make([]bool, count)
	bufs := make([]uint32, 32)
	full := false
	for sent, left := 0, 0; left < count; {
		q := n.queues[left%4]
		var frames []link.Frame
		for ; len(free) > 0 && sent+len(frames) < count; free = free[1:] {
			b := numbered(first + sent + len(frames))
			copy(n.region.Buffer(free[0]), b)
			frames = append(frames, link.Frame{Index: free[0], Len: uint16(len(b))})
		}
		took := q.Send(frames)
		full = full || took < len(frames)
		if took > 15 {
			n.t.Fatalf("a ring of 16 took %d frames", took)
		}
		for _, f := range frames[took:] {
			free = append(free, f.Index)
		}
		q.Flush()
		sent += took
		for range took {
			got, err := n.bus.ReceiveFrame(n.wire[:], time.Now().Add(patience))
			if err != nil {
				n.t.Fatal(err)
			}
			number := n.check(n.wire[:got]) - first
			if seen[number] {
				n.t.Fatalf("frame %d left twice", number)
			}
			seen[number] = true
			left++
		}
		for back := 0; back < took; {
			n.await("buffers", q.Done)
			got := q.Reclaim(bufs)
			free = append(free, bufs[:got]...)
			back += got
		}
	}
	if !full || len(free) != 32 {
		n.t.Errorf("the ring was full: %v; %d of 32 buffers are here", full, len(free))
	}
}

// TestInterrupts gives each queue's vector a descriptor, and finds each frame on
// the one of its queue, when that is armed and not before.
func TestInterrupts(t *testing.T) {
	leaktest.Check(t)
	const queues = 4
	n := startOn(t, qtest.Start(t, qtest.Config{Device: "igb"}), driver.Config{Queues: queues, Interrupts: bus.MSIX, RXDescriptors: 16, Features: driver.RSS})
	defer n.bus.Close()
	var polled []unix.PollFd
	var fds []int
	for range queues {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
		polled = append(polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	if err := n.bus.Arm(bus.MSIX, fds); err != nil {
		t.Fatal(err)
	}
	raised := func(wait time.Duration) (vectors []int) {
		for {
			_, err := unix.Poll(polled, int(wait.Milliseconds()))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		for i := range polled {
			var b [8]byte
			if count, _ := unix.Read(fds[i], b[:]); count > 0 {
				vectors = append(vectors, i)
			}
		}
		return vectors
	}
	n.fillAll()
	n.Cause() // the wire came up
	in := make([]link.Frame, 1)
	used := map[int]bool{}
	for number := 0; len(used) < queues; number++ {
		if number == 200 {
			t.Fatalf("200 flows have used queues %v", used)
		}
		if err := n.bus.SendFrame(numbered(number)); err != nil {
			t.Fatal(err)
		}
		queue := -1
		n.await("a frame", func() bool {
			for i, q := range n.queues {
				if q.Pending() {
					queue = i
				}
			}
			return queue >= 0
		})
		if !used[queue] {
			// Armed after the frame has come: what is pending tells at once.
			n.Arm(queue)
			if got := raised(patience); len(got) != 1 || got[0] != queue {
				t.Errorf("a frame on queue %d raised vectors %v", queue, got)
			}
			n.Disarm(queue)
		}
		used[queue] = true
		if n.queues[queue].Receive(in) != 1 || n.queues[queue].Fill([]uint32{in[0].Index}) != 1 {
			t.Fatal("the frame is not there")
		}
	}
	if got := raised(20 * time.Millisecond); got != nil {
		t.Errorf("vectors %v were raised while all were disarmed", got)
	}
	raised(0)
	n.Arm(0)
	raised(20 * time.Millisecond) // a frame of queue 0's that came while it was disarmed
	if err := n.bus.SetLink(false); err != nil {
		t.Fatal(err)
	}
	if got := raised(patience); len(got) != 1 || got[0] != 0 {
		t.Errorf("the wire's going down raised vectors %v, want 0", got)
	}
	if c := n.Cause(); c != driver.LinkChanged {
		t.Errorf("the cause is %v", c)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// TestSyncHasATime: QEMU's 82576 gives Sync messages of PTP the time of its clock,
// and other frames none. In qtest the clock stands still unless it is told to go.
func TestSyncHasATime(t *testing.T) {
	leaktest.Check(t)
	m := qtest.Start(t, qtest.Config{Device: "igb"})
	n := startOn(t, m, driver.Config{Queues: 1, Interrupts: bus.MSIX, RXDescriptors: 16, TXDescriptors: 16, Features: driver.RXTime})
	n.queues[0].Fill([]uint32{0, 1, 2, 3})
	n.Status() // doorbells are posted, and frames go another way
	sync := make([]byte, 64)
	copy(sync, "\x01\x1b\x19\x00\x00\x00\x06\x00\x00\x00\x00\x01\x88\xf7\x00\x02") // Sync, version 2
	copy(sync, ownMAC[:])
	in := make([]link.Frame, 1)
	for i, c := range []struct {
		frame []byte
		timed bool
	}{{numbered(1), false}, {sync, true}, {sync, true}, {numbered(2), false}} {
		before := clock.Now()
		if err := n.bus.SendFrame(c.frame); err != nil {
			t.Fatal(err)
		}
		n.await("a frame", func() bool { return n.queues[0].Receive(in) == 1 })
		// The NIC's clock stands still: its times are those of the last reading of both.
		if got := in[0].Time; (got != 0) != c.timed || got > clock.Now() || c.timed && i == 1 && got < before {
			t.Errorf("frame %d has time %d, came after %d", i, got, before)
		}
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	if err := n.bus.Close(); err != nil {
		t.Error(err)
	}
}
