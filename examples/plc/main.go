// Plc is a controller of 12 drives, with a cycle of 1 ms: 8 drives speak UDP, 4
// are slaves in a line of EtherCAT. Inputs, control and outputs are one
// real-time thread; the network has none.
//
//	    one thread, 1 kHz                  an ordinary goroutine
//	┌────────────────────────┐               ┌────────────────┐
//	│ Poll ─▶ control ─▶ send│ loop.go       │ ask ─▶ read ─▶ │ mailbox.go
//	└──▲──────────────────┬──┘               └──┬──────────▲──┘
//	   │ answers          │ priority 7          │ priority 0
//	┌──┴──────────────────▼─────────────────────▼──────────┴──┐
//	│ stack in manual mode: UDP, raw Ethernet, strict priority│
//	└────────────────────────────┬────────────────────────────┘
//	                             │ a wire: in memory, AF_XDP, VFIO
//	         8 drives, UDP ──────┴────── 4 slaves, EtherCAT      drives.go, ethercat.go
//
// Started alone, the wire is in memory and the thread moves the drives too: that
// takes no privileges. On a wire the drives are another process, and the loop is
// the same; it speaks EtherCAT's cyclic frames, and does not configure real slaves:
//
//	plc -i eth2 -drives                         # AF_XDP
//	plc -i eth1 -cpu 3, or -i 0000:03:00.0      # AF_XDP, or VFIO
//
// The README says what keeps the cycle quiet, and what that was measured to give.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/rt"
)

const period = time.Millisecond

func main() {
	wire := flag.String("i", "", "interface (AF_XDP) or PCI address (VFIO); none: a wire in memory")
	drives := flag.Bool("drives", false, "be the drives, at the other end of -i")
	last := flag.Duration("t", 5*time.Second, "how long")
	cpu := flag.Int("cpu", -1, "CPU for the cycle's thread; -1: any")
	memory := flag.Int64("memory", 512, "MiB to use before garbage is collected; 0: as Go does")
	rate := flag.Int("garbage", 0, "MB/s of garbage to make elsewhere in the process")
	flag.Parse()
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if *drives {
		d := newDrives(openLink(*wire))
		fmt.Println("drives on", d.device.Name())
		d.serve(ctx)
		check(d.close())
		return
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + 2) // a P to spare for whoever wakes up
	c := open(*wire)
	c.meet(ctx)
	ctx, cancel := context.WithTimeout(ctx, *last)
	defer cancel()
	cfg := &rt.Config{Period: period, Name: "plc", Priority: 80, Spin: 50 * time.Microsecond, Lock: rt.LockOnFault}
	if *cpu >= 0 {
		cfg.CPUs = []int{*cpu}
	}
	c.run(ctx, os.Stdout, cfg, *memory<<20, *rate)
	check(c.close())
}

// run runs the cycle until ctx ends, and beside it what has time, and reports.
func (c *controller) run(ctx context.Context, out io.Writer, cfg *rt.Config, memory int64, garbage int) *rt.Cycle {
	cycle := must(rt.NewCycle(cfg))
	var beside sync.WaitGroup
	beside.Go(func() { c.mailbox.talk(ctx) })
	beside.Go(func() { c.watch(ctx, out) })
	beside.Go(func() { litter(ctx, garbage) })
	loop := func() {
		if err := cycle.Run(ctx, c.cycle); ctx.Err() == nil {
			check(err)
		}
	}
	if memory > 0 {
		rt.QuietUnder(memory, loop)
	} else {
		loop()
	}
	beside.Wait()
	for _, refused := range cycle.Report().Refused {
		fmt.Fprintln(out, refused)
	}
	c.report(out, cycle)
	return cycle
}
