package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// memStack is our stack over a memLink in manual mode: one goroutine does it
// all, as in the peers' contests.
type memStack struct {
	link   *memLink
	stack  *stack.Stack
	device *stack.Device
}

func openMemStack(cfg *stack.Config) (*memStack, error) {
	s, err := stack.New(cfg)
	if err != nil {
		return nil, err
	}
	m := &memStack{link: &memLink{}, stack: s}
	if m.device, err = s.Attach(m.link, &stack.DeviceConfig{Poll: link.Manual}); err != nil {
		s.Close()
		return nil, err
	}
	if _, err = m.device.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{ownNet}}); err != nil {
		s.Close()
		return nil, err
	}
	return m, nil
}

func (m *memStack) close() { m.stack.Close() }

// receive polls the batch in, and reads datagram i from socket(i) with one
// call each.
func (m *memStack) receive(socket func(i int) *udp.Conn, b []byte, size int) error {
	n, err := m.device.Poll(batch)
	if err != nil {
		return err
	}
	if n != batch {
		return fmt.Errorf("ours: polled %d frames, want %d", n, batch)
	}
	for i := range batch {
		n, _, err := socket(i).ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		if n != size {
			return fmt.Errorf("ours: received %d bytes, want %d", n, size)
		}
	}
	return nil
}

// oursReceive is from frames in link memory to the caller's slice.
func oursReceive(size int) contender {
	return contender{name: "ours", setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(nil)
		if err != nil {
			return nil, nil, err
		}
		c, err := udp.Listen(m.stack, ownEnd, nil)
		if err != nil {
			m.close()
			return nil, nil, err
		}
		frame := receivedFrame(size)
		b := make([]byte, 2048)
		var armed error
		p := path{
			before: func() { armed = m.refill(frame, nil) },
			run: func() error {
				if armed != nil {
					return armed
				}
				return m.receive(func(int) *udp.Conn { return c }, b, size)
			},
			after: nothingErr,
		}
		return p.turn, m.close, nil
	}}
}

// refill lets the stack give the link its buffers back, and places the next
// batch. Both are what a device does while the processor does something else.
func (m *memStack) refill(frame []byte, port func() uint16) error {
	if m.link.filled < batch {
		if _, err := m.device.Poll(0); err != nil {
			return err
		}
	}
	return m.link.arm(frame, batch, port)
}

// oursSend is from WriteToUDPAddrPort to the link's Send, Flush and Reclaim.
func oursSend(size int) contender {
	return contender{name: "ours", setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(nil)
		if err != nil {
			return nil, nil, err
		}
		p, err := m.sender(size, []netip.Addr{peerAddr})
		if err != nil {
			m.close()
			return nil, nil, err
		}
		return p.turn, m.close, nil
	}}
}

// sender is a path that sends to the given neighbours in turn.
func (m *memStack) sender(size int, peers []netip.Addr) (path, error) {
	for _, a := range peers {
		if err := m.stack.SetNeighbor(a, peerMAC); err != nil {
			return path{}, err
		}
	}
	c, err := udp.Listen(m.stack, ownEnd, nil)
	if err != nil {
		return path{}, err
	}
	data := payload(size)
	next := 0
	var sent uint64
	return path{
		before: func() { sent = m.link.sent },
		run: func() error {
			for range batch {
				if _, err := c.WriteToUDPAddrPort(data, netip.AddrPortFrom(peers[next], peerPort)); err != nil {
					return err
				}
				// A comparison, where a remainder would cost as much as the lookup.
				if next++; next == len(peers) {
					next = 0
				}
			}
			return nil
		},
		after: func() error {
			if m.link.sent-sent != batch {
				return errors.New("ours: not every datagram reached the link")
			}
			return nil
		},
	}, nil
}
