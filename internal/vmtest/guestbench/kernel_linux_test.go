package guestbench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/netns"
)

// kernelSide is the kernel with its own driver of the card.
type kernelSide struct {
	*netns.Host
	t testing.TB
}

// socket opens a connected socket, and its descriptor, which is valid until the
// test ends.
func socket(t testing.TB, h *netns.Host, local, remote netip.AddrPort) (*net.UDPConn, int) {
	t.Helper()
	c, err := h.DialUDP(local, remote)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	if err := raw.Control(func(fd uintptr) { number = int(fd) }); err != nil {
		t.Fatal(err)
	}
	return c, number
}

// flood sends batches until it is told to end.
func flood(c *net.UDPConn, ended func() bool) error {
	batch := ipv4.NewPacketConn(c)
	ms := make([]ipv4.Message, batchSize)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, payloadSize)}
	}
	for !ended() {
		if _, err := batch.WriteBatch(ms, 0); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
	return nil
}

func (k *kernelSide) send(limit time.Duration) float64 {
	c, _ := socket(k.t, k.Host, netip.AddrPort{}, netip.AddrPortFrom(theirs.Addr(), sinkPort))
	end := time.Now().Add(limit)
	before, start := k.transmitted(), time.Now()
	if err := flood(c, func() bool { return time.Now().After(end) }); err != nil {
		k.t.Error(err)
	}
	return rate(k.transmitted()-before, start)
}

// transmitted is how many frames the interface has sent.
func (k *kernelSide) transmitted() uint64 {
	var text []byte
	err := k.DoErr(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, counters, ok := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(counters); ok && name == k.IfName && len(f) > 9 {
			n, err := strconv.ParseUint(f[9], 10, 64)
			if err != nil {
				k.t.Fatal(err)
			}
			return n
		}
	}
	k.t.Fatalf("no interface %s in %s", k.IfName, text)
	return 0
}

func (k *kernelSide) receive(limit time.Duration) float64 {
	c, err := k.ListenUDP(netip.AddrPortFrom(ours.Addr(), floodPort))
	if err != nil {
		k.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadBuffer(4 << 20); err != nil {
		k.t.Fatal(err)
	}
	batch := ipv4.NewPacketConn(c)
	ms := make([]ipv4.Message, batchSize)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, 2*payloadSize)}
	}
	end := time.Now().Add(limit)
	c.SetReadDeadline(end.Add(patience))
	var got uint64
	start := time.Now()
	for time.Now().Before(end) {
		n, err := batch.ReadBatch(ms, 0)
		if err != nil {
			k.t.Fatal(err)
		}
		got += uint64(n)
	}
	return rate(got, start)
}

func (k *kernelSide) settle(stop func()) { stop() }

// ways to wait for an answer. Busy polling has the reader run the driver.
var ways = []struct {
	name     string
	flags    int
	busyPoll int // us
}{{"block", 0, 0}, {"spin", unix.MSG_DONTWAIT, 0}, {"busy poll", 0, 1000}}

func (k *kernelSide) echo(limit time.Duration) (best float64) {
	for _, way := range ways {
		c, fd := socket(k.t, k.Host, netip.AddrPort{}, netip.AddrPortFrom(theirs.Addr(), echoPort))
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL, way.busyPoll); err != nil {
			k.t.Fatal(err)
		}
		// Package net has made it non-blocking.
		if err := unix.SetNonblock(fd, false); err != nil {
			k.t.Fatal(err)
		}
		lost := unix.NsecToTimeval(int64(lostAfter))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &lost); err != nil {
			k.t.Fatal(err)
		}
		buf := make([]byte, payloadSize)
		p50 := echoes(k.t, limit/time.Duration(len(ways)), func() {
			if _, err := unix.Write(fd, buf); err != nil {
				k.t.Fatal(err)
			}
		}, func() bool {
			_, _, err := unix.Recvfrom(fd, buf, way.flags)
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				k.t.Fatal(err)
			}
			return err == nil
		})
		c.Close()
		k.t.Logf("kernel, %s: echo p50 %.1f us", way.name, p50)
		if best == 0 || p50 < best {
			best = p50
		}
	}
	return best
}

// peer is the kernel at the other end of the wire: it swallows, echoes and floods.
type peer struct {
	*netns.Host
	t testing.TB
}

func newPeer(t testing.TB, h *netns.Host) *peer {
	t.Helper()
	p := &peer{h, t}
	sink, err := h.ListenUDP(netip.AddrPortFrom(theirs.Addr(), sinkPort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return p
}

// run runs f on the peer's processor until it says that it is ended.
func (p *peer) run(f func(ended func() bool) error) (stop func()) {
	var over atomic.Bool
	var running sync.WaitGroup
	running.Go(func() {
		defer onCPU(p.t, peerCPU)()
		if err := f(over.Load); err != nil {
			p.t.Error(err)
		}
	})
	return func() {
		over.Store(true)
		running.Wait()
	}
}

// flood sends as fast as the wire goes: the kernel makes a batch of datagrams of
// each write, and rings the card's doorbell once for all.
func (p *peer) flood() (stop func()) {
	c, fd := socket(p.t, p.Host, netip.AddrPort{}, netip.AddrPortFrom(ours.Addr(), floodPort))
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, payloadSize); err != nil {
		p.t.Fatal(err)
	}
	batch := make([]byte, batchSize*payloadSize)
	end := p.run(func(ended func() bool) error {
		for !ended() {
			_, err := c.Write(batch)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil // stop has called it back
			}
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ECONNREFUSED) {
				return err
			}
		}
		return nil
	})
	return func() {
		c.SetWriteDeadline(time.Now())
		end()
		c.Close()
	}
}

// echo answers without ever sleeping, so that no wake-up of it is in the figures.
func (p *peer) echo() (stop func()) {
	c, err := p.ListenUDP(netip.AddrPortFrom(theirs.Addr(), echoPort))
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	end := p.run(func(ended func() bool) (failed error) {
		buf := make([]byte, 2*payloadSize)
		err := raw.Control(func(fd uintptr) {
			for !ended() && failed == nil {
				n, from, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
				if err == nil {
					err = unix.Sendto(int(fd), buf[:n], 0, from)
				}
				if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
					failed = err
				}
			}
		})
		return errors.Join(err, failed)
	})
	return func() {
		end()
		c.Close()
	}
}

// onCPU keeps the goroutine on one processor until undone.
func onCPU(t testing.TB, cpu int) (undo func()) {
	runtime.LockOSThread()
	var was, set unix.CPUSet
	set.Set(cpu)
	err := unix.SchedGetaffinity(0, &was)
	if err == nil {
		err = unix.SchedSetaffinity(0, &set)
	}
	if err != nil {
		t.Errorf("stay on processor %d: %v", cpu, err)
	}
	return func() {
		if err := unix.SchedSetaffinity(0, &was); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	}
}

// steer sends the interrupts whose names hold the text to one processor.
func steer(t testing.TB, text string, cpu int) (found int) {
	t.Helper()
	names, err := filepath.Glob("/proc/irq/*/*" + text + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file := filepath.Join(filepath.Dir(name), "smp_affinity")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%x", 1<<cpu), 0); err != nil {
			t.Fatal(err)
		}
	}
	return len(names)
}
