package control_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Every call once, each seen in the stack and not just in its answer.
func TestEveryCall(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	p, err := r.client.EnablePort(ctx, control.EnableRequest{Interface: "wire0", PoolSize: 64, Addresses: []netip.Prefix{addrA}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "wire0" || p.PoolSize != 64 || p.BufferSize != 4096 || !p.Stats.Capable || p.Stats.BuffersTotal != 64 || !slices.Equal(p.Addresses, []netip.Prefix{addrA}) {
		t.Errorf("enabled %+v", p)
	}
	// Again, with other sizes: the same port.
	if again, err := r.client.EnablePort(ctx, control.EnableRequest{Interface: "wire:wire0", PoolSize: 128}); err != nil || again.PoolSize != 64 {
		t.Errorf("enabled again: %+v, %v", again, err)
	}
	r.enable(t, "wire0.42", netip.MustParsePrefix("10.42.0.1/24"))
	st, err := r.client.Status(ctx)
	if err != nil || st.PID != os.Getpid() || !slices.Equal(st.Ports, []string{"wire0", "wire0.42"}) || !slices.Equal(st.Devices, []string{"wire0"}) {
		t.Errorf("status %+v, %v", st, err)
	}
	if ports, err := r.client.Ports(ctx); err != nil || len(ports) != 2 || ports[1].VLAN != 42 {
		t.Errorf("ports %+v, %v", ports, err)
	}
	if err := r.client.Solicit(ctx, control.SolicitRequest{Address: addrB.Addr(), Interface: "wire0", Permanent: true}); err != nil {
		t.Error(err)
	}
	if err := r.client.SetNeighbor(ctx, netip.MustParseAddr("10.42.0.9"), control.Neighbor{MAC: "02:00:00:00:00:09", Interface: "wire0.42"}); err != nil {
		t.Error(err)
	}
	fc, err := r.client.FrontCache(ctx)
	if err != nil || len(fc.Entries) != 2 || !fc.Entries[0].Permanent || fc.Entries[0].Port != "wire0" || fc.Entries[1].MAC != "02:00:00:00:00:09" || fc.Stats.Permanent != 2 {
		t.Errorf("front cache %+v, %v", fc, err)
	}
	dst := netip.MustParsePrefix("198.51.100.0/24")
	if _, err := r.client.AddRoute(ctx, control.Route{Destination: dst, Gateway: addrB.Addr(), Port: "wire0"}); err != nil {
		t.Error(err)
	}
	if via, err := r.stack.RouteTo(dst.Addr()); err != nil || via.Name() != "wire0" {
		t.Errorf("route over %v, %v", via, err)
	}
	if routes, err := r.client.Routes(ctx); err != nil || len(routes) != 3 {
		t.Errorf("routes %+v, %v", routes, err)
	}
	if err := r.client.RemoveRoute(ctx, dst); err != nil {
		t.Error(err)
	}
	if _, err := r.stack.RouteTo(dst.Addr()); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("after the route is gone: %v", err)
	}
	second := netip.MustParsePrefix("10.0.1.1/24")
	if p, err := r.client.AddAddr(ctx, "wire0", second); err != nil || len(p.Addresses) != 2 || !r.stack.Local(second.Addr()) {
		t.Errorf("another address: %+v, %v", p, err)
	}
	if p, err := r.client.RemoveAddr(ctx, "wire0", second); err != nil || len(p.Addresses) != 1 || r.stack.Local(second.Addr()) {
		t.Errorf("one address less: %+v, %v", p, err)
	}
	devices, err := r.client.Devices(ctx)
	if err != nil || len(devices) != 1 || !devices[0].Managed || !devices[0].Diverted || devices[0].PoolSize != 64 {
		t.Errorf("devices %+v, %v", devices, err)
	}
	state, err := r.client.DeviceState(ctx, "wire0")
	if err != nil || len(state.Threads) != 2 || !strings.HasPrefix(state.Threads[0].Name, "wire0.") || len(state.RXQueues) != 1 || len(state.TXQueues) != 1 {
		t.Errorf("state %+v, %v", state, err)
	}
	if err := r.client.Divert(ctx, "wire0", false); err != nil {
		t.Error(err)
	}
	if d, err := r.client.Device(ctx, "wire0.42"); err != nil || d.Diverted {
		t.Errorf("device %+v, %v", d, err)
	}
	if err := r.client.Divert(ctx, "wire0", true); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"wire0.42", "wire0"} {
		if _, err := r.client.Port(ctx, name); err != nil {
			t.Error(err)
		}
		if out, err := r.client.DisablePort(ctx, name, false); err != nil || out.DeviceClosed != (name == "wire0") {
			t.Errorf("disable %s: %+v, %v", name, out, err)
		}
	}
	if n := len(r.stack.Devices()); n != 0 {
		t.Errorf("%d devices are left", n)
	}
}

