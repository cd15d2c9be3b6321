package bench

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/wire"
)

// loopbackName is the kernel's loopback device. What is sent there comes back
// to the sockets of its EtherType, of which nobody else has ours.
const loopbackName = "lo"

// packetPair is two packet sockets of the kernel on its loopback device.
type packetPair struct {
	tx, rx int
	to     *unix.SockaddrLinklayer
}

func openPacketPair() (*packetPair, error) {
	ifi, err := net.InterfaceByName(loopbackName)
	if err != nil {
		return nil, errSkip{fmt.Sprintf("no loopback device: %v", err)}
	}
	k := &packetPair{tx: -1, rx: -1, to: &unix.SockaddrLinklayer{Ifindex: ifi.Index, Protocol: networkOrder(rawType), Halen: 6}}
	for _, s := range []struct {
		fd       *int
		protocol uint16
	}{{&k.rx, networkOrder(rawType)}, {&k.tx, 0}} {
		*s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(s.protocol))
		if err == nil && s.protocol != 0 {
			err = unix.Bind(*s.fd, k.to)
		}
		if errors.Is(err, unix.EPERM) {
			k.close()
			return nil, errSkip{"packet sockets need CAP_NET_RAW"}
		}
		if err != nil {
			k.close()
			return nil, fmt.Errorf("af_packet: %w", err)
		}
	}
	return k, nil
}

func (k *packetPair) close() {
	for _, fd := range []int{k.tx, k.rx} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }

func (k *packetPair) send(data []byte) error {
	for range batch {
		if err := unix.Sendto(k.tx, data, 0, k.to); err != nil {
			return fmt.Errorf("af_packet: %w", err)
		}
	}
	return nil
}

// receive reads the batch; what is sent to the loopback device is there when
// the call that sent it returns, or very soon.
func (k *packetPair) receive(b []byte, size int) error {
	for range batch {
		n, _, err := unix.Recvfrom(k.rx, b, 0)
		if err != nil {
			return fmt.Errorf("af_packet: %w", err)
		}
		if n != size {
			return fmt.Errorf("af_packet: received %d bytes, want %d", n, size)
		}
	}
	return nil
}

func packetReceive(size int) contender {
	return packetContender(size, func(k *packetPair, data, b []byte) path {
		var failed error
		return path{
			before: func() { failed = k.send(data) },
			run:    func() error { return errors.Join(failed, k.receive(b, size)) },
			after:  nothingErr,
		}
	})
}

func packetSend(size int) contender {
	return packetContender(size, func(k *packetPair, data, b []byte) path {
		return path{
			before: nothing,
			run:    func() error { return k.send(data) },
			after:  func() error { return k.receive(b, size) },
		}
	})
}

// packetCycle is one frame sent and read at a time.
func packetCycle(size int) contender {
	return packetContender(size, func(k *packetPair, data, b []byte) path {
		return path{
			before: nothing,
			run: func() error {
				for range batch {
					if err := unix.Sendto(k.tx, data, 0, k.to); err != nil {
						return fmt.Errorf("af_packet: %w", err)
					}
					if n, _, err := unix.Recvfrom(k.rx, b, 0); n != size || err != nil {
						return fmt.Errorf("af_packet: received %d bytes, want %d: %w", n, size, err)
					}
				}
				return nil
			},
			after: nothingErr,
		}
	})
}

func packetContender(size int, build func(k *packetPair, data, b []byte) path) contender {
	return contender{setUp: func(context.Context) (turn, func(), error) {
		k, err := openPacketPair()
		if err != nil {
			return nil, nil, err
		}
		p := build(k, payload(max(size, wire.MinFrame-wire.EthernetHeaderLen)), make([]byte, 2048))
		return p.turn, k.close, nil
	}}
}
