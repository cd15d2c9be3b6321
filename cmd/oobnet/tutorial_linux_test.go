package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netns"
)

// commandEnv tells this test binary to be the command itself.
const commandEnv = "OOBNET_TEST_COMMAND"

func init() {
	if os.Getenv(commandEnv) != "" {
		os.Exit(run(os.Args[1:]))
	}
}

// step is a command of the tutorial and what it prints.
type step struct {
	command string
	want    string
}

// tutorial reads the console of the README's section.
func tutorial(t *testing.T) (steps []step) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Manage a running stack\n")
	if !ok {
		t.Fatal("the README has no such section")
	}
	_, console, _ := strings.Cut(section, "```console\n")
	console, _, _ = strings.Cut(console, "```")
	here := false // in a here document
	for line := range strings.Lines(console) {
		switch last := len(steps) - 1; {
		case here:
			steps[last].command += line
			here = line != "END\n"
		case strings.HasPrefix(line, "# "):
			steps = append(steps, step{command: line[2:]})
			here = strings.Contains(line, "<<END")
		default:
			steps[last].want += line
		}
	}
	if len(steps) < 20 {
		t.Fatalf("%d steps only", len(steps))
	}
	return steps
}

// received are the figures of the walk that may differ from run to run: what a
// kernel asks by ARP once more is received, too. They are the fields, from 0, of
// what a command prints, and have to be what the README has at least.
var received = map[string][]int{
	"evl net -QoRTf -i eth1\n":       {2},
	"evl net -QrRtTsfacxo -i eth1\n": {2, 3},
}

// sameFigures puts the README's figures in the place of larger ones that may be.
func sameFigures(command, got, want string) string {
	fields, wanted := strings.Fields(got), strings.Fields(want)
	for _, i := range received[command] {
		if i >= len(fields) || i >= len(wanted) {
			return got
		}
		a, errA := strconv.ParseUint(fields[i], 10, 64)
		b, errB := strconv.ParseUint(wanted[i], 10, 64)
		if errA != nil || errB != nil || a < b {
			return got
		}
		fields[i] = wanted[i]
	}
	if received[command] == nil {
		return got
	}
	return strings.Join(fields, " ") + "\n"
}

// TestTutorial runs the README's walk through evl-net's documentation, line by
// line in one shell, in namespaces of its own: what it makes ends with it. The
// oobnet in its PATH is this test binary.
func TestTutorial(t *testing.T) {
	if err := netns.Available(); err != nil {
		t.Skipf("no network namespaces here (run as root): %v", err)
	}
	for _, tool := range []string{"unshare", "bash", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	leaktest.Check(t)
	bin := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(bin, "oobnet"))
	}
	if err != nil {
		t.Fatal(err)
	}
	steps := tutorial(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	sh := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-c", "mount -t tmpfs none /run && exec bash")
	sh.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	sh.Dir = "../.."
	sh.Env = append(os.Environ(), commandEnv+"=1", "PATH="+bin+":"+os.Getenv("PATH"))
	sh.Env = append(sh.Env, socketEnv+"=") // the tutorial's own
	const mark = "=== step "
	var script strings.Builder
	script.WriteString("set -m; exec 2>&1\n")
	for i, s := range steps {
		script.WriteString(s.command)
		if strings.HasSuffix(s.command, "&\n") {
			// What a person waits for is the line that it prints.
			script.WriteString("for i in $(seq 600); do [ -S /run/oobnet.sock ] && break; sleep 0.05; done; sleep 0.5\n")
		}
		fmt.Fprintf(&script, "echo '%s'%d\n", mark, i)
	}
	sh.Stdin = strings.NewReader(script.String())
	var out bytes.Buffer
	sh.Stdout, sh.Stderr = &out, &out
	if err := sh.Run(); err != nil {
		t.Errorf("the shell: %v", err)
	}
	for command := range received {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.command == command }) {
			t.Errorf("the README has no %s", command)
		}
	}
	rest := out.String()
	for i, s := range steps {
		got, behind, ok := strings.Cut(rest, fmt.Sprintf("%s%d\n", mark, i))
		if !ok {
			t.Fatalf("it ended in %q: %s", s.command, rest)
		}
		rest = behind
		if sameFigures(s.command, got, s.want) != s.want {
			t.Errorf("# %sprints\n%sand not\n%s", s.command, got, s.want)
		}
	}
}
