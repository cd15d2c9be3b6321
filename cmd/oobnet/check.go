package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/check"
	"github.com/oobnet/oobnet/cmd/oobnet/internal/machine"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/link/vfio"
)

func checkCommand() *cobra.Command {
	var (
		file   string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "check PCI-ADDR",
		Short: "Test a NIC of link/vfio by itself, and write a report to send",
		Long: `check opens a NIC that is bound to vfio-pci and tests what a driver has to get right:
resets, the link, frames of all lengths, queues, checksums, VLAN tags, the hash that
spreads flows, address filters, interrupts, hardware times, full speed, and closing in
the midst of it. Most is done with the NIC's own loopback: it needs no cable and no
partner, and nothing leaves the NIC. It takes half a minute. It exits with 1 if
anything fails.

The drivers of link/vfio are written from datasheets, and tested on models of the NICs:
none has met silicon yet. If you have such a NIC, send the report to the project, be it
all passes or not. It names the card, the machine and what came of each test, and no
addresses but the card's own.`,
		Example: `  sudo modprobe vfio-pci
  sudo oobnet bind 0000:02:00.0
  sudo oobnet check 0000:02:00.0 --report report.txt
  sudo oobnet unbind 0000:02:00.0`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			card, err := check.Describe(pci.Sys, args[0])
			if err != nil {
				return err
			}
			r := &check.Report{When: time.Now(), Card: card, Machine: machine.Describe()}
			var kept bytes.Buffer
			w := io.MultiWriter(c.OutOrStdout(), &kept)
			if asJSON {
				w = &kept
			}
			if err := runCheck(c, r, w); err != nil {
				return err
			}
			if file != "" {
				if err := os.WriteFile(file, kept.Bytes(), 0o644); err != nil {
					return fmt.Errorf("check: the report: %w", err)
				}
			}
			if asJSON {
				if err := writeJSON(c.OutOrStdout(), r); err != nil {
					return err
				}
			}
			if n := check.Failed(r.Steps); n > 0 {
				return fmt.Errorf("%d of %d tests failed", n, len(r.Steps))
			}
			return c.Context().Err()
		},
	}
	c.Flags().StringVar(&file, "report", "", "write the report to this file, too")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// runCheck writes the report as it grows.
func runCheck(c *cobra.Command, r *check.Report, w io.Writer) error {
	if err := r.WriteHead(w); err != nil {
		return err
	}
	var failed error
	open := func(cfg *vfio.Config) (check.NIC, error) {
		l, err := vfio.Open(r.Card.Addr, cfg)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	r.Steps = check.Run(c.Context(), open, func(s check.Step) {
		failed = errors.Join(failed, check.WriteStep(w, s))
	})
	return errors.Join(failed, r.WriteEnd(w))
}
