package afxdp

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/internal/clock"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// fromKernelClock has the programs of a link take the time of frames from the
// kernel's clock, CLOCK_MONOTONIC, in place of the device's, which veth has not:
// all but the function that tells the time is as it is in use.
func fromKernelClock(l *Link) {
	l.gate.maps.rx.time = asm.Instructions{
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, keyTime, asm.R0, asm.DWord),
	}
}

// receiveFrame waits for one frame and gives its buffer back.
func (b *bench) receiveFrame(timeout time.Duration) (link.Frame, bool) {
	b.t.Helper()
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); {
		if b.q.Receive(b.in[:1]) == 1 {
			b.q.Fill([]uint32{b.in[0].Index})
			return b.in[0], true
		}
		if err := b.q.WaitReceive(time.Until(deadline)); err != nil {
			b.t.Fatal(err)
		}
	}
	return link.Frame{}, false
}

// TestRXTimeNone: veth knows no time of what comes from a socket, and a frame
// without a time counts as one without.
func TestRXTimeNone(t *testing.T) {
	needsFeatures(t, RXTime)
	w := netnstest.NewPair(t, nil)
	needsVeth(t, w, "what a card tells is its own")
	leaktest.Check(t)
	b := newBench(t, w.A, &Config{With: RXTime}, claimSuite)
	if c := b.Capabilities(); c.RXClock != link.ClockDevice || c.Mode != "native, copy" {
		t.Errorf("capabilities %+v", c)
	}
	peer := newPacketPeer(t, w.B, suiteType)
	for i := range uint32(2 * benchRX) { // each buffer more than once
		if err := peer.Send(saying(1, i)); err != nil {
			t.Fatal(err)
		}
		f, ok := b.receiveFrame(2 * time.Second)
		if !ok {
			t.Fatalf("frame %d did not come", i)
		}
		if f.Time != 0 {
			t.Fatalf("frame %d has the time %d, of a device without a clock", i, f.Time)
		}
	}
}

// TestRXTime: the times that the program writes are those that Receive gives,
// with claims and with each kind of filter; and a frame that was written none has
// none, whatever was in its buffer before.
func TestRXTime(t *testing.T) {
	needsFeatures(t, RXTime)
	r := newFilterRig(t, &Config{With: RXTime}, nil)
	fromKernelClock(r.Link)
	rules, err := filter.NewRules(filter.Drop, filter.Rule{Verdict: filter.Accept, EtherTypes: []uint16{suiteType}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Select(claimSuite); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		filter filter.Filter
		says   byte // what has the filter take a frame
	}{
		{"claims", nil, 0},
		{"verdicts", program(t, "verdict"), byte(filter.Accept)},
		{"rules", rules, 0},
		{"actions", program(t, "xsk"), xdpRedirect},
		{"tail calls", program(t, "tail"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.setFilter(c.filter)
			for i := range uint32(benchBatch) {
				before := clock.Now()
				if err := r.sender.Send(saying(c.says, i)); err != nil {
					t.Fatal(err)
				}
				f, ok := r.receiveFrame(2 * time.Second)
				if !ok {
					t.Fatalf("frame %d did not come", i)
				}
				if after := clock.Now(); f.Time < before || f.Time > after {
					t.Fatalf("frame %d: time %d, sent after %d and received before %d", i, f.Time, before, after)
				}
			}
		})
	}
}

// TestTakeStamps: a stamp counts once, and nothing else counts as one.
func TestTakeStamps(t *testing.T) {
	layout := link.Layout{BufferSize: link.MinBufferSize, Queues: 1, RXBuffers: 4, TXBuffers: 4}
	mem, err := link.NewMemory(make([]byte, layout.Bytes()), layout)
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{memory: mem}
	put := func(i uint32, off int, time, mark uint64) {
		b := mem.Buffer(i)[off-stampSize:]
		binary.NativeEndian.PutUint64(b[stampTime:], time)
		binary.NativeEndian.PutUint64(b[stampMark:], mark)
	}
	put(0, headroom, 77, stampValue)
	put(1, headroom, 78, stampValue+1)
	put(2, stampSize, 79, stampValue)
	frames := []link.Frame{{Index: 0, Off: headroom, Len: 60}, {Index: 1, Off: headroom, Len: 60}, {Index: 2, Off: stampSize, Len: 60}, {Index: 3, Off: stampSize - 1, Len: 60}}
	for _, want := range [][4]int64{{77, 0, 79, 0}, {}} {
		for i := range frames {
			frames[i].Time = 0
		}
		q.takeStamps(frames)
		for i, f := range frames {
			if f.Time != want[i] {
				t.Errorf("frame %d: time %d, want %d", i, f.Time, want[i])
			}
		}
	}
}

// handmade is a filter of a few instructions.
func handmade(license string, p ...asm.Instruction) filter.Filter {
	return odd{x: &filter.XDP{Entry: "p", Spec: &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{
		"p": {Name: "p", Type: ebpf.XDP, Instructions: append(p, asm.Mov.Imm(asm.R0, int32(filter.Accept)), asm.Return()), License: license},
	}}}}
}

