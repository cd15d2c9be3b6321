package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/bench"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/report"
)

// Defaults of `oobnet bench`: five rounds give a median that two disturbed
// ones do not move, and half a second holds 100 000 round trips.
const (
	defaultRounds = 5
	defaultTurn   = 500 * time.Millisecond
)

type benchOptions struct {
	bench.Options
	json  bool
	check bool
	out   string
}

func benchCommand() *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench [suite]...",
		Short: "Compare with gVisor, the kernel and DPDK, interleaved in one run",
		Long: `bench measures ours and its peers in turns, round by round, and shows the
medians, their ratio, and the goals: green where they are met, red where not.

  loopback  receive and send of one datagram in memory: gVisor, kernel sockets
  raw       raw Ethernet against UDP, ours, and against packet sockets (root)
  scale     receive with 10 000 sockets, send with 64 000 peers, against one
  filter    1000 rules against one, here and in the kernel (root)
  queueing  an urgent frame in a flood: strict priority against FIFO
  vfio      the drivers of link/vfio on a device that costs nothing
  veth      a real wire (root): the kernel, and dpdk-testpmd when installed`,
		Example: `  oobnet bench loopback filter
  sudo oobnet bench --json --out result.json`,
		ValidArgs: bench.Suites,
		RunE: func(c *cobra.Command, suites []string) error {
			o.Suites = append(o.Suites, suites...)
			return runBench(c, o)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Suites, "suite", nil, "suites to run: "+strings.Join(bench.Suites, ", ")+" (default all)")
	f.StringSliceVar(&o.Only, "only", nil, "run only what these rows need, such as rx64,tx_pps_sendmmsg")
	f.IntVar(&o.Rounds, "rounds", defaultRounds, "rounds of each contest")
	f.DurationVar(&o.Turn, "turn", defaultTurn, "how long one contender measures in one round")
	f.BoolVar(&o.json, "json", false, "print the rows as a JSON array")
	f.StringVar(&o.out, "out", "", "write rows, samples and machine to this file")
	f.BoolVar(&o.check, "check", false, "exit with 1 if a goal was missed")
	return c
}

// validate refuses what Run would only find out later.
func (o benchOptions) validate() error {
	switch {
	case o.Rounds < 1:
		return fmt.Errorf("--rounds %d: want at least 1", o.Rounds)
	case o.Turn < time.Millisecond || o.Turn > time.Minute:
		return fmt.Errorf("--turn %v: want 1ms to 1m", o.Turn)
	}
	for _, s := range o.Suites {
		if !slices.Contains(bench.Suites, s) {
			return fmt.Errorf("no suite %q: want one of %s", s, strings.Join(bench.Suites, ", "))
		}
	}
	return nil
}

func runBench(c *cobra.Command, o benchOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	o.Progress = c.ErrOrStderr()
	rec, err := bench.Run(c.Context(), o.Options)
	if rec == nil {
		return err
	}
	rec.Command = append([]string{"oobnet"}, os.Args[1:]...)
	// What was measured until an error or an interrupt is shown all the same.
	return errors.Join(err, o.show(c.OutOrStdout(), rec), o.record(rec), o.judge(rec))
}

func (o benchOptions) show(w io.Writer, rec *bench.Record) error {
	if o.json {
		rows := rec.Rows
		if rows == nil {
			rows = []report.Row{} // an empty array, not null
		}
		return writeJSON(w, rows)
	}
	f, ok := w.(*os.File)
	return report.Table(w, rec.Rows, ok && wantsColour(f))
}

func (o benchOptions) record(rec *bench.Record) error {
	if o.out == "" {
		return nil
	}
	f, err := os.Create(o.out)
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return errors.Join(writeJSON(f, rec), f.Close())
}

func (o benchOptions) judge(rec *bench.Record) error {
	if n := report.Missed(rec.Rows); o.check && n > 0 {
		return fmt.Errorf("%d of %d goals missed", n, goals(rec.Rows))
	}
	return nil
}

func goals(rows []report.Row) (n int) {
	for _, r := range rows {
		if r.Goal != nil {
			n++
		}
	}
	return n
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
