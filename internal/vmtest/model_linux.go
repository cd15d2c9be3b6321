package vmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// modelProgram models cards that QEMU has not: a process for each, to which QEMU
// speaks vfio-user.
const (
	modelProgram = "link/vfio/internal/ixgbemodel/serve"
	modelBinary  = "model"
)

// served says whether the card is modelled by such a process.
func (c Card) served() bool { return c.Model == "82599" || c.Model == "x540" }

// Model is what the model of a card has to say when the machine is off.
type Model struct {
	Card Card
	// Violations are what the guest's driver did and the datasheet forbids.
	Violations []string
	// Lines are all that it printed: see link/vfio/internal/ixgbemodel/serve.
	Lines []string
}

// modelStart bounds the wait for a process's socket, on busy cores.
const modelStart = 20 * time.Second

// modelProcess is a model that runs.
type modelProcess struct {
	card   Card
	cmd    *exec.Cmd
	exited <-chan struct{}
	out    strings.Builder
	errors strings.Builder
}

// Sockets of card i in the machine's folder: of the device, and of both ends of
// its wire.
func cardSocket(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("card%d", i)) }
func cardWire(dir string, i int) string   { return filepath.Join(dir, fmt.Sprintf("wire%d", i)) }
func peerWire(dir string, i int) string   { return filepath.Join(dir, fmt.Sprintf("peer%d", i)) }

// startModel starts card i's process, and waits until QEMU can connect.
func startModel(ctx context.Context, cfg Config, dir, binary string, i int) (*modelProcess, error) {
	c := cfg.Cards[i]
	args := []string{
		"-socket", cardSocket(dir, i), "-chip", c.Model, "-mac", cardMAC(i),
		"-wire", cardWire(dir, i) + "," + peerWire(dir, i),
	}
	if cfg.Strict {
		args = append(args, "-strict")
	}
	if cfg.Traces != "" {
		args = append(args, "-trace", filepath.Join(cfg.Traces, fmt.Sprintf("%s-%s-%d.trace", c.Model, c.Driver, i)))
	}
	m := &modelProcess{card: c, cmd: exec.Command(binary, args...)}
	m.cmd.Stdout, m.cmd.Stderr = &m.out, &m.errors
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if m.exited, err = launch(m.cmd); err != nil {
		return nil, fmt.Errorf("vmtest: starting the model of %s: %w", c.Model, err)
	}
	ctx, cancel := context.WithTimeout(ctx, modelStart)
	defer cancel()
	for {
		// The socket is made last.
		if _, err := os.Stat(cardWire(dir, i)); err == nil {
			return m, nil
		}
		select {
		case <-m.exited:
			return nil, fmt.Errorf("vmtest: the model of %s ended: %s", c.Model, m.errors.String())
		case <-ctx.Done():
			_, err := m.stop()
			return nil, errors.Join(fmt.Errorf("vmtest: the model of %s has no socket: %w", c.Model, ctx.Err()), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the process, and returns what it has to say.
func (m *modelProcess) stop() (Model, error) {
	if err := m.cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return Model{}, fmt.Errorf("vmtest: the model of %s: %w", m.card.Model, err)
	}
	r := Model{Card: m.card}
	select {
	case <-m.exited:
	case <-time.After(grace):
		m.cmd.Process.Kill()
		<-m.exited
		return r, fmt.Errorf("vmtest: the model of %s did not end", m.card.Model)
	}
	for line := range strings.Lines(m.out.String()) {
		line = strings.TrimSpace(line)
		r.Lines = append(r.Lines, line)
		if v, ok := strings.CutPrefix(line, "violation "); ok {
			r.Violations = append(r.Violations, v)
		}
	}
	if s := m.errors.String(); s != "" || !m.cmd.ProcessState.Success() {
		return r, fmt.Errorf("vmtest: the model of %s: %v: %s", m.card.Model, m.cmd.ProcessState, s)
	}
	return r, nil
}

// models starts the process of each card that needs one. stop is to be called
// in any case.
func models(ctx context.Context, cfg Config, dir, binaries string) (stop func() ([]Model, error), err error) {
	var running []*modelProcess
	stop = func() (all []Model, err error) {
		for _, m := range running {
			r, e := m.stop()
			all, err = append(all, r), errors.Join(err, e)
		}
		return all, err
	}
	if cfg.Traces != "" {
		if err := os.MkdirAll(cfg.Traces, 0o755); err != nil {
			return stop, err
		}
	}
	for i, c := range cfg.Cards {
		if !c.served() {
			continue
		}
		m, err := startModel(ctx, cfg, dir, filepath.Join(binaries, modelBinary), i)
		if err != nil {
			return stop, err
		}
		running = append(running, m)
	}
	return stop, nil
}
