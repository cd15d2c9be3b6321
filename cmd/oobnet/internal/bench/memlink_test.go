package bench

import (
	"encoding/binary"
	"testing"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
)

func attached(t *testing.T) (*memLink, link.Layout) {
	t.Helper()
	l := &memLink{}
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 128, TXBuffers: 16}
	if _, err := l.Attach(layout); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, layout
}

func TestMemLinkGivesEveryBufferBack(t *testing.T) {
	l, layout := attached(t)
	bufs := make([]uint32, layout.RXBuffers)
	for i := range bufs {
		bufs[i] = uint32(i)
	}
	if n := l.Fill(bufs); n != len(bufs) {
		t.Fatalf("filled %d", n)
	}
	if err := l.arm(receivedFrame(64), 64, nil); err != nil {
		t.Fatal(err)
	}
	frames := make([]link.Frame, 20)
	if n := l.Receive(frames); n != 20 {
		t.Fatalf("received %d", n)
	}
	if n := l.Send(frames[:5]); n != 5 {
		t.Fatalf("sent %d", n)
	}
	seen := map[uint32]bool{}
	for _, f := range frames[5:] {
		seen[f.Index] = true
	}
	out := make([]uint32, 7)
	for n := l.Drain(out); n > 0; n = l.Drain(out) {
		for _, b := range out[:n] {
			if seen[b] {
				t.Errorf("buffer %d came back twice", b)
			}
			seen[b] = true
		}
	}
	if len(seen) != layout.RXBuffers {
		t.Errorf("%d buffers came back, want %d", len(seen), layout.RXBuffers)
	}
}

func TestArmRefusesWhatItCannotPlace(t *testing.T) {
	l, _ := attached(t)
	if err := l.arm(receivedFrame(64), 1, nil); err == nil {
		t.Error("armed without a buffer")
	}
	l.Fill([]uint32{3})
	if err := l.arm(receivedFrame(64), 1, nil); err != nil {
		t.Error(err)
	}
	if err := l.arm(receivedFrame(64), 0, nil); err == nil {
		t.Error("armed again over a frame that was not received")
	}
}

func TestSetDstPortKeepsTheChecksumRight(t *testing.T) {
	f := receivedFrame(63)
	for _, port := range []uint16{1, 2000, 0x1234, 0xffff, firstPort} {
		setDstPort(f, port)
		ip, e := wire.ParseIPv4(f[wire.EthernetHeaderLen:], false)
		if e != wire.IPv4OK {
			t.Fatal(e)
		}
		d := f[wire.EthernetHeaderLen+ip.HeaderLen:]
		if got := binary.BigEndian.Uint16(d[2:]); got != port {
			t.Errorf("port %d, want %d", got, port)
		}
		if !wire.UDPChecksumOK(d, ip.Src, ip.Dst) {
			t.Errorf("port %d: bad checksum", port)
		}
	}
}
