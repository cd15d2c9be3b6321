package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manEpoch dates the pages where SOURCE_DATE_EPOCH does not, so that the same
// program always writes the same.
var manEpoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write manual pages, one for each command",
		Long: `man writes manual pages (section 1) for oobnet and each of its commands into a
folder, which it makes if need be. SOURCE_DATE_EPOCH dates them.`,
		Example: `  oobnet man man1 && man -l man1/oobnet-status.1
  sudo oobnet man /usr/local/share/man/man1`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			root := c.Root()
			// Its line in each page would have the day on which it was made.
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "oobnet", Manual: "oobnet"}
			if os.Getenv("SOURCE_DATE_EPOCH") == "" {
				header.Date = &manEpoch
			}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("man: %w", err)
			}
			return nil
		},
	}
}
