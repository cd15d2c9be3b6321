// Guest is the first and only program of a virtual machine that runs tests:
// the kernel starts it as /init. It prepares the machine by the plan that the
// host has put beside it, runs the test binaries one after the other, hands on
// what they print, and powers off.
//
// It talks on the second serial port; the first is the kernel's console, which
// it writes to only when it cannot go on.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the first process of a virtual machine: see internal/vmtest")
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	// What is in the serial ports' queues gets out before the power goes off.
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "guest: power off:", err)
	}
	select {} // the first process must not end; the host's deadline is near
}

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	results, err := inside.OpenPort(inside.ResultPort)
	if err != nil {
		return err
	}
	defer func() {
		if err := inside.Drain(results); err != nil {
			fmt.Fprintln(os.Stderr, "guest:", err)
		}
	}()
	out := &port{f: results}
	plan, err := prepare()
	if err != nil {
		out.event(inside.Event{Kind: inside.Fatal, Text: err.Error()})
		return err
	}
	out.event(inside.Event{Kind: inside.Ready, Text: release()})
	for i, r := range plan.Runs {
		out.event(inside.Event{Kind: inside.Start, Run: i})
		start := time.Now()
		status := out.execute(r, plan.Cards)
		out.event(inside.Event{Kind: inside.End, Run: i, Status: status, Seconds: time.Since(start).Seconds()})
		if err := tidy(plan.Cards); err != nil {
			err = fmt.Errorf("after %s: %w", r.Name, err)
			out.event(inside.Event{Kind: inside.Fatal, Text: err.Error()})
			return err
		}
	}
	out.event(inside.Event{Kind: inside.Done})
	return nil
}

// mounts are the file systems that tests find on any machine.
var mounts = []struct{ kind, at string }{
	{"proc", "/proc"},
	{"sysfs", "/sys"},
	{"devtmpfs", "/dev"},
	{"tmpfs", "/tmp"},
	{"tmpfs", "/run"},
	{"tmpfs", "/dev/shm"},
	{"devpts", "/dev/pts"},
	{"bpf", "/sys/fs/bpf"},
	{"debugfs", "/sys/kernel/debug"},
	{"tracefs", "/sys/kernel/tracing"},
	{"cgroup2", "/sys/fs/cgroup"},
	{"hugetlbfs", "/dev/hugepages"},
}

func mountAll() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		err := unix.Mount(m.kind, m.at, m.kind, 0, "")
		// A kernel without one of the lesser ones runs what does not need it.
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	// The first root is everybody's to write to, which careful programs refuse.
	if err := os.Chmod("/", 0o755); err != nil {
		return err
	}
	// Namespaces of tests are mounts, which must not spread.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// prepare reads the plan and does all that comes before the first run.
func prepare() (*inside.Plan, error) {
	raw, err := os.ReadFile(inside.PlanFile)
	if err != nil {
		return nil, err
	}
	plan := new(inside.Plan)
	if err := json.Unmarshal(raw, plan); err != nil {
		return nil, fmt.Errorf("%s: %w", inside.PlanFile, err)
	}
	// Debian's default, fq_codel, lets one flow overtake another and drops when
	// a queue is long: to a test that is a wire that reorders and loses.
	if err := os.WriteFile("/proc/sys/net/core/default_qdisc", []byte("pfifo_fast"), 0); err != nil {
		return nil, err
	}
	for _, m := range plan.Modules {
		if err := load(m); err != nil {
			return nil, err
		}
	}
	if plan.HugePages > 0 {
		if err := os.WriteFile("/proc/sys/vm/nr_hugepages", fmt.Append(nil, plan.HugePages), 0); err != nil {
			return nil, fmt.Errorf("reserve %d huge pages: %w", plan.HugePages, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return nil, fmt.Errorf("lo up: %w", err)
	}
	return plan, bindCards(plan.Cards)
}

// bindCards gives the cards to their drivers, and waits for the interfaces.
func bindCards(cards []inside.Card) error {
	for _, c := range cards {
		if err := inside.Bind(c.Address, c.Driver); err != nil {
			return fmt.Errorf("%s: %w", c.Model, err)
		}
		if err := inside.WaitNetdev(c.Peer); err != nil {
			return fmt.Errorf("the peer of %s: %w", c.Model, err)
		}
	}
	return nil
}

// tidy undoes what a run that was killed has left behind: namespaces, which may
// hold interfaces of cards, and cards with other drivers than they had.
func tidy(cards []inside.Card) error {
	left, err := filepath.Glob("/run/netns/*")
	if err != nil {
		return err
	}
	for _, name := range left {
		_ = unix.Unmount(name, unix.MNT_DETACH) // an error: it is none, and goes all the same
		os.Remove(name)
	}
	return bindCards(cards)
}

func load(module string) error {
	f, err := os.Open(module)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", module, err)
	}
	return nil
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Version[:])
}

// port is the way to the host.
type port struct {
	mu      sync.Mutex
	f       *os.File
	midLine bool // what was written last ended no line
}

// Write hands on what a test prints.
func (p *port) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.write(b)
}

func (p *port) write(b []byte) (int, error) {
	if len(b) > 0 {
		p.midLine = b[len(b)-1] != '\n'
	}
	return p.f.Write(b)
}

func (p *port) event(e inside.Event) {
	text, err := json.Marshal(e)
	if err != nil {
		text = fmt.Appendf(nil, `{"Kind":%q,"Text":%q}`, inside.Fatal, err)
	}
	line := inside.EventMark + string(text) + "\n"
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.midLine {
		line = "\n" + line
	}
	if _, err := p.write([]byte(line)); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
}

// watch kills a process whose time is over. One that does not die then hangs in
// the kernel: where, the kernel says on its console, and nothing more is done.
func (p *port) watch(process *os.Process, r inside.Run, ended <-chan struct{}) {
	if wait(ended, time.Duration(r.Seconds)*time.Second) {
		return
	}
	process.Kill()
	if wait(ended, mercy) {
		return
	}
	fmt.Fprintln(os.Stderr, "guest: cannot be killed:", r.Name)
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("w"), 0); err != nil { // show blocked tasks
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	p.event(inside.Event{Kind: inside.Fatal, Text: r.Name + " hangs in the kernel and cannot be killed: see the console"})
}

// mercy is how long a process may take to die of SIGKILL.
const mercy = 5 * time.Second

// wait says whether ended is closed within the limit.
func wait(ended <-chan struct{}, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ended:
		return true
	case <-t.C:
		return false
	}
}

// execute runs a test binary and returns its exit status.
func (p *port) execute(r inside.Run, cards []inside.Card) int {
	known, err := json.Marshal(cards)
	if err != nil {
		fmt.Fprintln(p, "guest:", err)
		return 1
	}
	cmd := exec.Command(r.Path, r.Args...)
	cmd.Dir = r.Dir
	cmd.Env = append([]string{"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp", inside.CardsEnv + "=" + string(known)}, r.Env...)
	cmd.Stdout, cmd.Stderr = p, p
	// What a test leaves running would hold the pipe of its output open.
	cmd.WaitDelay = 2 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(p, "guest:", err)
		return 1
	}
	ended := make(chan struct{})
	go p.watch(cmd.Process, r, ended)
	err = cmd.Wait()
	close(ended)
	if err != nil {
		fmt.Fprintln(p, "guest:", r.Name+":", err)
	}
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