// What a request changes is seen by traffic.
func TestPortCarriesTraffic(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	if err := r.client.Solicit(t.Context(), control.SolicitRequest{Address: addrB.Addr()}); err != nil {
		t.Fatal(err)
	}
	c, err := udp.Listen(r.stack, netip.AddrPortFrom(addrA.Addr(), 7), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := r.peer.Stack.Solicit(t.Context(), addrA.Addr(), arp.Permanent); err != nil {
		t.Fatal(err)
	}
	peer, err := udp.Listen(r.peer.Stack, r.peer.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := peer.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(addrA.Addr(), 7)); err != nil {
		t.Fatal(err)
	}
	var p *control.Port
	stacktest.Eventually(t, "the port counts the datagram", func() bool {
		p, err = r.client.Port(t.Context(), "wire0")
		return err == nil && p.Stats.RXPackets > 0 && p.Stats.RXBytes > 0
	})
	// It waits for its reader, so the port is in use.
	stacktest.Eventually(t, "the datagram waits", func() bool {
		d, err := r.client.Device(t.Context(), "wire0")
		return err == nil && d.RXHeld == 1
	})
	if _, err := r.client.DisablePort(t.Context(), "wire0", false); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "udp 10.0.0.1:7") {
		t.Errorf("disable in use: %v", err)
	}
	if _, err := r.client.Port(t.Context(), "wire0"); err != nil {
		t.Errorf("a request that failed disabled the port: %v", err)
	}
	// A second port is used by its sockets alone: no device closes with it.
	r.enable(t, "wire0.8", netip.MustParsePrefix("10.8.0.1/24"))
	raw, err := packet.Listen(r.stack.Ports()[1], 0x88b5, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.DisablePort(t.Context(), "wire0.8", false); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "0x88b5") {
		t.Errorf("disable under a raw socket: %v", err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.DisablePort(t.Context(), "wire0.8", false); err != nil {
		t.Errorf("disable an unused one: %v", err)
	}
	// By force, what waits is drained, and the application's own is waited for.
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	held, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.client.DisablePort(t.Context(), "wire0", true)
	if err != nil || !out.DeviceClosed || !strings.Contains(out.Held, "held") {
		t.Errorf("by force: %+v, %v", out, err)
	}
	if _, err := r.client.EnablePort(t.Context(), control.EnableRequest{Interface: "wire0"}); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("enabled again while it is held: %v", err)
	}
	held.Release()
}

// A socket on all addresses is bound to no port, but holds what it has not
// read.
func TestHeldBuffersKeepADevice(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	c, err := udp.Listen(r.stack, netip.MustParseAddrPort("0.0.0.0:7"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := udp.Listen(r.peer.Stack, r.peer.At(7), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := r.peer.Stack.Solicit(t.Context(), addrA.Addr()); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(addrA.Addr(), 7)); err != nil {
		t.Fatal(err)
	}
	stacktest.Eventually(t, "the datagram waits", func() bool { return r.stack.Devices()[0].Stats().RX.Delivered == 1 })
	if _, err := r.client.DisablePort(t.Context(), "wire0", false); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "1 receive buffers") {
		t.Errorf("got %v", err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if out, err := r.client.DisablePort(t.Context(), "wire0", false); err != nil || !out.DeviceClosed {
		t.Errorf("%+v, %v", out, err)
	}
}

// An attached device of the application's stays attached.
func TestApplicationsDeviceStays(t *testing.T) {
	r := newRig(t, nil)
	l, err := r.open("wire0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.stack.Attach(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.enable(t, "wire0", addrA)
	if out, err := r.client.DisablePort(t.Context(), "wire0", false); err != nil || out.DeviceClosed || d.Closed() {
		t.Errorf("%+v, %v, closed %v", out, err, d.Closed())
	}
}

// A request that fails in its last step has undone its first.
func TestFailedEnableChangesNothing(t *testing.T) {
	r := newRig(t, nil)
	before, _ := r.client.Status(t.Context())
	for _, in := range []control.EnableRequest{
		{Interface: "wire0", PoolSize: stack.MaxPoolSize + 1},
		{Interface: "wire0", BufferSize: 2 * link.MaxBufferSize},
		{Interface: "wire0", BufferSize: 1024},
		{Interface: "wire0", MTU: 9000, Addresses: []netip.Prefix{addrA}},
		{Interface: "wire0", Addresses: []netip.Prefix{addrA, addrA}},
	} {
		if _, err := r.client.EnablePort(t.Context(), in); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", in, err)
		}
		// The link was closed with it: the wire needs a new end.
		after, err := r.client.Status(t.Context())
		if err != nil || !slices.Equal(after.Devices, before.Devices) || !slices.Equal(after.Ports, before.Ports) {
			t.Errorf("%+v left %+v, %v", in, after, err)
		}
		r.renew(t)
	}
	r.enable(t, "wire0", addrA)
}

// What the application has for a port and a device fills what the request
// leaves open.
func TestPresets(t *testing.T) {
	r := newRig(t, &control.Config{
		Device: func(string) stack.DeviceConfig { return stack.DeviceConfig{PoolSize: 32} },
		Port: func(name string) stack.PortConfig {
			if name != "wire0.7" {
				return stack.PortConfig{}
			}
			return stack.PortConfig{Addrs: []netip.Prefix{addrA}, MTU: 1400}
		},
	})
	if p := r.enable(t, "wire0.7"); p.PoolSize != 32 || p.MTU != 1400 || !slices.Equal(p.Addresses, []netip.Prefix{addrA}) {
		t.Errorf("enabled %+v", p)
	}
}

func TestConcurrentRequests(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	var wg sync.WaitGroup
	for i := range 8 {
		c := r.dial(t)
		wg.Go(func() {
			name := []string{"wire0.10", "wire0.11"}[i%2]
			for range 10 {
				if _, err := c.EnablePort(t.Context(), control.EnableRequest{Interface: name}); err != nil {
					t.Error(err)
				}
				if _, err := c.Devices(t.Context()); err != nil {
					t.Error(err)
				}
				// Another one may have been faster.
				if _, err := c.DisablePort(t.Context(), name, false); err != nil && !errors.Is(err, syscall.ENODEV) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if ports, err := r.client.Ports(t.Context()); err != nil || len(ports) != 1 {
		t.Errorf("left %+v, %v", ports, err)
	}
}

// A request that waits does not hold up Close, nor others.
func TestCloseEndsRequests(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	silent := netip.MustParseAddr("10.0.0.77")
	failed := make(chan error, 1)
	c := r.dial(t)
	go func() {
		failed <- c.Solicit(context.Background(), control.SolicitRequest{Address: silent, TimeoutMS: 25_000})
	}()
	if _, err := r.client.AddAddr(t.Context(), "wire0", netip.MustParsePrefix("10.0.2.1/24")); err != nil {
		t.Error(err)
	}
	begin := time.Now()
	if err := r.server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil || time.Since(begin) > 15*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if _, err := control.Dial(r.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

// Buffers come and go where the device has been attached so, and a request that
// cannot be done in full is not done at all.
func TestResize(t *testing.T) {
	r := newRig(t, &control.Config{Device: func(string) stack.DeviceConfig {
		return stack.DeviceConfig{PoolSize: 64, MaxPoolSize: 4096, RXBuffers: 128, MaxRXBuffers: 1024}
	}})
	r.enable(t, "wire0", addrA)
	ctx := t.Context()
	m, err := r.client.Resize(ctx, "wire0", control.Resize{PoolSize: 2000, RXBuffers: 500})
	if err != nil || m.PoolSize != 2000 || m.RXSize != 500 || m.Bytes == 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	if d, err := r.client.Device(ctx, "wire0"); err != nil || d.PoolSize != 2000 || d.RXBuffers != 500 {
		t.Errorf("the device: %+v, %v", d, err)
	}
	if m, err = r.client.Resize(ctx, "wire0", control.Resize{PoolSize: 32}); err != nil || m.PoolSize != 32 || m.RXSize != 500 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, in := range []control.Resize{{}, {PoolSize: 5000}, {PoolSize: -1}, {PoolSize: 100, RXBuffers: 2000}} {
		if _, err := r.client.Resize(ctx, "wire0", in); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", in, err)
		}
		if pool := r.stack.Devices()[0].Stats().Pool; pool.Size != 32 || pool.RXSize != 500 {
			t.Errorf("%+v has left %+v", in, pool)
		}
	}
}

func TestResizeWithoutMaxima(t *testing.T) {
	r := newRig(t, nil)
	r.enable(t, "wire0", addrA)
	if _, err := r.client.Resize(t.Context(), "wire0", control.Resize{PoolSize: 32}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

func TestObjectsFolder(t *testing.T) {
	folder := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside.o")
	for _, name := range []string{filepath.Join(folder, "inside.o"), outside} {
		copyFile(t, "../filter/testdata/verdict.o", name)
	}
	if err := os.Symlink(outside, filepath.Join(folder, "link.o")); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, &control.Config{Objects: folder})
	r.enable(t, "wire0", addrA)
	for _, path := range []string{"inside.o", filepath.Join(folder, "inside.o")} {
		if f, err := r.client.SetFilter(t.Context(), "wire0", control.Filter{Object: path}); err != nil || f.Kind != "object" || f.Object != path {
			t.Errorf("%s: %+v, %v", path, f, err)
		}
	}
	for _, path := range []string{outside, "../outside.o", "link.o"} {
		if _, err := r.client.SetFilter(t.Context(), "wire0", control.Filter{Object: path}); !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), folder) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if f, err := r.client.Filter(t.Context(), "wire0"); err != nil || f.Object == "" {
		t.Errorf("the former filter does not go on: %+v, %v", f, err)
	}
	if f, err := r.client.RemoveFilter(t.Context(), "wire0"); err != nil || f.Kind != "default" {
		t.Errorf("removed: %+v, %v", f, err)
	}
}
