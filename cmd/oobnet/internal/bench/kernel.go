package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// kernelPair is a bound socket on the kernel's loopback interface and one
// that sends to it.
type kernelPair struct {
	rx, tx *net.UDPConn
	to     netip.AddrPort
}

func openKernelPair() (*kernelPair, error) {
	local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	rx, err := net.ListenUDP("udp4", local)
	if err != nil {
		return nil, err
	}
	tx, err := net.ListenUDP("udp4", local)
	if err != nil {
		rx.Close()
		return nil, err
	}
	return &kernelPair{rx: rx, tx: tx, to: rx.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
}

func (k *kernelPair) close() { k.rx.Close(); k.tx.Close() }

func (k *kernelPair) send(data []byte) error {
	for range batch {
		if _, err := k.tx.WriteToUDPAddrPort(data, k.to); err != nil {
			return err
		}
	}
	return nil
}

func (k *kernelPair) receive(b []byte, size int) error {
	for range batch {
		n, _, err := k.rx.ReadFromUDPAddrPort(b)
		if err != nil {
			return err
		}
		if n != size {
			return fmt.Errorf("kernel: received %d bytes, want %d", n, size)
		}
	}
	return nil
}

// kernelReceive times the reads alone. The kernel does most of its receive
// work on loopback inside the sender's call, so this flatters it.
func kernelReceive(size int) contender {
	return kernelContender(size, func(k *kernelPair, data, b []byte) path {
		var failed error
		return path{
			before: func() { failed = k.send(data) },
			run:    func() error { return errors.Join(failed, k.receive(b, size)) },
			after:  nothingErr,
		}
	})
}

// kernelSend times the writes alone, which on loopback carry the datagram into
// the receiver's queue.
func kernelSend(size int) contender {
	return kernelContender(size, func(k *kernelPair, data, b []byte) path {
		return path{
			before: nothing,
			run:    func() error { return k.send(data) },
			after:  func() error { return k.receive(b, size) },
		}
	})
}

func kernelContender(size int, build func(k *kernelPair, data, b []byte) path) contender {
	return contender{name: "kernel", setUp: func(context.Context) (turn, func(), error) {
		k, err := openKernelPair()
		if err != nil {
			return nil, nil, err
		}
		return build(k, payload(size), make([]byte, 2048)).turn, k.close, nil
	}}
}
