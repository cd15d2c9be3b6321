// Serve puts the model of an ixgbe card into a virtual machine: it serves it by
// vfio-user on a socket, to which QEMU's device vfio-user-pci connects, and is
// one end of the card's wire, a pair of datagram sockets.
//
//	serve -socket card.sock -chip 82599 -mac 52:54:00:00:01:01 -wire own.sock,peer.sock -trace trace.txt &
//	qemu-system-x86_64 ... \
//	  -object memory-backend-memfd,id=ram,size=1G,share=on -machine memory-backend=ram \
//	  -device '{"driver":"vfio-user-pci","addr":"04.0","socket":{"type":"unix","path":"card.sock"}}' \
//	  -netdev dgram,id=n,local.type=unix,local.path=peer.sock,remote.type=unix,remote.path=own.sock \
//	  -device virtio-net-pci,netdev=n
//
// At the guest's writes to the card's configuration space it pulls the cable
// (0xf8: 0 out, 1 in) and marks the trace (0xfc: "# task N").
//
// It ends by SIGTERM or SIGINT, and then prints what the model has to say, a line
// each: "violation ..." with how often it came, "tolerated ..." for what drivers in
// wide use do all the same (with -strict, for drivers of ours, a violation, too), "unmodelled ..." with the registers that
// were written and have no life, "count ...".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/vfiouser"
	"github.com/oobnet/oobnet/link/vfio/internal/ixgbemodel"
)

// options are the flags.
type options struct {
	socket, chip, mac, wire, trace string
	strict                         bool
}

var chips = map[string]ixgbemodel.Chip{"82599": ixgbemodel.Chip82599, "x540": ixgbemodel.ChipX540}

func main() {
	var o options
	flag.StringVar(&o.socket, "socket", "", "path of the vfio-user socket to make")
	flag.StringVar(&o.chip, "chip", "82599", "82599 or x540")
	flag.StringVar(&o.mac, "mac", "52:54:00:00:01:01", "the card's address")
	flag.StringVar(&o.wire, "wire", "", "paths of two datagram sockets, OWN,PEER: the first is made, frames go to the second")
	flag.StringVar(&o.trace, "trace", "", "file for all accesses to registers")
	flag.BoolVar(&o.strict, "strict", false, "tolerate nothing that the datasheet forbids, whoever does it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := serve(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// serve runs until ctx ends, and then reports to out.
func serve(ctx context.Context, o options, out io.Writer) (err error) {
	chip, ok := chips[o.chip]
	if !ok {
		return fmt.Errorf("chip %q: want 82599 or x540", o.chip)
	}
	mac, err := net.ParseMAC(o.mac)
	if err != nil || len(mac) != 6 {
		return fmt.Errorf("address %q: want six bytes, as 52:54:00:00:01:01", o.mac)
	}
	own, peer, ok := strings.Cut(o.wire, ",")
	if !ok {
		return fmt.Errorf("wire %q: want two paths with a comma", o.wire)
	}
	log := newTrace(nil)
	if o.trace != "" {
		f, err := os.Create(o.trace)
		if err != nil {
			return err
		}
		log = newTrace(f)
		defer func() { err = errors.Join(err, log.end(), f.Close()) }()
	}
	// The model calls for interrupts and frames, whose ways need the model.
	c := &card{chip: chip, config: configSpace(chip), trace: log}
	var w *wire
	memory := &later{}
	c.model, err = ixgbemodel.New(ixgbemodel.Config{
		Chip: chip, MAC: [6]byte(mac), Memory: memory, Trace: log.access, Strict: o.strict,
		Interrupt: c.interrupt, Line: c.line,
		Transmit: func(frame []byte) { w.send(frame) },
	})
	if err != nil {
		return err
	}
	s, err := vfiouser.Listen(o.socket, c, nil)
	if err != nil {
		return err
	}
	c.server, memory.Memory = s, s.Memory()
	if w, err = newWire(own, peer, func(f []byte) { c.model.Receive(f) }); err != nil {
		s.Close()
		return err
	}
	c.model.SetLink(true)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	<-ctx.Done()
	err = errors.Join(s.Close(), w.close(own))
	if e := <-served; !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, report(out, c, w))
}

// later is memory that is there when the server is.
type later struct{ *vfiouser.Memory }

// counted makes a line of what is the same but for the register, with the first.
func counted(kind string, violations []ixgbemodel.Violation) (lines []string) {
	type breach struct{ section, what string }
	times := map[breach]int{}
	var firsts []ixgbemodel.Violation
	for _, v := range violations {
		b := breach{v.Section, v.What}
		if times[b]++; times[b] == 1 {
			firsts = append(firsts, v)
		}
	}
	for _, v := range firsts {
		lines = append(lines, fmt.Sprintf("%s %s (%d times)", kind, v, times[breach{v.Section, v.What}]))
	}
	return lines
}

// report prints what is to be known of a run.
func report(out io.Writer, c *card, w *wire) error {
	lines := append(counted("violation", c.model.Violations()), counted("tolerated", c.model.Tolerated())...)
	if offsets := c.model.Unmodelled(); len(offsets) > 0 {
		lines = append(lines, fmt.Sprintf("unmodelled %#05x", offsets))
	}
	lines = append(lines,
		fmt.Sprintf("count reads %d", c.trace.reads),
		fmt.Sprintf("count writes %d", c.trace.writes),
		fmt.Sprintf("count lost %d", w.lost.Load()),
	)
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}
