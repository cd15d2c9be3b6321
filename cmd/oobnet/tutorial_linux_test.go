package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// digits: figures differ from run to run, where a kernel asks by ARP once more.
var digits = regexp.MustCompile(`\d+`)

// TestTutorial runs the README's walk through evl-net's documentation, line by
// line in one shell, in namespaces of its own: what it makes ends with it.
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
	rest := out.String()
	for i, s := range steps {
		got, behind, ok := strings.Cut(rest, fmt.Sprintf("%s%d\n", mark, i))
		if !ok {
			t.Fatalf("it ended in %q: %s", s.command, rest)
		}
		rest = behind
		if got, want := digits.ReplaceAllString(got, "N"), digits.ReplaceAllString(s.want, "N"); got != want {
			t.Errorf("# %sprints\n%sand not\n%s", s.command, got, want)
		}
	}
}
