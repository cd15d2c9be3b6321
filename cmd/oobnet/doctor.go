package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/doctor"
)

func doctorCommand() *cobra.Command {
	var (
		ifname string
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine and a NIC of it can give, and how to mend what they cannot",
		Long: `doctor looks at what the stage depends on: kernel, rights, memory, CPUs, IOMMU, and
with -i a network interface. Each line is ok, warn (it works, with a worse worst
case or less speed than it could have) or bad (something does not work). What is
not ok says why, and what mends it: a command, a setting, or where the cause is
seen. It changes nothing. It exits with 1 if anything is bad.

What needs rights is judged by those that doctor runs with: ask as the user, or
in the unit, that the program is to have.`,
		Example: `  oobnet doctor
  sudo oobnet doctor -i eth1
  sudo oobnet doctor -i eth1 --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			host := doctor.LookAtHost()
			findings := host.Judge()
			if ifname != "" {
				card, err := doctor.LookAtCard(ifname)
				if err != nil {
					return err
				}
				findings = append(findings, card.Judge(host)...)
			}
			w := c.OutOrStdout()
			if asJSON {
				if err := writeJSON(w, findings); err != nil {
					return err
				}
			} else {
				f, ok := w.(*os.File)
				if err := doctor.Write(w, findings, ok && wantsColour(f)); err != nil {
					return err
				}
			}
			if n := doctor.Count(findings, doctor.Bad); n > 0 {
				return fmt.Errorf("%d of %d lines are bad", n, len(findings))
			}
			return nil
		},
	}
	c.Flags().StringVarP(&ifname, "interface", "i", "", "look at this network interface, too")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return c
}
