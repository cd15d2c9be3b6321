// Command oobnet shows, measures and manages the out-of-band network stack.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/worker"
	"github.com/oobnet/oobnet/internal/pci"
)

// Exit codes besides 0.
const (
	exitFailed      = 1
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

func main() {
	worker.Main() // does not return in a worker process of `oobnet bench`
	os.Exit(run(os.Args[1:]))
}

// run executes a command line and returns the exit code. The first interrupt
// ends the command in good order, a second one at once.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(root.ErrOrStderr(), "oobnet: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(root.ErrOrStderr(), "oobnet: %v\n", err)
	// Some commands' errors carry the exit code that another tool gave them.
	var own interface{ ExitCode() int }
	if errors.As(err, &own) {
		return own.ExitCode()
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "oobnet",
		Short: "An out-of-band network stack for Go programs",
		Long: `oobnet shows and measures the out-of-band network stack: UDP and raw Ethernet
in user space, with no kernel, no lock and no allocation between the
application and the network card.`,
		// Errors are one line with the way out; a page of usage would hide it.
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		demoCommand(),
		doctorCommand(), checkCommand(),
		netCommand(), serveCommand(), dumpCommand(),
		statusCommand(), pingCommand(), neighCommand(), routeCommand(), statsCommand(),
		bindCommand(pci.System()), unbindCommand(pci.System()),
		latmusCommand(), benchCommand(),
		manCommand(),
	)
	return root
}

// isTerminal says whether live lines and colours make sense on f.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// wantsColour follows https://no-color.org.
func wantsColour(f *os.File) bool { return isTerminal(f) && os.Getenv("NO_COLOR") == "" }
