package guestdpdk

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
)

// Bounds of what testpmd takes, on an emulated machine with two busy processors.
const (
	startLimit   = 90 * time.Second // until its first prompt: memory, cards, rings
	commandLimit = 30 * time.Second // a command; the longest start or reset cards
	quitLimit    = 30 * time.Second
)

// pmd is a running dpdk-testpmd. It has a terminal, as its users have: into a pipe
// it would print in blocks, and nobody could tell which command has ended.
type pmd struct {
	t        testing.TB
	cmd      *exec.Cmd
	terminal *os.File
	exited   chan struct{} // closed when it has ended, with err
	err      error

	more chan struct{} // has a token after each addition to heard

	mu    sync.Mutex
	heard bytes.Buffer // all that it has printed
}

// prompt is what testpmd prints when it can take a command.
const prompt = "testpmd> "

// start runs testpmd on the cards, with further options of its own, until the
// test ends.
func start(t testing.TB, cards []guesttest.Card, options ...string) *pmd {
	t.Helper()
	program, err := exec.LookPath(testpmd)
	if err != nil {
		t.Skipf("needs dpdk-testpmd, of Debian's package dpdk, on the host: %v", err)
	}
	// Where DPDK keeps what it shares with other processes, which it must have.
	if err := os.MkdirAll("/var/run", 0o755); err != nil {
		t.Fatal(err)
	}
	// For the EAL: the first processor takes commands, the second forwards. It
	// leaves no files, and opens no socket, for others to find it by.
	args := []string{"-l", "0-1", "-n", "1", "--in-memory", "--no-telemetry"}
	for _, c := range cards {
		args = append(args, "-a", c.Address)
	}
	// For testpmd: small rings and few buffers, since a guest is small.
	args = append(args, "--", "--interactive", "--nb-cores=1", "--total-num-mbufs=8192", "--rxd=256", "--txd=256")
	p := &pmd{t: t, exited: make(chan struct{}), more: make(chan struct{}, 1)}
	p.cmd = exec.Command(program, append(args, options...)...)
	end := p.attach()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	var reading sync.WaitGroup
	reading.Go(p.listen)
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill() // if it was not told to quit, or did not
		<-p.exited
		reading.Wait()
		p.terminal.Close()
		if t.Failed() {
			t.Logf("testpmd printed:\n%s", p.printed(0))
		}
	})
	// Without cards it starts all the same.
	if said := p.await(0, startLimit); strings.Count(said, "Configuring Port ") != len(cards) {
		t.Fatal("testpmd did not take all cards")
	}
	return p
}

// attach makes the terminal, and returns the program's end of it.
func (p *pmd) attach() *os.File {
	p.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		p.t.Fatalf("a terminal for testpmd: %v", err)
	}
	p.terminal = os.NewFile(uintptr(fd), "/dev/ptmx")
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		p.t.Fatalf("a terminal for testpmd: %v", err)
	}
	end, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = end, end, end
	return end
}

// listen collects what testpmd prints, until nobody holds its end any more.
func (p *pmd) listen() {
	buf := make([]byte, 4096)
	for {
		n, err := p.terminal.Read(buf)
		p.mu.Lock()
		p.heard.Write(buf[:n])
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default: // there is one that nobody has taken
		}
		if err != nil { // EIO: the program has ended
			return
		}
	}
}

// printed is what testpmd has printed after the first so many bytes.
func (p *pmd) printed(from int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ReplaceAll(p.heard.String()[from:], "\r", "")
}

// await waits for the prompt after the first so many bytes, and returns what came
// before it.
func (p *pmd) await(from int, limit time.Duration) string {
	p.t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		if said, _, ready := strings.Cut(p.printed(from), prompt); ready {
			return said
		}
		select {
		case <-p.more:
		case <-p.exited:
			p.t.Fatalf("testpmd has ended (%v)", p.err)
		case <-late.C:
			p.t.Fatalf("no prompt of testpmd after %v", limit)
		}
	}
}

// do gives testpmd a command, and returns what it answers.
func (p *pmd) do(format string, args ...any) string {
	p.t.Helper()
	command := fmt.Sprintf(format, args...)
	p.mu.Lock()
	from := p.heard.Len()
	p.mu.Unlock()
	if _, err := p.terminal.WriteString(command + "\n"); err != nil {
		p.t.Fatalf("testpmd: %s: %v", command, err)
	}
	said := p.await(from, commandLimit)
	_, said, _ = strings.Cut(said, "\n") // behind the echo of the command
	for _, bad := range []string{"Bad arguments", "Command not found", "Ambiguous command", "Invalid port"} {
		if strings.Contains(said, bad) {
			p.t.Fatalf("testpmd: %s: %s", command, said)
		}
	}
	return said
}

// each gives it several, with a semicolon between them, or none.
func (p *pmd) each(commands string) {
	p.t.Helper()
	for c := range strings.SplitSeq(commands, ";") {
		if c != "" {
			p.do("%s", c)
		}
	}
}

// quit ends testpmd, which stops and closes its cards, and wants it to be content.
func (p *pmd) quit() {
	p.t.Helper()
	if _, err := p.terminal.WriteString("quit\n"); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exited:
		if p.err != nil {
			p.t.Fatalf("testpmd ended with %v", p.err)
		}
	case <-time.After(quitLimit):
		p.t.Fatalf("testpmd has not ended %v after it was told to", quitLimit)
	}
}
