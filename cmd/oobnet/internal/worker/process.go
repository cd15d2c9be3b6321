package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Time limits of the conversation: a worker that does not answer is killed.
const (
	// startLimit covers attaching an XDP program and an AF_XDP socket, whose
	// queue a worker before may hold for some 100 ms after its death.
	startLimit = 10 * time.Second
	// answerLimit is on top of the time of the run.
	answerLimit = 5 * time.Second
	// exitLimit is for closing; after it the worker is killed.
	exitLimit = 3 * time.Second
)

// Process is a running worker, for one goroutine at a time.
type Process struct {
	role   Role
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan reply
	exited chan struct{}
	// running: a run was asked for and not answered.
	running bool
}

// Enter runs a function where the worker is to live: netns.Host.DoErr.
type Enter func(func() error) error

// Start starts a worker and waits until it is ready. The caller stops it.
func Start(ctx context.Context, enter Enter, s Spec) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	spec, err := s.encode()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), EnvVar+"="+spec)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	ownGroup(cmd)
	if err := enter(cmd.Start); err != nil {
		return nil, fmt.Errorf("worker %s: %w", s.Role, err)
	}
	p := &Process{role: s.Role, cmd: cmd, in: in, lines: make(chan reply), exited: make(chan struct{})}
	go p.read(out)
	r, err := p.answer(ctx, startLimit)
	if err == nil && !r.Ready {
		err = errors.New("no word of being ready")
	}
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("worker %s: %w", s.Role, err)
	}
	return p, nil
}

// read hands on the worker's lines until its output ends, and reaps it.
func (p *Process) read(out io.Reader) {
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		var r reply
		if err := json.Unmarshal(scan.Bytes(), &r); err != nil {
			r = reply{Error: fmt.Sprintf("unreadable answer %q", scan.Text())}
		}
		p.lines <- r
	}
	close(p.lines)
	_ = p.cmd.Wait() // how it ended tells nothing: it is killed where it does not go
	close(p.exited)
}

func (p *Process) answer(ctx context.Context, limit time.Duration) (reply, error) {
	select {
	case r, ok := <-p.lines:
		switch {
		case !ok:
			return r, errors.New("died without an answer")
		case r.Error != "":
			return r, errors.New(r.Error)
		}
		return r, nil
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-time.After(limit):
		return reply{}, fmt.Errorf("no answer within %v", limit)
	}
}

// Run lets the worker measure for d and returns its figures.
func (p *Process) Run(ctx context.Context, d time.Duration) (Figures, error) {
	b, err := json.Marshal(request{Run: d})
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("worker %s: %w", p.role, err)
	}
	p.running = true
	r, err := p.answer(ctx, d+answerLimit)
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", p.role, err)
	}
	p.running = false
	return r.Figures, nil
}

// Stop ends the worker and waits until it is gone. One in the middle of a run
// is killed: it looks at its input only between two.
func (p *Process) Stop() {
	if p.running {
		p.cmd.Process.Kill()
	}
	p.in.Close()
	go func() {
		for range p.lines { // lets read come to its end
		}
	}()
	select {
	case <-p.exited:
	case <-time.After(exitLimit):
		p.cmd.Process.Kill()
		<-p.exited
	}
}
