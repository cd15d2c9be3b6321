package packet_test

import (
	"fmt"
	"log"
	"time"

	"golang.org/x/net/bpf"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/stack"
)

// attach makes a stack with an untagged port on a link. Raw sockets need no
// IPv4 address.
func attach(l link.Link, cfg *stack.DeviceConfig) *stack.Port {
	s, err := stack.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	d, err := s.Attach(l, cfg)
	if err != nil {
		log.Fatal(err)
	}
	p, err := d.EnablePort(nil)
	if err != nil {
		log.Fatal(err)
	}
	return p
}

// wireOf makes two ports on the ends of a wire in memory.
func wireOf(cfg *stack.DeviceConfig) (left, right *stack.Port) {
	l, r, err := loopback.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	return attach(l, cfg), attach(r, cfg)
}

// A device on the wire answers frames of its EtherType.
func Example() {
	left, right := wireOf(nil)
	defer left.Device().Stack().Close()
	defer right.Device().Stack().Close()

	const etherType = 0x88b5 // for local experiments
	device, err := packet.Listen(right, etherType, nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := device.ReadFromAddr(buf)
			if err != nil {
				return // closed
			}
			if _, err := device.WriteToAddr(buf[:n], from); err != nil {
				log.Print(err)
			}
		}
	}()

	c, err := packet.Listen(left, etherType, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		log.Fatal(err)
	}
	if _, err := c.WriteToAddr([]byte("hello"), packet.Addr{MAC: right.MAC()}); err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, from, err := c.ReadFromAddr(buf)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s and %d bytes of padding, type 0x%x\n", buf[:5], n-5, from.EtherType)
	// Output: hello and 41 bytes of padding, type 0x88b5
}

// A cyclic exchange as fieldbuses have it, in the application's own cycle: the
// device's handler changes the frame in place and sends it back, and no thread
// but the application's takes part.
func ExampleConfig_handler() {
	master, slave := wireOf(&stack.DeviceConfig{Poll: link.Manual})
	defer master.Device().Stack().Close()
	defer slave.Device().Stack().Close()

	const etherCAT = 0x88a4
	var device *packet.Conn
	device, err := packet.Listen(slave, etherCAT, &packet.Config{Consume: true, Handler: func(f packet.Frame) {
		f.Payload()[0]++ // the working counter
		if _, err := device.WriteToAddr(f.Payload(), f.From()); err != nil {
			log.Print(err)
		}
		f.Release()
	}})
	if err != nil {
		log.Fatal(err)
	}
	c, err := packet.Listen(master, etherCAT, &packet.Config{Consume: true})
	if err != nil {
		log.Fatal(err)
	}
	image := make([]byte, 46)
	for range 3 {
		if _, err := c.WriteToAddr(image, packet.Addr{MAC: slave.MAC()}); err != nil {
			log.Fatal(err)
		}
		for _, p := range []*stack.Port{slave, master} {
			if _, err := p.Device().Poll(stack.MaxBatch); err != nil {
				log.Fatal(err)
			}
		}
		if _, _, err := c.ReadFromAddr(image); err != nil {
			log.Fatal(err)
		}
		fmt.Println(image[0])
	}
	// Output:
	// 1
	// 2
	// 3
}

// An analyser sees all frames of a device, and its own sends; a program keeps
// it to those of one EtherType, and to their headers.
func ExampleListenDevice() {
	left, right := wireOf(&stack.DeviceConfig{Poll: link.Manual})
	defer left.Device().Stack().Close()
	defer right.Device().Stack().Close()

	analyser, err := packet.ListenDevice(left.Device(), &packet.Config{Raw: true})
	if err != nil {
		log.Fatal(err)
	}
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x88b5, SkipFalse: 1},
		bpf.RetConstant{Val: 14},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := analyser.SetBPF(program); err != nil {
		log.Fatal(err)
	}
	c, err := packet.Listen(left, 0x88b5, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, etherType := range []uint16{0x88b6, 0x88b5} {
		to := packet.Addr{MAC: right.MAC(), EtherType: etherType}
		if _, err := c.WriteToAddr(make([]byte, 100), to); err != nil {
			log.Fatal(err)
		}
	}
	m := packet.Message{Buf: make([]byte, 1514)}
	if err := analyser.ReadMsg(&m); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("0x%x, %d bytes of %d, outgoing: %v\n", m.Addr.EtherType, m.N, m.WireLen, m.Outgoing)
	// Output: 0x88b5, 14 bytes of 114, outgoing: true
}
