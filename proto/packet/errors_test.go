package packet_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

const (
	emsgsize     = syscall.EMSGSIZE
	enobufs      = syscall.ENOBUFS
	einval       = syscall.EINVAL
	edestaddrreq = syscall.EDESTADDRREQ
)

// TestListenErrors: each kind of bad input with its error.
func TestListenErrors(t *testing.T) {
	a, _ := pair(t, nil)
	off := onVLAN(t, a, "10.1.0.1/24")
	if err := off.Disable(); err != nil {
		t.Fatal(err)
	}
	on := func(p *stack.Port, proto uint16, cfg *packet.Config) func() (*packet.Conn, error) {
		return func() (*packet.Conn, error) { return packet.Listen(p, proto, cfg) }
	}
	device := func(d *stack.Device, cfg *packet.Config) func() (*packet.Conn, error) {
		return func() (*packet.Conn, error) { return packet.ListenDevice(d, cfg) }
	}
	handler := func(packet.Frame) {}
	for name, f := range map[string]struct {
		open func() (*packet.Conn, error)
		want error
	}{
		"no port":              {on(nil, etherCAT, nil), syscall.EINVAL},
		"a length":             {on(a.Port, 0x05ff, nil), syscall.EINVAL},
		"EtherType 1":          {on(a.Port, 1, nil), syscall.EINVAL},
		"disabled port":        {on(off, etherCAT, nil), net.ErrClosed},
		"disabled port, errno": {on(off, etherCAT, nil), syscall.ENETDOWN},
		"priority 8":           {on(a.Port, etherCAT, &packet.Config{Priority: 8}), syscall.EINVAL},
		"priority -1":          {on(a.Port, etherCAT, &packet.Config{Priority: -1}), syscall.EINVAL},
		"queue -1":             {on(a.Port, etherCAT, &packet.Config{Queue: -1}), syscall.EINVAL},
		"queue too long":       {on(a.Port, etherCAT, &packet.Config{Queue: packet.MaxQueue + 1}), syscall.EINVAL},
		"outgoing too many":    {device(a.Device, &packet.Config{Outgoing: packet.MaxOutgoing + 1}), syscall.EINVAL},
		"no device":            {device(nil, nil), syscall.EINVAL},
		"consuming analyser":   {device(a.Device, &packet.Config{Consume: true}), syscall.EINVAL},
		"analyser's handler":   {device(a.Device, &packet.Config{Handler: handler}), syscall.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := f.open()
			wantError(t, err, "listen", f.want)
			if c != nil {
				t.Error("and a socket")
			}
		})
	}
	if err := a.Stack.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := packet.Listen(a.Port, etherCAT, nil)
	wantError(t, err, "listen", net.ErrClosed)
	_, err = packet.ListenDevice(a.Device, nil)
	wantError(t, err, "listen", net.ErrClosed)
}

// TestWriteErrors: each kind of bad destination with its error.
func TestWriteErrors(t *testing.T) {
	a, _ := pair(t, nil)
	mac := stranger
	one, all := listen(t, a.Port, etherCAT, nil), listen(t, a.Port, packet.All, nil)
	vlan := listen(t, onVLAN(t, a, "10.1.0.1/24"), etherCAT, nil)
	analyser := analyse(t, a.Device, nil)
	raw := listen(t, a.Port, packet.All, &packet.Config{Raw: true})
	var none *packet.Addr
	for name, f := range map[string]struct {
		c    *packet.Conn
		to   net.Addr
		want error
	}{
		"nil":                    {one, nil, syscall.EDESTADDRREQ},
		"a nil pointer":          {one, none, syscall.EDESTADDRREQ},
		"the zero address":       {one, &packet.Addr{}, syscall.EDESTADDRREQ},
		"another type":           {one, &net.UDPAddr{}, syscall.EINVAL},
		"another type, raw":      {raw, &net.UDPAddr{}, syscall.EINVAL},
		"no EtherType":           {all, &packet.Addr{MAC: mac}, syscall.EDESTADDRREQ},
		"a length":               {one, &packet.Addr{MAC: mac, EtherType: 46}, syscall.EINVAL},
		"a VLAN on the untagged": {one, &packet.Addr{MAC: mac, VLAN: vlanID}, syscall.EINVAL},
		"another VLAN":           {vlan, &packet.Addr{MAC: mac, VLAN: vlanID + 1}, syscall.EINVAL},
		"VLAN 4095":              {analyser, &packet.Addr{MAC: mac, EtherType: etherCAT, VLAN: 4095}, syscall.EINVAL},
		"VLAN 5000":              {analyser, &packet.Addr{MAC: mac, EtherType: etherCAT, VLAN: 5000}, syscall.EINVAL},
		"PCP 8":                  {vlan, &packet.Addr{MAC: mac, PCP: 8}, syscall.EINVAL},
		"PCP 8, raw":             {raw, &packet.Addr{PCP: 8}, syscall.EINVAL},
		"no EtherType, analyser": {analyser, &packet.Addr{MAC: mac}, syscall.EDESTADDRREQ},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := f.c.WriteTo(make([]byte, 60), f.to)
			wantError(t, err, "write", f.want)
			if a, ok := f.to.(*packet.Addr); ok && a != nil {
				n2, err := f.c.WriteBatch([]packet.Message{{Buf: make([]byte, 60), Addr: *a}})
				wantError(t, err, "write", f.want)
				n += n2
			}
			if n != 0 {
				t.Errorf("%d written", n)
			}
		})
	}
	for size := range 14 {
		_, err := one.WriteFrame(make([]byte, size))
		wantError(t, err, "write", syscall.EINVAL)
		_, err = raw.WriteTo(make([]byte, size), nil)
		wantError(t, err, "write", syscall.EINVAL)
	}
	if st := a.Device.Stats().Pool; st.Free != st.Size {
		t.Errorf("%d of %d buffers in the pool", st.Free, st.Size)
	}
}

