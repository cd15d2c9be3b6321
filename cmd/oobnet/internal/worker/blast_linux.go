package worker

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
)

// blaster sends one frame again and again over an AF_XDP link with no stack
// above it: the fastest sender there is here, the same for every receiver.
type blaster struct {
	background
	link link.Link
}

// blastBuffers is the number of copies of the frame that go around: more than
// the kernel takes in one call, few enough to stay in the caches.
const blastBuffers = 256

func openBlast(s Spec) (job, error) {
	l, err := afxdp.Open(s.IfName, &afxdp.Config{Queues: 1})
	if err != nil {
		return nil, err
	}
	layout := link.Layout{BufferSize: 2048, Queues: 1, RXBuffers: 64, TXBuffers: blastBuffers}
	mem, err := l.Attach(layout)
	if err != nil {
		l.Close()
		return nil, err
	}
	frame := wireFrame(s, l.MAC())
	ready := make([]link.Frame, 0, blastBuffers)
	for i := range blastBuffers {
		f := link.Frame{Index: uint32(layout.RXTotal() + i), Len: uint16(len(frame))}
		copy(mem.Bytes(f), frame)
		ready = append(ready, f)
	}
	b := &blaster{link: l}
	b.start(func() error { return b.loop(l.Queue(0), ready, uint16(len(frame))) })
	return b, nil
}

// loop owns the send side of the queue for the life of the process.
func (b *blaster) loop(q link.Queue, ready []link.Frame, size uint16) error {
	back := make([]uint32, 64)
	for {
		for _, i := range back[:q.Reclaim(back)] {
			ready = append(ready, link.Frame{Index: i, Len: size})
		}
		n := q.Send(ready[:min(len(ready), cap(back))])
		ready = ready[:copy(ready, ready[n:])]
		if err := q.Flush(); err != nil && !errors.Is(err, unix.ENETDOWN) {
			return fmt.Errorf("flush: %w", err)
		}
		b.packets.Add(uint64(n))
		if n == 0 {
			// Everything is under way: the kernel sends it within the wait.
			if err := q.WaitSend(time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// close leaves the link to the end of the process: the loop still uses it, and
// the kernel takes program and socket back.
func (b *blaster) close() {}

// wireFrame is the UDP datagram of the spec as a frame with a full checksum.
func wireFrame(s Spec, own link.MAC) []byte {
	src, dst := s.Local.Addr().As4(), s.Remote.Addr().As4()
	f := make([]byte, wire.EthernetHeaderLen+wire.IPv4HeaderLen+wire.UDPHeaderLen+s.Size)
	n := wire.PutEthernet(f, s.RemoteMAC, own, 0, wire.TypeIPv4)
	n += wire.PutIPv4(f[n:], ip32(src), ip32(dst), wire.ProtocolUDP, 64, 0, len(f)-n)
	for i := range s.Size {
		f[n+wire.UDPHeaderLen+i] = byte(i)
	}
	wire.PutUDP(f[n:], ip32(src), ip32(dst), s.Local.Port(), s.Remote.Port())
	return f
}

func ip32(a [4]byte) uint32 {
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}
