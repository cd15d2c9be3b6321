package afxdp

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	xlink "github.com/cilium/ebpf/link"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// bench is an attached link of one queue with its buffers, for tests that
// send and receive by hand.
type bench struct {
	*Link
	t    testing.TB
	mem  *link.Memory
	q    link.Queue
	free []uint32 // TX buffers
	in   []link.Frame
	back []uint32
}

const (
	benchRX, benchTX = 512, 512 // buffers
	benchBatch       = 64       // frames
)

// newBench opens the host's interface and attaches the link.
func newBench(t testing.TB, h *netnstest.Host, cfg *Config, claims *link.Claims) *bench {
	t.Helper()
	return attachBench(t, openOn(t, h, cfg, claims))
}

// attachBench attaches an open link and gives it all receive buffers.
func attachBench(t testing.TB, l *Link) *bench {
	t.Helper()
	b := &bench{Link: l, t: t, in: make([]link.Frame, benchBatch), back: make([]uint32, benchBatch)}
	layout := link.Layout{BufferSize: link.MinBufferSize, Queues: l.Queues(), RXBuffers: benchRX, TXBuffers: benchTX}
	if l.Capabilities().ZeroCopy {
		layout.BufferSize, layout.RXBuffers = maxChunk, zeroCopyBuffers
	}
	mem, err := l.Attach(layout)
	if err != nil {
		t.Fatal(err)
	}
	b.mem, b.q = mem, l.Queue(0)
	for i := range uint32(layout.RXTotal()) {
		l.Queue(mem.Home(i)).Fill([]uint32{i})
	}
	for i := layout.RXTotal(); i < layout.Buffers(); i++ {
		b.free = append(b.free, uint32(i))
	}
	return b
}

// frame puts bytes into a free buffer.
func (b *bench) frame(content []byte) link.Frame {
	b.t.Helper()
	deadline := time.Now().Add(2 * time.Second)
	for len(b.free) == 0 {
		if b.reclaim() == 0 && time.Now().After(deadline) {
			b.t.Fatal("no buffer came back")
		}
	}
	i := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	f := link.Frame{Index: i, Len: uint16(len(content))}
	copy(b.mem.Bytes(f), content)
	return f
}

func (b *bench) reclaim() int {
	n := b.q.Reclaim(b.back)
	b.free = append(b.free, b.back[:n]...)
	return n
}

// send sends one frame and rings.
func (b *bench) send(content []byte) {
	b.t.Helper()
	if b.q.Send([]link.Frame{b.frame(content)}) != 1 {
		b.t.Fatal("Send took nothing")
	}
	if err := b.q.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

// receive waits for one frame and returns a copy; nil if none comes.
func (b *bench) receive(timeout time.Duration) []byte {
	b.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		if n := b.q.Receive(b.in[:1]); n == 1 {
			content := append([]byte(nil), b.mem.Bytes(b.in[0])...)
			b.q.Fill([]uint32{b.in[0].Index})
			return content
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		if err := b.q.WaitReceive(left); err != nil {
			b.t.Fatal(err)
		}
	}
}

// echo swaps addresses and ports of UDP datagrams and sends them back in the
// buffer they came in, and answers ARP for addr, until stop says so.
func (b *bench) echo(stop <-chan struct{}) (echoed int) {
	out := make([]link.Frame, 0, benchBatch)
	home := make([]uint32, 0, benchRX)
	for {
		select {
		case <-stop:
			return echoed
		default:
		}
		if err := b.q.WaitReceive(10 * time.Millisecond); err != nil {
			b.t.Error(err)
			return echoed
		}
		out, home = out[:0], home[:0]
		for _, f := range b.in[:b.q.Receive(b.in)] {
			if b.answer(b.mem.Bytes(f)) {
				out = append(out, f)
			} else {
				home = append(home, f.Index)
			}
		}
		echoed += len(out)
		for sent := 0; sent < len(out); {
			sent += b.q.Send(out[sent:])
		}
		b.q.Flush()
		home = append(home, b.back[:b.q.Reclaim(b.back)]...)
		b.q.Fill(home)
	}
}

// answer makes the answer of a frame out of it, false if it deserves none.
func (b *bench) answer(f []byte) bool {
	mac := b.MAC()
	copy(f[0:6], f[6:12])
	copy(f[6:12], mac[:])
	l3 := f[ethernetHeader:]
	switch {
	case binary.BigEndian.Uint16(f[12:]) == etherTypeARP && len(l3) >= arpHeader && l3[7] == 1:
		l3[7] = 2
		var target [4]byte
		copy(target[:], l3[24:28])
		copy(l3[18:28], l3[8:18])
		copy(l3[8:14], mac[:])
		copy(l3[14:18], target[:])
		return true
	case binary.BigEndian.Uint16(f[12:]) == etherTypeIPv4 && l3[9] == 17:
		var src [4]byte
		copy(src[:], l3[12:16])
		copy(l3[12:16], l3[16:20])
		copy(l3[16:20], src[:])
		port := [2]byte{l3[20], l3[21]}
		copy(l3[20:22], l3[22:24])
		copy(l3[22:24], port[:])
		return true // swapping leaves both checksums as they are
	}
	return false
}

// dropAll has the host drop every frame as soon as it comes.
func dropAll(t testing.TB, h *netnstest.Host) {
	t.Helper()
	doAll(t, h, xdpDrop)
}

// passAll has the host's driver pass every frame on.
func passAll(t testing.TB, h *netnstest.Host) {
	t.Helper()
	doAll(t, h, xdpPass)
}

// doAll has the host do one thing with every frame as soon as it comes.
func doAll(t testing.TB, h *netnstest.Host, action int32) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	var hook xlink.Link
	h.Do(func() {
		hook, err = xlink.AttachXDP(xlink.XDPOptions{Program: p, Interface: h.IfIndex, Flags: xlink.XDPDriverMode})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hook.Close()
		p.Close()
	})
}
