package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/loopback"
	"github.com/oobnet/oobnet/link/vfio"
	"github.com/oobnet/oobnet/proto/packet"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// controllerAddr is of a network for documentation (RFC 5737), as the drives' are.
var controllerAddr = netip.MustParsePrefix("192.0.2.1/24")

// urgent is the priority of the cyclic exchange; mailboxes have the lowest, 0.
const urgent = stack.Priorities - 1

// open opens the controller's end of a wire: an interface, a PCI address, or
// without a name one in memory, with the drives at its other end.
func open(wire string) *controller {
	if wire != "" {
		return newController(openLink(wire))
	}
	here, there, err := loopback.Pair(nil)
	check(err)
	c := newController(here)
	c.plant = newDrives(there)
	check(c.plant.device.Stack().SetNeighbor(controllerAddr.Addr(), here.MAC())) // whom they answer
	return c
}

// openLink is all that differs from one kind of wire to another.
func openLink(wire string) link.Link {
	if wire == "" {
		check(errors.New("-drives without -i: in memory the controller brings its drives along"))
	}
	if strings.Contains(wire, ":") {
		return must(vfio.Open(wire, nil))
	}
	return must(afxdp.Open(wire, nil))
}

// attach makes a stack on a link, without threads, that sends first what is urgent.
func attach(l link.Link, own ...netip.Prefix) *stack.Port {
	s := must(stack.New(nil))
	opened = append(opened, l, s)
	d := must(s.Attach(l, &stack.DeviceConfig{Poll: link.Manual, Queueing: stack.StrictPriority}))
	ctx, cancel := context.WithTimeout(context.Background(), stack.CarrierTime)
	defer cancel()
	check(d.WaitUp(ctx)) // a NIC of our own agrees with the other end on a speed first
	return must(d.EnablePort(&stack.PortConfig{Addrs: own}))
}

// newController puts the controller on a link. Its cycle waits for nothing: not
// for a buffer (NoWait), not for an address (MissFail).
func newController(l link.Link) *controller {
	port := attach(l, controllerAddr)
	c := &controller{device: port.Device(), found: make([]udp.Message, 0, udpDrives), frame: make([]byte, 2)}
	for i := range udpDrives {
		c.commands = append(c.commands, udp.Message{Buf: make([]byte, messageSize), Addr: netip.AddrPortFrom(driveAddr(i), cyclicPort)})
	}
	for i := range slaves {
		c.frame = add(c.frame, aprd, position(i, alStatus), 2, more)
	}
	c.frame = add(c.frame, lrw, 0, slaves*imageSize, 0)
	c.drives = must(udp.Listen(c.device.Stack(), netip.AddrPortFrom(controllerAddr.Addr(), cyclicPort),
		&udp.Config{Handler: c.answered, NoWait: true, Priority: urgent, OnMiss: udp.MissFail}))
	c.line = must(packet.Listen(port, etherType, &packet.Config{Handler: c.returned, NoWait: true, Priority: urgent}))
	c.mailbox.open(c.device.Stack())
	return c
}

// newDrives puts the drives on a link. Handlers run inside of Device.Poll, so
// they must not wait (NoWait) for buffers that Poll brings back.
func newDrives(l link.Link) *drives {
	var own []netip.Prefix
	for i := range udpDrives {
		own = append(own, netip.PrefixFrom(driveAddr(i), 24))
	}
	port := attach(l, own...)
	d := &drives{device: port.Device()}
	for i := range udpDrives {
		a, s, at := &d.axes[i], d.device.Stack(), driveAddr(i)
		a.cyclic = must(udp.Listen(s, netip.AddrPortFrom(at, cyclicPort), &udp.Config{Handler: a.answer, NoWait: true, Priority: urgent}))
		a.mailbox = must(udp.Listen(s, netip.AddrPortFrom(at, mailboxPort), &udp.Config{Handler: a.tell, NoWait: true}))
	}
	d.line = must(packet.Listen(port, etherType, &packet.Config{Handler: d.pass, NoWait: true, Priority: urgent, Raw: true}))
	return d
}

// meet seeks the drives before any cycle needs them, and exchanges until all have
// answered some times in a row: by then those on a real wire have found the
// controller, too. It does not wait for long: the watch tells who is not there.
func (c *controller) meet(ctx context.Context) {
	const inARow, long = 10, 2 * time.Second
	ctx, done := context.WithTimeout(ctx, long)
	defer done()
	sought := make(chan struct{})
	go func() {
		c.seek(ctx)
		close(sought)
	}()
	for n := 0; n < inARow && ctx.Err() == nil; n++ {
		c.send()
		if c.exchange(); !c.complete() {
			n = -1
		}
	}
	<-sought
}

// exchange lets what is under way arrive.
func (c *controller) exchange() {
	check(c.movePlant())
	time.Sleep(period)
	must(c.device.Poll(stack.MaxBatch))
}

// complete says whether all drives have answered the last commands.
func (c *controller) complete() bool {
	for i := range c.axes {
		if c.number == 0 || c.axes[i].answered != c.number {
			return false
		}
	}
	return true
}

// movePlant lets drives in this process receive, move and answer.
func (c *controller) movePlant() error {
	if c.plant == nil {
		return nil
	}
	_, err := c.plant.device.Poll(stack.MaxBatch)
	return err
}

// serve is for drives in a process of their own, until ctx ends.
func (d *drives) serve(ctx context.Context) {
	fmt.Println("drives on", d.device.Name())
	for ctx.Err() == nil {
		must(d.device.Poll(stack.MaxBatch))
		check(d.device.Wait(10 * time.Millisecond))
	}
	check(d.close())
}

func (d *drives) close() error { return d.device.Stack().Close() }

func (c *controller) close() error {
	err := c.device.Stack().Close()
	if c.plant != nil {
		err = errors.Join(err, c.plant.close())
	}
	return err
}

// opened is what check closes before it ends the program: an interface whose link
// is not closed stays as the link made it.
var opened []io.Closer

// fatal ends the program; tests have another.
var fatal = log.Fatal

func check(err error) {
	if err == nil {
		return
	}
	for _, o := range slices.Backward(opened) {
		err = errors.Join(err, o.Close())
	}
	fatal("plc: ", err)
}

func must[T any](v T, err error) T {
	check(err)
	return v
}
