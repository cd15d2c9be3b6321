// Plc is a controller of 12 drives, with a cycle of 1 ms: 8 drives speak UDP, 4
// are slaves in a line of EtherCAT. Inputs, control and outputs are one
// real-time thread; the network has none of its own.
//
//	      the cycle's thread, 1 kHz               an ordinary goroutine
//	┌────────────────────────────────────┐         ┌──────────────┐
//	│ Poll ──▶ control ──▶ send ──▶ post │◀────────│ mailbox: ask │
//	└──▲────────────────────┬────────┬───┘         │         read │
//	   │ answers, prio. 7   │ 7      │ 0           └───────────▲──┘
//	┌──┴────────────────────▼────────▼─────────────────────────┴──┐
//	│ stack: manual mode, strict priority; UDP and raw Ethernet   │
//	└──────────────────────────────┬──────────────────────────────┘
//	     a wire: memory, AF_XDP or VFIO ── 8 drives ── 4 slaves
//
// Started alone it needs no privileges: the wire is in memory, and the thread
// moves the drives too. On a real wire they are another process, and the loop is
// the same: it speaks EtherCAT's cyclic frames (real slaves want to be set up first).
// README.md says what keeps the cycle quiet, and what was measured.
//
//	plc -i eth2 -drives            # at the one end
//	plc -i eth1 -cpu 3             # at the other, by AF_XDP; by VFIO: -i 0000:03:00.0
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
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
		newDrives(openLink(*wire)).serve(ctx)
		return
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + 2) // a P to spare for whoever wakes up
	c := open(*wire)
	c.meet(ctx)
	ctx, cancel := context.WithTimeout(ctx, *last)
	defer cancel()
	cfg := rt.Config{Period: period, Name: "plc", Priority: 80, Spin: 50 * time.Microsecond, Lock: rt.LockOnFault}
	if *cpu >= 0 {
		cfg.CPUs = []int{*cpu}
	}
	c.run(ctx, os.Stdout, &cfg, *memory<<20, *rate)
	check(c.close())
}

// run runs the cycle until ctx ends, and beside it what has time, and reports.
func (c *controller) run(ctx context.Context, out io.Writer, cfg *rt.Config, memory int64, garbage int) *rt.Cycle {
	cycle := must(rt.NewCycle(cfg))
	beside := c.beside(ctx, out, garbage)
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
	c.report(out, cycle)
	return cycle
}
