// Cmd compares traces of two drivers, or folds one.
//
//	go run ./link/vfio/internal/ixgbetrace/cmd linux.txt ours.txt
//	go run ./link/vfio/internal/ixgbetrace/cmd -fold 82599-ixgbe-0.trace >linux-82599.txt
//
// A trace may be as it was recorded, or folded.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/oobnet/oobnet/link/vfio/internal/ixgbetrace"
)

func main() {
	fold := flag.Bool("fold", false, "print the one trace, folded")
	flag.Parse()
	if err := run(os.Stdout, *fold, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "ixgbetrace:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, fold bool, files []string) error {
	if want := map[bool]int{true: 1, false: 2}[fold]; len(files) != want {
		return fmt.Errorf("%d files, want %d: see go doc", len(files), want)
	}
	var traces [][]ixgbetrace.Folded
	for _, f := range files {
		t, err := load(f)
		if err != nil {
			return err
		}
		traces = append(traces, t)
	}
	if fold {
		return ixgbetrace.Write(w, traces[0])
	}
	return table(w, ixgbetrace.Compare(traces[0], traces[1]))
}

func load(file string) ([]ixgbetrace.Folded, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ixgbetrace.Load(f)
}

func table(w io.Writer, all []ixgbetrace.Difference) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join([]string{"task", "register", "first", "second"}, "\t"))
	for _, d := range all {
		fmt.Fprintln(t, strings.Join([]string{d.Task, d.Register, d.A, d.B}, "\t"))
	}
	return t.Flush()
}
