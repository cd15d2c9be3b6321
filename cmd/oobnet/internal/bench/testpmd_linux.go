package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/oobnet/oobnet/internal/netns"
)

// testpmdBinary is what Debian's package dpdk installs.
const testpmdBinary = "dpdk-testpmd"

// testpmdAbsent says why testpmd cannot be a peer here, nil if it can.
func testpmdAbsent() error {
	if _, err := exec.LookPath(testpmdBinary); err != nil {
		return errSkip{"no " + testpmdBinary + " on this machine: apt-get install dpdk"}
	}
	return nil
}

// Time limits of testpmd.
const (
	testpmdStart = 10 * time.Second // it takes about one second
	testpmdReply = 5 * time.Second
	testpmdExit  = 5 * time.Second
)

// testpmd is a running dpdk-testpmd, for one goroutine.
type testpmd struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	exited chan struct{}
	last   []string // the latest lines, for the error when it dies
}

// testpmdArgs is the command line: DEV of the form, and in addition
// the cores; no files shared with other DPDK processes; a pool of buffers that
// fits the memory (sized for two cores, the default does not); and frames of
// the size that ours has. Its commands come from standard input.
func testpmdArgs(dev, mode string, mainCPU, workCPU, frame int) []string {
	return []string{
		"-l", fmt.Sprintf("%d,%d", mainCPU, workCPU), "--main-lcore", strconv.Itoa(mainCPU),
		"--no-shconf", "--no-huge", "-m", "512", "--no-pci",
		"-d", "librte_net_af_xdp.so", "-d", "librte_mempool_ring.so",
		"--vdev", "net_af_xdp0,iface=" + dev + ",start_queue=0,queue_count=1,busy_budget=0",
		"--", "--forward-mode=" + mode, "--nb-cores=1",
		"--total-num-mbufs=16384", "--txpkts=" + strconv.Itoa(frame), "--interactive", "--auto-start",
	}
}

// startTestpmd starts it on a host and waits until it forwards.
func startTestpmd(ctx context.Context, h *netns.Host, mode string, frame int) (*testpmd, error) {
	// Into a pipe it would write only at its end: stdbuf (coreutils) makes it
	// write by lines.
	args := append([]string{"-oL", testpmdBinary}, testpmdArgs(h.IfName, mode, loadCPU, ownCPU, frame)...)
	cmd := exec.Command("stdbuf", args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	detach(cmd)
	if err := h.DoErr(cmd.Start); err != nil {
		return nil, fmt.Errorf("testpmd: %w", err)
	}
	p := &testpmd{cmd: cmd, in: in, lines: make(chan string), exited: make(chan struct{})}
	go p.read(out)
	// It answers commands only when it has started to forward.
	if _, err := p.stats(ctx, testpmdStart); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// read hands on the lines until the output ends, and reaps the process.
func (p *testpmd) read(out io.Reader) {
	for scan := bufio.NewScanner(out); scan.Scan(); {
		p.lines <- scan.Text()
	}
	close(p.lines)
	_ = p.cmd.Wait() // how it ended tells nothing: it is killed where it does not go
	close(p.exited)
}

// portStats are the figures of `show port stats`.
type portStats struct {
	rxPackets, txPackets uint64
	rxPPS, txPPS         uint64 // since the last show
}

// parse takes one line and says whether it was the last of the block.
func (s *portStats) parse(line string) bool {
	words := strings.Fields(line)
	for i := 0; i+1 < len(words); i++ {
		v, err := strconv.ParseUint(words[i+1], 10, 64)
		if err != nil {
			continue
		}
		switch words[i] {
		case "RX-packets:":
			s.rxPackets = v
		case "TX-packets:":
			s.txPackets = v
		case "Rx-pps:":
			s.rxPPS = v
		case "Tx-pps:":
			s.txPPS = v
			return true
		}
	}
	return false
}

// stats asks for the port's counters.
func (p *testpmd) stats(ctx context.Context, limit time.Duration) (portStats, error) {
	var s portStats
	if _, err := io.WriteString(p.in, "show port stats 0\n"); err != nil {
		return s, p.death(err)
	}
	timeout := time.After(limit)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return s, p.death(errors.New("it ended"))
			}
			if p.last = append(p.last, line); len(p.last) > 4 {
				p.last = p.last[1:]
			}
			if s.parse(line) {
				return s, nil
			}
		case <-ctx.Done():
			return s, ctx.Err()
		case <-timeout:
			return s, p.death(fmt.Errorf("no statistics within %v", limit))
		}
	}
}

func (p *testpmd) death(err error) error {
	return fmt.Errorf("testpmd: %w; it said: %s", err, strings.Join(p.last, " / "))
}

// receiveRate counts for d and returns packets a second, by its own clock.
func (p *testpmd) receiveRate(ctx context.Context, d time.Duration) (float64, error) {
	if _, err := p.stats(ctx, testpmdReply); err != nil {
		return 0, err
	}
	time.Sleep(d)
	s, err := p.stats(ctx, testpmdReply)
	return float64(s.rxPPS), err
}

// stop ends it and waits until it is gone, the XDP program with it.
func (p *testpmd) stop() {
	_, _ = io.WriteString(p.in, "stop\nquit\n") // it may be gone already
	p.in.Close()
	go func() {
		for range p.lines { // lets read come to its end
		}
	}()
	select {
	case <-p.exited:
	case <-time.After(testpmdExit):
		p.cmd.Process.Kill()
		<-p.exited
	}
}
