package stack_test

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/stack"
)

func TestThreadNames(t *testing.T) {
	for _, c := range []struct {
		name   string
		queues int
		want   string
	}{
		{"fake0", 1, "fake0.rx fake0.tx"},
		{"fake0", 2, "fake0.rx0 fake0.rx1 fake0.tx0 fake0.tx1"},
		{"0000:01:00.0-with-a-long-name", 1, "0000:01:00.0.rx 0000:01:00.0.tx"}, // 15 bytes are what a kernel keeps
		{"", 1, ".rx .tx"},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaktest.Check(t)
			l := newFakeLink(c.queues)
			l.name = c.name
			h := fakeHost(t, l, nil)
			var names []string
			for _, info := range h.Device.Threads() {
				names = append(names, info.Name)
				if info.Refused != nil {
					t.Errorf("%s asked for nothing, and was refused %v", info.Name, info.Refused)
				}
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("threads %s, want %s", got, c.want)
			}
		})
	}
}

// TestRefusedOptions: a CPU that is not there is told, and the threads run.
func TestRefusedOptions(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("threads are pinned on Linux only")
	}
	leaktest.Check(t)
	a, b := stacktest.Pair(t, &stacktest.Options{Device: stack.DeviceConfig{RXCPUs: []int{1023}, TXCPUs: []int{0}}})
	infos := a.Device.Threads()
	if len(infos) != 2 {
		t.Fatalf("threads %+v", infos)
	}
	if rx := infos[0]; !errors.Is(rx.Refused, syscall.EINVAL) || !strings.Contains(fmt.Sprint(rx.Refused), "1023") {
		t.Errorf("a CPU that is not there: %v", rx.Refused)
	}
	if tx := infos[1]; tx.Refused != nil {
		t.Errorf("CPU 0: %v", tx.Refused)
	}
	if !infos[0].Own || !infos[1].Own {
		t.Error("a pinned thread shares one with others")
	}
	exchange(t, a, b)
}

// exchange sends a datagram from a to b.
func exchange(t *testing.T, a, b *stacktest.Host) {
	t.Helper()
	from, to := listen(t, a, a.At(0), nil), listen(t, b, b.At(7), nil)
	defer from.Close()
	defer to.Close()
	if _, err := from.WriteToUDPAddrPort([]byte("hello"), b.At(7)); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	n, _, err := to.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("received %q, %v", buf[:n], err)
	}
}

func TestPollModes(t *testing.T) {
	for _, mode := range []link.PollMode{link.Adaptive, link.Busy, link.Block, -7, link.BlockTimeout(time.Millisecond), link.BlockTimeout(time.Hour)} {
		t.Run(mode.String(), func(t *testing.T) {
			leaktest.Check(t)
			a, b := stacktest.Pair(t, &stacktest.Options{Device: stack.DeviceConfig{Poll: mode}})
			exchange(t, a, b)
			exchange(t, b, a)
			if _, err := a.Device.Poll(1); !errors.Is(err, stack.ErrNotManual) {
				t.Errorf("Poll: %v, want ErrNotManual", err)
			}
			if err := a.Device.Wait(0); !errors.Is(err, stack.ErrNotManual) {
				t.Errorf("Wait: %v, want ErrNotManual", err)
			}
			stacktest.AssertBooks(t, a.Device)
			stacktest.AssertBooks(t, b.Device)
		})
	}
}

func TestManualPoll(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	d := h.Device
	poll := func(budget, want int) {
		t.Helper()
		if n, err := d.Poll(budget); n != want || err != nil {
			t.Errorf("Poll(%d) = %d, %v; want %d", budget, n, err, want)
		}
	}
	poll(64, 0)
	for range 100 {
		l.arrive(packet{to: 9}.frame(), 0, 0)
	}
	poll(0, 0)
	poll(-1, 0)
	poll(1, 1)
	poll(1000, stack.MaxBatch)
	poll(64, 35)
	poll(64, 0)
	stacktest.AssertBooks(t, d)
}

// TestConcurrentPoll: the second of two is told, and so is a Wait beside them.
func TestConcurrentPoll(t *testing.T) {
	leaktest.Check(t)
	l := newFakeLink(1)
	h := fakeHost(t, l, manual())
	inside, out := make(chan struct{}), make(chan struct{})
	p := newTestProtocol(func(*stack.Batch) {
		close(inside)
		<-out
	})
	if err := h.Stack.RegisterProtocol(stack.EtherType(testEtherType), p); err != nil {
		t.Fatal(err)
	}
	frame := packet{}.frame()
	frame[12], frame[13] = testEtherType>>8, testEtherType&0xff
	l.arrive(frame, 0, 0)
	done := make(chan error)
	go func() {
		_, err := h.Device.Poll(1)
		done <- err
	}()
	<-inside
	if _, err := h.Device.Poll(1); !errors.Is(err, stack.ErrConcurrentPoll) {
		t.Errorf("Poll: %v", err)
	}
	if err := h.Device.Wait(0); !errors.Is(err, stack.ErrConcurrentPoll) {
		t.Errorf("Wait: %v", err)
	}
	close(out)
	if err := <-done; err != nil {
		t.Errorf("the first Poll: %v", err)
	}
	h.Poll()
}

// TestWait sleeps until a frame comes, until Wake, until its time, and until Close.
func TestWait(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, manual())
	stacktest.Know(t, a, b)
	wait := func(what string, limit time.Duration, happens func(), want error) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- b.Device.Wait(limit) }()
		time.Sleep(5 * time.Millisecond)
		happens()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: still waiting", what)
		}
	}
	wait("its time has come", time.Millisecond, func() {}, nil)
	wait("Wake", -1, b.Device.Wake, nil)
	c := listen(t, a, a.At(0), nil)
	wait("a frame", -1, func() {
		if _, err := c.WriteToUDPAddrPort(nil, b.At(9)); err != nil {
			t.Error(err)
		}
	}, nil)
	if n := b.Poll(); n != 1 {
		t.Errorf("%d frames", n)
	}
	wait("Close", -1, func() {
		if err := b.Device.Close(); err != nil {
			t.Error(err)
		}
	}, net.ErrClosed)
	if err := b.Device.Wait(-1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
	if _, err := b.Device.Poll(1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Poll after Close: %v", err)
	}
}

func TestFD(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, manual())
	for _, queue := range []int{-1, 0, 1, 1000} {
		if fd := a.Device.FD(queue); fd != -1 {
			t.Errorf("queue %d of a wire in memory has descriptor %d", queue, fd)
		}
	}
}

// TestManyQueues: each has its own thread, and frames of one flow stay on one.
func TestManyQueues(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, &stacktest.Options{Loopback: loopback.Config{Queues: 3}, Device: stack.DeviceConfig{RXBuffers: 64}})
	if n := len(a.Device.Threads()); n != 6 {
		t.Errorf("%d threads for 3 queues", n)
	}
	for range 10 {
		exchange(t, a, b)
		exchange(t, b, a)
	}
	stacktest.AssertBooks(t, a.Device)
	stacktest.AssertNothingHeld(t, a.Device)
}
