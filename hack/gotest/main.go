// Gotest runs "go test -json" with its arguments and prints what a person
// wants to see of it: the line of each package, all of a failed test, and each
// skipped test with its reason. With SKIPS=file in the environment the skips
// are appended to that file too, one a line, for a summary at the end.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is one line of go test -json: see go doc test2json.
type event struct {
	Action, Package, Test, Output string
}

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(2)
	}
	os.Exit(code)
}

// run returns the exit code of go test.
func run(args []string, out io.Writer) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	skips, err := show(stdout, out)
	if err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	// The exit status is go test's own verdict, and more than the sum of the events.
	if err := cmd.Wait(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			return 0, err
		}
		return exit.ExitCode(), note(skips)
	}
	return 0, note(skips)
}

func note(skips []string) error {
	name := os.Getenv("SKIPS")
	if name == "" || len(skips) == 0 {
		return nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(skips, "\n") + "\n")
	return errors.Join(err, f.Close())
}

// show prints the events and returns the skipped tests with their reasons.
func show(events io.Reader, out io.Writer) (skips []string, err error) {
	type test struct{ pkg, name string }
	said := map[test]*strings.Builder{}
	var failed []test // packages, in order
	for dec := json.NewDecoder(events); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return skips, fmt.Errorf("read the events of go test: %w", err)
		}
		key := test{e.Package, e.Test}
		switch {
		case e.Action == "build-output":
			fmt.Fprint(out, e.Output)
		case e.Test == "" && e.Action == "output":
			if e.Output != "PASS\n" && !strings.Contains(e.Output, "[no test files]") {
				fmt.Fprint(out, e.Output)
			}
		case e.Test == "" && e.Action == "fail":
			failed = append(failed, key)
		case e.Action == "output":
			if said[key] == nil {
				said[key] = &strings.Builder{}
			}
			said[key].WriteString(e.Output)
		case e.Action == "fail":
			fmt.Fprint(out, text(said[key]))
			delete(said, key)
		case e.Test == "" && e.Action == "skip": // a package without tests
		case e.Action == "skip":
			skip := fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(text(said[key])))
			skips = append(skips, skip)
			fmt.Fprintln(out, "SKIP", skip)
			delete(said, key)
		case e.Action == "pass":
			delete(said, key)
		}
	}
	// A test that was cut off, by a panic or the time limit, has no verdict of
	// its own: what it said explains its package's.
	for _, pkg := range failed {
		for key, b := range said {
			if key.pkg == pkg.pkg {
				fmt.Fprint(out, text(b))
			}
		}
	}
	return skips, nil
}

func text(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}

// reason is what a skipped test said, on one line, without the marks of the
// testing package.
func reason(said string) string {
	var words []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		words = append(words, line)
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.Join(words, " ")
}
