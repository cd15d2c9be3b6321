package worker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// ours is the stack over AF_XDP in manual mode: one thread polls, and runs the
// sockets' handlers.
type ours struct {
	background
	spec   Spec
	stack  *stack.Stack
	device *stack.Device
	conn   *udp.Conn
}

func openOurs(s Spec) (job, error) {
	l, err := afxdp.Open(s.IfName, &afxdp.Config{Queues: 1})
	if err != nil {
		return nil, err
	}
	st, err := stack.New(nil)
	if err != nil {
		l.Close()
		return nil, err
	}
	o := &ours{spec: s, stack: st}
	if err := o.open(l); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return o, nil
}

func (o *ours) open(l link.Link) (err error) {
	if o.device, err = o.stack.Attach(l, &stack.DeviceConfig{Poll: link.Manual}); err != nil {
		l.Close()
		return err
	}
	if _, err = o.device.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{o.spec.Prefix}}); err != nil {
		return err
	}
	local := netip.AddrPortFrom(o.spec.Prefix.Addr(), o.spec.Local.Port())
	switch o.spec.Role {
	case OursEcho:
		o.conn, err = udp.Listen(o.stack, local, &udp.Config{Handler: o.echo})
	case OursSink:
		o.conn, err = udp.Listen(o.stack, local, &udp.Config{Handler: o.count})
	case OursSend, OursBatch:
		o.conn, err = udp.Listen(o.stack, local, nil)
	}
	if err != nil {
		return err
	}
	if o.spec.Role == OursSend || o.spec.Role == OursBatch {
		return o.startSending()
	}
	o.start(o.poll)
	return nil
}

// poll is the receive thread. It sleeps in the device when there is nothing,
// if it is to sleep.
func (o *ours) poll() error {
	for {
		n, err := o.device.Poll(64)
		if err == nil && n == 0 && o.spec.Sleep {
			err = o.device.Wait(-1)
		}
		if err != nil && !errors.Is(err, unix.ENETDOWN) {
			return fmt.Errorf("poll: %w", err)
		}
	}
}

func (o *ours) echo(d udp.Datagram) {
	// What cannot be sent back is a loss that the client counts.
	if _, err := o.conn.WriteToUDPAddrPort(d.Payload(), d.From()); err == nil {
		o.packets.Add(1)
	}
	d.Release()
}

func (o *ours) count(d udp.Datagram) {
	o.packets.Add(1)
	d.Release()
}

// startSending resolves the peer and starts to send. The thread that sends
// also polls, for ARP, once in a while.
func (o *ours) startSending() error {
	solicited := make(chan error, 1)
	go func() { solicited <- o.stack.Solicit(context.Background(), o.spec.Remote.Addr()) }()
	for resolved := false; !resolved; {
		if _, err := o.device.Poll(64); err != nil {
			return err
		}
		select {
		case err := <-solicited:
			if err != nil {
				return err
			}
			resolved = true
		case <-time.After(time.Millisecond):
		}
	}
	o.start(o.send)
	return nil
}

// pollEvery is how many datagrams go between two polls of a sender.
const pollEvery = 4096

// send sends one datagram, or a burst of them, and again.
func (o *ours) send() error {
	data := make([]byte, o.spec.Size)
	send := func() (int, error) {
		_, err := o.conn.WriteToUDPAddrPort(data, o.spec.Remote)
		return 1, err
	}
	if o.spec.Role == OursBatch {
		ms := make([]udp.Message, burstSize)
		for i := range ms {
			ms[i] = udp.Message{Buf: data, Addr: o.spec.Remote}
		}
		send = func() (int, error) { return o.conn.WriteBatch(ms) }
	}
	for sincePoll := 0; ; {
		n, err := send()
		if err == nil {
			o.packets.Add(uint64(n))
		} else if !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("send: %w", err)
		}
		if sincePoll += n; sincePoll >= pollEvery {
			sincePoll = 0
			if _, err := o.device.Poll(64); err != nil {
				return err
			}
		}
	}
}

// close leaves the stack to the end of the process: its thread still polls,
// and the kernel takes program and socket back.
func (o *ours) close() {}
