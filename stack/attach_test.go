package stack_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

func TestNewRefuses(t *testing.T) {
	leaktest.Check(t)
	for _, cfg := range []stack.Config{
		{Reachable: 2*time.Second - 1}, {Reachable: -time.Second}, {FrontCacheSize: -1}, {FrontCacheSize: 1 << 30},
	} {
		if s, err := stack.New(&cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
			s.Close()
		}
	}
}

func TestDefaults(t *testing.T) {
	leaktest.Check(t)
	a, _ := stacktest.Pair(t, nil)
	st := a.Device.Stats().Pool
	cfg := a.Device.Config()
	if st.Size != 2048 || st.BufferSize != 4096 || cfg.RXBuffers != stack.DefaultRXBuffers || cfg.Poll != link.Adaptive {
		t.Errorf("pool %+v, config %+v", st, cfg)
	}
	if a.Stack.TTL() != 64 {
		t.Errorf("TTL %d", a.Stack.TTL())
	}
	if a.Device.Closed() || a.Device.Fault() != nil || a.Device.Stack() != a.Stack || a.Device.Link() != a.Link {
		t.Error("a new device is not what it should be")
	}
}

// TestAttachRefuses bad sizes, each with the number that says so; the link
// stays the caller's.
func TestAttachRefuses(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  stack.DeviceConfig
		says string
	}{
		{"pool over the limit", stack.DeviceConfig{PoolSize: stack.MaxPoolSize + 1}, "32768"},
		{"negative pool", stack.DeviceConfig{PoolSize: -1}, "-1"},
		{"buffers over four pages", stack.DeviceConfig{BufferSize: 32768}, "16384"},
		{"buffers smaller than the MTU", stack.DeviceConfig{BufferSize: 1024}, "1500"},
		{"negative buffers", stack.DeviceConfig{BufferSize: -4096}, "-4096"},
		{"buffers of no power of two", stack.DeviceConfig{BufferSize: 3000}, "power of two"},
		{"receive buffers of no power of two", stack.DeviceConfig{RXBuffers: 1000}, "power of two"},
		{"negative receive buffers", stack.DeviceConfig{RXBuffers: -8}, "power of two"},
		{"too many receive buffers", stack.DeviceConfig{RXBuffers: 1 << 20}, "buffers"},
		{"priority 100", stack.DeviceConfig{Priority: 100}, "99"},
		{"negative priority", stack.DeviceConfig{Priority: -1}, "-1"},
	} {
		l, err := loopback.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Attach(l, &c.cfg)
		if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), l.Name()) {
			t.Errorf("%s: %v", c.name, err)
		}
		// It was not closed: another attach takes it.
		if d, err := s.Attach(l, nil); err != nil {
			t.Errorf("%s: the link is of no use any more: %v", c.name, err)
		} else if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	l, err := loopback.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Attach(l, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("attach to a closed stack: %v", err)
	}
	l.Close()
}

// TestJumboBuffers: the default grows with the MTU; the smallest holds it.
func TestJumboBuffers(t *testing.T) {
	leaktest.Check(t)
	for mtu, want := range map[int]int{1500: 4096, 4000: 4096, 9000: 16384} {
		l, err := loopback.New(&loopback.Config{MTU: mtu})
		if err != nil {
			t.Fatal(err)
		}
		h := stacktest.On(t, l, ownNet, &stacktest.Options{Device: stack.DeviceConfig{RXBuffers: 64, PoolSize: 64}})
		if got := h.Device.Stats().Pool.BufferSize; got != want || h.Device.MTU() != mtu {
			t.Errorf("MTU %d: buffers of %d bytes, want %d", mtu, got, want)
		}
	}
}

// TestAttachTwice: a link is one device's.
func TestAttachTwice(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	for _, s := range []*stack.Stack{a.Stack, b.Stack} {
		if _, err := s.Attach(a.Link, nil); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("a second attach: %v", err)
		}
	}
	exchange(t, a, b)
}

