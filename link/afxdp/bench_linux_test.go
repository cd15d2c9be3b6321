package afxdp

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/link"
)

// benchFrame is a datagram of 64 bytes of payload to addrOurs: 106 bytes.
func benchFrame() []byte {
	return ethernet(etherTypeIPv4, append(ipv4(addrOurs.As4(), 0, 0), make([]byte, 64)...))
}

// BenchmarkSend sends batches to a peer that drops them: Send, Flush and
// Reclaim of one frame, the kernel's work included, with batches of 1 and 64.
func BenchmarkSend(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			w := kernelPair(b, 1)
			// The peer's own link with no claim for them would pass them to
			// its kernel: a program that drops them keeps the peer cheap.
			dropAll(b, w.B)
			l := newBench(b, w.A, nil, &link.Claims{})
			frames := make([]link.Frame, batch)
			content := benchFrame()
			for _, i := range l.free {
				copy(l.mem.Buffer(i), content)
			}
			b.ReportAllocs()
			for sent := 0; b.Loop(); sent++ {
				l.sendBatch(frames, len(content))
			}
			report(b, batch)
		})
	}
}

func (b *bench) sendBatch(frames []link.Frame, size int) {
	for len(b.free) < len(frames) {
		b.reclaim()
	}
	at := len(b.free) - len(frames)
	for i, index := range b.free[at:] {
		frames[i] = link.Frame{Index: index, Len: uint16(size)}
	}
	b.free = b.free[:at]
	b.q.Send(frames)
	if err := b.q.Flush(); err != nil {
		b.t.Fatal(err)
	}
	b.reclaim()
}

func report(b *testing.B, batch int) {
	frames := float64(b.N * batch)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/frames, "ns/frame")
	b.ReportMetric(frames/float64(b.Elapsed().Seconds())/1e3, "kpps")
}

// BenchmarkReceive receives what a second link sends as fast as it can, waiting
// in poll or spinning. On veth the kernel's receive path runs on the sender's
// core: the rate is the sender's, and one frame's time includes waiting for it.
func BenchmarkReceive(b *testing.B) {
	b.Run("wait", func(b *testing.B) {
		benchReceive(b, func(q *queue) { q.WaitReceive(time.Millisecond) })
	})
	b.Run("spin", func(b *testing.B) { benchReceive(b, func(*queue) { runtime.Gosched() }) })
}

func benchReceive(b *testing.B, pause func(*queue)) {
	w := kernelPair(b, 1)
	l := newBench(b, w.A, nil, claimOurs)
	sender := newBench(b, w.B, nil, &link.Claims{})
	content := benchFrame()
	for _, i := range sender.free {
		copy(sender.mem.Buffer(i), content)
	}
	var stop atomic.Bool // set here, read by the sender
	var running sync.WaitGroup
	running.Go(func() {
		frames := make([]link.Frame, benchBatch)
		for !stop.Load() {
			sender.sendBatch(frames, len(content))
		}
	})
	back := make([]uint32, benchBatch)
	b.ReportAllocs()
	received := 0
	for b.Loop() {
		n := l.q.Receive(l.in)
		for n == 0 {
			pause(l.link())
			n = l.q.Receive(l.in)
		}
		for i, f := range l.in[:n] {
			back[i] = f.Index
		}
		l.q.Fill(back[:n])
		received += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(received), "ns/frame")
	b.ReportMetric(float64(received)/b.Elapsed().Seconds()/1e3, "kpps")
	b.ReportMetric(float64(received)/float64(b.N), "frames/batch")
	stop.Store(true)
	running.Wait()
}

// BenchmarkReceiveOnly times Receive and Fill of a full batch alone, two
// readings of the clock included, and not what fills the ring.
func BenchmarkReceiveOnly(b *testing.B) {
	w := kernelPair(b, 1)
	l := newBench(b, w.A, nil, claimOurs)
	sender := newBench(b, w.B, nil, &link.Claims{})
	content := benchFrame()
	for _, i := range sender.free {
		copy(sender.mem.Buffer(i), content)
	}
	frames, back := make([]link.Frame, benchBatch), make([]uint32, benchBatch)
	var took time.Duration
	rounds := 0
	for b.Loop() {
		sender.sendBatch(frames, len(content))
		for l.link().rx.ready(benchBatch) < benchBatch {
		}
		start := time.Now()
		n := l.q.Receive(l.in)
		for i, f := range l.in[:n] {
			back[i] = f.Index
		}
		l.q.Fill(back[:n])
		took += time.Since(start)
		rounds++
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(rounds*benchBatch), "ns/frame")
	b.ReportMetric(0, "ns/op") // of the sender, mostly
}

func (b *bench) link() *queue { return b.q.(*queue) }

// BenchmarkDoorbell compares the two kinds of system call on a doorbell with
// nothing to send: the ordinary one tells the scheduler.
func BenchmarkDoorbell(b *testing.B) {
	w := kernelPair(b, 1)
	fd := uintptr(newBench(b, w.A, nil, &link.Claims{}).link().txFD)
	b.Run("Syscall", func(b *testing.B) {
		for b.Loop() {
			unix.Syscall6(unix.SYS_SENDTO, fd, 0, 0, unix.MSG_DONTWAIT, 0, 0)
		}
	})
	b.Run("RawSyscall", func(b *testing.B) {
		for b.Loop() {
			unix.RawSyscall6(unix.SYS_SENDTO, fd, 0, 0, unix.MSG_DONTWAIT, 0, 0)
		}
	})
}

// BenchmarkWake is a Wake while nobody sleeps.
func BenchmarkWake(b *testing.B) {
	q := newBench(b, kernelPair(b, 1).A, nil, &link.Claims{}).q
	for b.Loop() {
		q.Wake()
	}
}

// BenchmarkProgram runs the program in the kernel, by what is claimed and what comes.
func BenchmarkProgram(b *testing.B) {
	netnstest.RequireRoot(b)
	g, err := newGate(1, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer g.close()
	frame := benchFrame()
	for _, c := range []struct {
		name   string
		claims *link.Claims
	}{
		{"no claims", &link.Claims{}},
		{"other address", &link.Claims{IPv4: []link.ClaimIPv4{{Addr: addr4(99)}}}},
		{"address and types", &link.Claims{IPv4: []link.ClaimIPv4{{Addr: addr4(99)}}, EtherTypes: []link.ClaimEtherType{{EtherType: suiteType}, {VLAN: 9}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if err := g.apply(c.claims); err != nil {
				b.Fatal(err)
			}
			_, took, err := g.program().Benchmark(frame, 1_000_000, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(took.Nanoseconds()), "ns/frame")
		})
	}
}
