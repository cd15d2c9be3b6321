package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
	"github.com/oobnet/oobnet/internal/wire"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
)

// rawType is EtherCAT's EtherType: what cyclic exchanges are made of.
const rawType = 0x88a4

// goalRaw: a raw frame costs at most what a datagram does.
var goalRaw = report.Goal(1)

// rawSuite compares raw Ethernet with UDP, both ours and over the same link in
// memory, and with the kernel's packet sockets on its loopback device.
func rawSuite() []contest {
	return []contest{
		rawContest("rx64", rawReceive(64), oursReceive(64), packetReceive(64)),
		rawContest("tx64", rawSend(64), oursSend(64), packetSend(64)),
		rawContest("cycle64", rawCycle(64), udpCycle(64), packetCycle(64)),
	}
}

func rawContest(name string, raw, udp, kernel contender) contest {
	raw.name, udp.name, kernel.name = "raw", "udp", "af_packet"
	return contest{suite: "raw", name: name, contenders: []contender{raw, udp, kernel}, rows: []rowSpec{
		{name: name, unit: "ns", metric: "ns", ours: "raw", peer: "udp", goal: goalRaw},
		{name: name, unit: "ns", metric: "ns", ours: "raw", peer: "af_packet"},
		{name: name + "_allocs", unit: "allocs", metric: "allocs", ours: "raw", peer: "udp", goal: goalNoAllocs},
	}}
}

// rawContender is a raw socket over a memLink.
func rawContender(build func(m *memStack, c *packet.Conn) path) contender {
	return contender{setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(nil)
		if err != nil {
			return nil, nil, err
		}
		c, err := packet.Listen(m.device.Ports()[0], rawType, nil)
		if err != nil {
			m.close()
			return nil, nil, err
		}
		p := build(m, c)
		return p.turn, m.close, nil
	}}
}

// rawFrame is what the peer sends.
func rawFrame(size int) []byte {
	frame := make([]byte, wire.EthernetHeaderLen+wire.VLANTagLen+size)
	n := wire.PutEthernet(frame, ownMAC, peerMAC, 0, rawType)
	return frame[:n+copy(frame[n:], payload(size))]
}

// rawReceive is from frames in link memory to the caller's slice.
func rawReceive(size int) contender {
	frame := rawFrame(size)
	return rawContender(func(m *memStack, c *packet.Conn) path {
		b := make([]byte, 2048)
		var armed error
		return path{
			before: func() { armed = m.refill(frame, nil) },
			run: func() error {
				if armed != nil {
					return armed
				}
				return m.receiveRaw(c, b, size)
			},
			after: nothingErr,
		}
	})
}

// receiveRaw polls the batch in, and reads each frame with one call.
func (m *memStack) receiveRaw(c *packet.Conn, b []byte, size int) error {
	n, err := m.device.Poll(batch)
	if err != nil {
		return err
	}
	if n != batch {
		return fmt.Errorf("raw: polled %d frames, want %d", n, batch)
	}
	for range batch {
		n, _, err := c.ReadFromAddr(b)
		if err != nil {
			return err
		}
		if n != size {
			return fmt.Errorf("raw: received %d bytes, want %d", n, size)
		}
	}
	return nil
}

// rawSend is from WriteToAddr to the link's Send, Flush and Reclaim.
func rawSend(size int) contender {
	return rawContender(func(m *memStack, c *packet.Conn) path {
		data := payload(size)
		to := packet.Addr{MAC: peerMAC}
		var sent uint64
		return path{
			before: func() { sent = m.link.sent },
			run: func() error {
				for range batch {
					if _, err := c.WriteToAddr(data, to); err != nil {
						return err
					}
				}
				return nil
			},
			after: func() error {
				if m.link.sent-sent != batch {
					return errors.New("raw: not every frame reached the link")
				}
				return nil
			},
		}
	})
}

// rawCycle is a fieldbus's exchange: each frame polled in alone, read, and
// answered.
func rawCycle(size int) contender {
	return rawContender(func(m *memStack, c *packet.Conn) path {
		b := make([]byte, 2048)
		return m.cycle(rawFrame(size), func() error {
			n, from, err := c.ReadFromAddr(b)
			if err == nil {
				_, err = c.WriteToAddr(b[:n], from)
			}
			return err
		})
	})
}

// udpCycle is the same with datagrams.
func udpCycle(size int) contender {
	return contender{setUp: func(context.Context) (turn, func(), error) {
		m, err := openMemStack(nil)
		if err != nil {
			return nil, nil, err
		}
		c, err := udp.Listen(m.stack, ownEnd, nil)
		if err == nil {
			err = m.stack.SetNeighbor(peerAddr, peerMAC)
		}
		if err != nil {
			m.close()
			return nil, nil, err
		}
		b := make([]byte, 2048)
		p := m.cycle(receivedFrame(size), func() error {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err == nil {
				_, err = c.WriteToUDPAddrPort(b[:n], from)
			}
			return err
		})
		return p.turn, m.close, nil
	}}
}

// cycle polls frames in one by one, and has each answered.
func (m *memStack) cycle(frame []byte, answer func() error) path {
	var armed error
	var sent uint64
	return path{
		before: func() { armed, sent = m.refill(frame, nil), m.link.sent },
		run: func() error {
			if armed != nil {
				return armed
			}
			for range batch {
				if n, err := m.device.Poll(1); n != 1 || err != nil {
					return fmt.Errorf("cycle: polled %d frames, want 1: %w", n, err)
				}
				if err := answer(); err != nil {
					return err
				}
			}
			return nil
		},
		after: func() error {
			if m.link.sent-sent != batch {
				return errors.New("cycle: not every frame was answered")
			}
			return nil
		},
	}
}