// TestCloseIsIdempotent, of stack, device and port in any order, and from many
// goroutines at once.
func TestCloseIsIdempotent(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	var wg sync.WaitGroup
	for range 4 {
		for _, f := range []func() error{a.Port.Disable, a.Device.Close, a.Stack.Close, b.Stack.Close, b.Device.Close, b.Port.Disable} {
			wg.Go(func() {
				if err := f(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if !a.Device.Closed() || !a.Port.Disabled() || !errors.Is(a.Device.Fault(), net.ErrClosed) || len(a.Stack.Devices()) != 0 || len(a.Stack.Ports()) != 0 {
		t.Errorf("closed %v, disabled %v, fault %v, devices %v, ports %v",
			a.Device.Closed(), a.Port.Disabled(), a.Device.Fault(), a.Stack.Devices(), a.Stack.Ports())
	}
	if _, err := a.Device.Alloc(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("alloc: %v", err)
	}
	if _, err := a.Device.EnablePort(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("enable port: %v", err)
	}
	if err := a.Stack.AddRoute(ownNet, netip.Addr{}, a.Port); !errors.Is(err, net.ErrClosed) {
		t.Errorf("add route: %v", err)
	}
	if err := a.Stack.RegisterProtocol(stack.EtherType(testEtherType), newTestProtocol(nil)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("register: %v", err)
	}
	if st := a.Stack.Stats(); len(st.Devices) != 0 {
		t.Errorf("%+v", st)
	}
	if st := a.Device.Stats(); st.RX.Packets != st.RX.Delivered+st.RX.Demoted.Total()+st.RX.Dropped.Total() {
		t.Errorf("the books of a closed device: %+v", st.RX)
	}
}

// TestCloseCountsWhatIsHeld: datagrams that the application has, leases, and
// frames of a protocol. When they are back, Close works.
func TestCloseCountsWhatIsHeld(t *testing.T) {
	leaktest.Check(t)
	a, b := stacktest.Pair(t, nil)
	stacktest.Know(t, a, b)
	from, to := listen(t, a, a.At(0), nil), listen(t, b, b.At(7), nil)
	for range 3 {
		if _, err := from.WriteToUDPAddrPort([]byte("x"), b.At(7)); err != nil {
			t.Fatal(err)
		}
	}
	var held []udp.Datagram
	for range 2 { // the third one waits in the socket: that is no leak
		d, err := to.Receive()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, d)
	}
	lease, err := to.Reserve(10)
	if err != nil {
		t.Fatal(err)
	}
	check := func(want int) {
		t.Helper()
		if err := b.Stack.Close(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), fmt.Sprintf(" %d of ", want)) {
			t.Errorf("close with %d buffers out: %v", want, err)
		}
	}
	check(3)
	if string(held[0].Payload()) != "x" || held[0].From().Addr() != a.Addr {
		t.Error("what is held is not there any more")
	}
	held[0].Release()
	check(2)
	held[1].Release()
	lease.Discard()
	if err := b.Stack.Close(); err != nil {
		t.Errorf("close with everything back: %v", err)
	}
}

// TestEnablePortBesideClose: no port comes to life on a device that goes.
func TestEnablePortBesideClose(t *testing.T) {
	leaktest.Check(t)
	for range 50 {
		l, err := loopback.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		h := stacktest.On(t, l, ownNet, &stacktest.Options{NoPort: true, Device: stack.DeviceConfig{RXBuffers: 64, PoolSize: 64}})
		var wg sync.WaitGroup
		for vlan := range uint16(8) {
			wg.Go(func() {
				_, err := h.Device.EnablePort(&stack.PortConfig{VLAN: 2 + vlan})
				if err != nil && !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
		}
		if err := h.Device.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if ports := h.Stack.Ports(); len(ports) != 0 {
			t.Fatalf("port %s is enabled on a closed device", ports[0].Name())
		}
	}
}