// TestRXTimeMoved: a filter may move the start of a frame, and the time moves
// along. Metadata of its own it keeps, and its frames have no time, though the
// buffer they lie in had one before, at that place.
func TestRXTimeMoved(t *testing.T) {
	needsFeatures(t, RXTime)
	r := newFilterRig(t, &Config{With: RXTime}, nil)
	fromKernelClock(r.Link)
	const moved = 8
	keep := asm.Mov.Reg(asm.R6, asm.R1) // the context, which a call loses
	move := func(f asm.BuiltinFunc) asm.Instructions {
		return asm.Instructions{keep, asm.Mov.Imm(asm.R2, -moved), f.Call()}
	}
	write := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, xdpMDMeta, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, xdpMDData, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.Add.Imm(asm.R3, moved),
		asm.JGT.Reg(asm.R3, asm.R2, "written"),
		asm.Mov.Imm(asm.R3, 7),
		asm.StoreMem(asm.R1, 0, asm.R3, asm.DWord),
		asm.Mov.Imm(asm.R3, 0).WithSymbol("written"),
	}
	for _, c := range []struct {
		name   string
		f      func() filter.Filter
		longer int
		timed  bool
	}{
		{"as it is", func() filter.Filter { return handmade("GPL") }, 0, true},
		{"its start moved", func() filter.Filter { return handmade("GPL", move(asm.FnXdpAdjustHead)...) }, moved, true},
		{"metadata before it", func() filter.Filter { return handmade("GPL", append(move(asm.FnXdpAdjustMeta), write...)...) }, 0, false},
	} {
		r.setFilter(c.f())
		frame := saying(0, 1)
		for i := range 2 * benchRX { // each buffer more than once
			if err := r.sender.Send(frame); err != nil {
				t.Fatal(err)
			}
			f, ok := r.receiveFrame(2 * time.Second)
			if !ok || int(f.Len) < len(frame)+c.longer {
				t.Fatalf("%s: frame %d came: %v, %+v", c.name, i, ok, f)
			}
			if (f.Time != 0) != c.timed {
				t.Fatalf("%s: frame %d has the time %d", c.name, i, f.Time)
			}
		}
	}
}

// TestRXTimeFilters: what a program that is bound to its device cannot be part of
// is refused with the way out, and the former filter goes on.
func TestRXTimeFilters(t *testing.T) {
	needsFeatures(t, RXTime)
	r := newFilterRig(t, &Config{With: RXTime}, nil)
	r.setFilter(handmade("GPL"))
	err := r.SetFilter(handmade("Proprietary"))
	if err == nil || !strings.Contains(err.Error(), "Proprietary") || !strings.Contains(err.Error(), "RXTime") {
		t.Errorf("another license: %v", err)
	}
	// It has a devmap, which kernels before 6.14 refuse to such a program.
	if err := r.SetFilter(program(t, "redirect")); err != nil && !strings.Contains(err.Error(), "devmap") {
		t.Errorf("a devmap: %v", err)
	}
	r.setFilter(handmade("GPL"))
	if got := r.comes(saying(0, 1)); got != "us" {
		t.Errorf("a frame comes to %s", got)
	}
}

// TestTimeFrames: the device takes the times of frames while the link is open,
// and what it took before after that. One that cannot be told is left alone.
func TestTimeFrames(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	for name, received := range map[string]bool{"sent": false, "received and sent": true} {
		t.Run(name, func(t *testing.T) { w.A.Do(func() { testTimeFrames(t, w.A.IfName, received) }) })
	}
}

func testTimeFrames(t *testing.T, ifname string, received bool) {
	d, err := findDevice(ifname)
	if err != nil {
		t.Fatal(err)
	}
	other, err := findDevice(ifname) // to ask
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	asked := func() (unix.HwTstampConfig, error) {
		c, err := unix.IoctlGetHwTstamp(other.control, ifname)
		if err != nil {
			return unix.HwTstampConfig{}, err
		}
		return *c, nil
	}
	before, unknown := asked()
	err = d.timeFrames(received, true)
	during, _ := asked()
	switch {
	case errors.Is(err, link.ErrNotSupported) && received:
		t.Log(err) // the driver says so
	case err != nil:
		t.Error(err)
	case unknown == nil && (received && during.Rx_filter != unix.HWTSTAMP_FILTER_ALL || during.Tx_type == unix.HWTSTAMP_TX_OFF):
		t.Errorf("the device takes %+v", during)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
	if after, _ := asked(); after != before {
		t.Errorf("%+v before, %+v after", before, after)
	}
	t.Logf("before %+v (%v), during %+v", before, unknown, during)
}

// TestRXTimeRefused: what cannot be had is refused at Open, and with the reason.
func TestRXTimeRefused(t *testing.T) {
	w := netnstest.NewPair(t, nil)
	open := func(cfg *Config) (err error) {
		w.A.Do(func() {
			var l *Link
			if l, err = Open(w.A.IfName, cfg); err == nil {
				l.Close()
			}
		})
		return err
	}
	if err := open(&Config{With: RXTime, Mode: Generic}); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "native") {
		t.Errorf("in generic mode: %v", err)
	}
	if err := open(&Config{With: 1 << 31}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("features that are none: %v", err)
	}
}