func TestLeaseErrors(t *testing.T) {
	a, b := pair(t, manual())
	one, raw := listen(t, a.Port, etherCAT, nil), listen(t, a.Port, etherCAT, &packet.Config{Raw: true})
	for c, most := range map[*packet.Conn]int{one: 1500, raw: 1518} {
		_, err := c.Reserve(-1)
		wantError(t, err, "write", syscall.EINVAL)
		_, err = c.Reserve(most + 1)
		wantError(t, err, "write", emsgsize)
	}
	reserve := func(c *packet.Conn, size int) packet.Lease {
		t.Helper()
		l, err := c.Reserve(size)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := reserve(one, 10)
	wantError(t, l.Send(), "write", syscall.EDESTADDRREQ)
	wantError(t, l.Send(), "write", os.ErrInvalid)
	wantError(t, l.SendTo(to(stranger)), "write", os.ErrInvalid)
	l.Discard()
	if l.Payload() != nil {
		t.Error("an ended lease has a payload")
	}
	l = reserve(one, 10)
	wantError(t, l.SendTo(packet.Addr{}), "write", syscall.EDESTADDRREQ)
	l = reserve(raw, 13)
	wantError(t, l.Send(), "write", syscall.EINVAL)
	l = reserve(raw, 20)
	wantError(t, l.SendTo(packet.Addr{PCP: 9}), "write", syscall.EINVAL)
	l = reserve(one, 10)
	one.Close()
	wantError(t, l.SendTo(to(b.Link.MAC())), "write", net.ErrClosed)
	_, err := one.Reserve(1)
	wantError(t, err, "write", net.ErrClosed)
	if st := a.Device.Stats().Pool; st.Free != st.Size {
		t.Errorf("%d of %d buffers in the pool", st.Free, st.Size)
	}
	var f packet.Frame
	f.Release()
	if f.Bytes() != nil || f.Payload() != nil || f.From() != (packet.Addr{}) || f.To() != (link.MAC{}) || f.WireLen() != 0 || f.Outgoing() || f.Times() != (stack.IOTimes{}) {
		t.Error("a frame that is not there has something")
	}
}

func TestOptionErrors(t *testing.T) {
	a, _ := pair(t, nil)
	c := listen(t, a.Port, etherCAT, nil)
	wantError(t, c.SetPriority(8), "set", syscall.EINVAL)
	wantError(t, c.SetPriority(-1), "set", syscall.EINVAL)
	wantError(t, c.SetReadBuffer(-1), "set", syscall.EINVAL)
	wantError(t, c.JoinGroup(stranger), "join", syscall.EINVAL)
	wantError(t, c.LeaveGroup(group), "leave", syscall.EADDRNOTAVAIL)
	wantError(t, c.SetBPF([]bpf.RawInstruction{{Op: 0x1234}}), "set", syscall.EINVAL)
	c.Close()
	wantError(t, c.Close(), "close", net.ErrClosed)
	wantError(t, c.SetDeadline(time.Time{}), "set", net.ErrClosed)
	wantError(t, c.JoinGroup(group), "join", net.ErrClosed)
	wantError(t, c.LeaveGroup(group), "leave", net.ErrClosed)
	wantError(t, c.SetPromiscuous(true), "set", net.ErrClosed)
	wantError(t, c.SetBPF(nil), "set", net.ErrClosed)
	_, _, err := c.ReadFromAddr(nil)
	wantError(t, err, "read", net.ErrClosed)
	_, err = c.WriteToAddr(nil, to(stranger))
	wantError(t, err, "write", net.ErrClosed)
	_, err = c.WriteBatch(make([]packet.Message, 1))
	wantError(t, err, "write", net.ErrClosed)
	_, err = c.WriteFrame(make([]byte, 60))
	wantError(t, err, "write", net.ErrClosed)
}

// TestReadOfAHandlers: its frames are not a reader's.
func TestReadOfAHandlers(t *testing.T) {
	a, _ := pair(t, nil)
	c := listen(t, a.Port, etherCAT, &packet.Config{Handler: func(f packet.Frame) { f.Release() }})
	_, _, err := c.ReadFromAddr(nil)
	wantError(t, err, "read", syscall.EINVAL)
}

// TestEnds: a port that is disabled, and a device that closes, end their
// sockets, blocked calls included.
func TestEnds(t *testing.T) {
	a, _ := pair(t, nil)
	vlan := onVLAN(t, a, "10.1.0.1/24")
	x, analyser := listen(t, vlan, etherCAT, nil), analyse(t, a.Device, nil)
	y := listen(t, a.Port, etherCAT, nil)
	blocked := func(c *packet.Conn) chan error {
		done := make(chan error, 1)
		go func() {
			_, _, err := c.ReadFromAddr(nil)
			done <- err
		}()
		return done
	}
	ended := func(c *packet.Conn, done chan error) {
		t.Helper()
		for _, want := range []error{net.ErrClosed, syscall.ENETDOWN} {
			_, _, err := c.ReadFromAddr(nil)
			wantError(t, err, "read", want)
			_, err = c.WriteToAddr(nil, packet.Addr{MAC: stranger, EtherType: etherCAT})
			wantError(t, err, "write", want)
			_, err = c.Reserve(1)
			wantError(t, err, "write", want)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("blocked read: %v", err)
		}
		wantError(t, c.JoinGroup(group), "join", net.ErrClosed)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	xs, ys, as := blocked(x), blocked(y), blocked(analyser)
	if err := vlan.Disable(); err != nil {
		t.Fatal(err)
	}
	ended(x, xs)
	if err := a.Device.Close(); err != nil {
		t.Fatal(err)
	}
	ended(y, ys)
	ended(analyser, as)
}

// claimed is a link that is told what to take.
type claimed struct {
	link.Link
	claims atomic.Pointer[link.Claims] // written under the stack's lock, read by the test
}

func (l *claimed) Select(c *link.Claims) error {
	l.claims.Store(c)
	return nil
}

func (l *claimed) last() *link.Claims { return l.claims.Load() }

// TestPortEndsMembership: what the sockets of a port had joined goes with the
// port, and what others have stays; a socket that is still open holds nothing.
func TestPortEndsMembership(t *testing.T) {
	leaktest.Check(t)
	la, lb, err := loopback.Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lb.Close() })
	a := stacktest.On(t, &claimed{Link: la}, netip.PrefixFrom(stacktest.AddrA, 24), nil)
	p := onVLAN(t, a, "10.1.0.1/24")
	going, staying := listen(t, p, etherCAT, nil), listen(t, a.Port, etherCAT, nil)
	others := group
	others[5]++
	for _, err := range []error{going.SetPromiscuous(true), going.JoinGroup(group), going.JoinGroup(others), staying.JoinGroup(others)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	claims := a.Link.(*claimed)
	if c := claims.last(); !c.Promiscuous || len(c.Groups) != 2 || len(c.EtherTypes) != 2 {
		t.Fatalf("claimed: %+v", c)
	}
	if err := p.Disable(); err != nil {
		t.Fatal(err)
	}
	if c := claims.last(); c.Promiscuous || !slices.Equal(c.Groups, []link.MAC{others}) || len(c.EtherTypes) != 1 {
		t.Errorf("claimed without the port: %+v", c)
	}
	if err := staying.LeaveGroup(others); err != nil || len(claims.last().Groups) != 0 {
		t.Errorf("claimed after the other has left: %+v, %v", claims.last(), err)
	}
	if err := going.Close(); err != nil {
		t.Error(err)
	}
}

// TestPortsComeAndGo beside sockets that open and close on another port: no
// claim of a port that is gone is left.
func TestPortsComeAndGo(t *testing.T) {
	leaktest.Check(t)
	la, lb, err := loopback.Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lb.Close() })
	a := stacktest.On(t, &claimed{Link: la}, netip.PrefixFrom(stacktest.AddrA, 24), nil)
	var running sync.WaitGroup
	running.Go(func() {
		for range 200 {
			c, err := packet.Listen(a.Port, etherCAT, nil)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		}
	})
	for range 200 {
		p := onVLAN(t, a, "10.1.0.1/24")
		listen(t, p, etherCAT, nil)
		if err := p.Disable(); err != nil {
			t.Fatal(err)
		}
	}
	running.Wait()
	if w := packet.Watched(a.Device); len(w.Types) != 0 {
		t.Errorf("still wanted: %+v", w)
	}
	onVLAN(t, a, "10.1.0.1/24")
	if claims := a.Link.(*claimed).last(); len(claims.EtherTypes) != 0 {
		t.Errorf("still claimed: %+v", claims)
	}
}
