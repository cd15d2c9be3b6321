package qtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// program is the emulator; its models are the same on every host.
const program = "qemu-system-x86_64"

// Defaults of Config.
const (
	defaultMAC = "52:54:00:12:34:56" // locally administered, the first one of QEMU's own
	defaultRAM = 64 << 20            // bytes: some thousand frames, and not much for two cores to clear
)

// Config says what machine to start.
type Config struct {
	// Device is the card, by QEMU's name: "igb", "e1000e", "e1000",
	// "e1000-82545em".
	Device string
	// MAC is what the card's EEPROM holds. Default 52:54:00:12:34:56.
	MAC net.HardwareAddr
	// RAM is the size of the memory for DMA, bytes, of which the first 2 MiB
	// are taken. Default 64 MiB; less than 2 GiB.
	RAM int
	// Options are further properties of the device, as in "x-pcie-flr-init=off".
	Options []string
}

// Machine is a running QEMU with one card. Its methods may be called from any
// goroutine. They do not return errors where a driver's bus has none: if QEMU
// dies, the test fails once, reads return all ones, as from a device that was
// pulled out, and waits end.
type Machine struct {
	t       testing.TB
	s       *session
	ram     []byte
	mapped  sync.RWMutex // held by those that wait for interrupts while they look into ram
	extents extents
	bars    [6]BAR
	ecam    uint64        // where the card's configuration space lies
	mode    atomic.Uint32 // how the card interrupts: the driver's goroutine sets it, those that wait read it
	wire    *net.UnixConn
	monitor *monitor
	gone    atomic.Bool // what Vanish sets and every goroutine that uses registers reads
	closed  atomic.Bool // what Close sets and the same goroutines read
	once    sync.Once   // a dead QEMU is reported once
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	exited  chan struct{}
}

// Start runs QEMU with the card, places its BARs, and switches decoding of
// them on and bus mastering off. The machine is gone when the test ends. The
// test is skipped where QEMU, or the card in it, is missing.
func Start(t testing.TB, cfg Config) *Machine {
	t.Helper()
	if err := Available(cfg.Device); err != nil {
		t.Skip(err)
	}
	if cfg.RAM == 0 {
		cfg.RAM = defaultRAM
	}
	if cfg.MAC == nil {
		cfg.MAC, _ = net.ParseMAC(defaultMAC)
	}
	m := &Machine{t: t, exited: make(chan struct{})}
	t.Cleanup(m.Close)
	if err := m.start(cfg); err != nil {
		t.Fatalf("%v\n%s", err, m.output())
	}
	if err := m.enumerate(); err != nil {
		t.Fatalf("%v\n%s", err, m.output())
	}
	return m
}

// cards is what QEMU can model, asked once: it takes it 0.1 s to say.
var cards = sync.OnceValues(func() (string, error) {
	if _, err := exec.LookPath(program); err != nil {
		return "", fmt.Errorf("qtest: %w: run hack/deps.sh as root, or install QEMU 8 or newer", err)
	}
	out, err := exec.Command(program, "-device", "help").Output()
	if err != nil {
		return "", fmt.Errorf("qtest: %s -device help: %w", program, err)
	}
	return string(out), nil
})

// Available says why a machine with that card cannot be started, nil if it can.
func Available(device string) error {
	list, err := cards()
	if err != nil {
		return err
	}
	if !strings.Contains(list, "name \""+device+"\"") {
		return fmt.Errorf("qtest: this QEMU has no %q: run hack/deps.sh as root, or install QEMU 8 or newer", device)
	}
	return nil
}

// start makes everything that QEMU and the test share, as descriptors that
// QEMU inherits, so that nothing of it has a name that could be left behind.
func (m *Machine) start(cfg Config) error {
	var shared []*os.File // QEMU's descriptors 3, 4, ...
	defer func() {
		for _, f := range shared {
			f.Close()
		}
	}()
	share := func(f *os.File, err error) error {
		if err == nil {
			shared = append(shared, f)
		}
		return err
	}
	ram, err := memfd("ram", cfg.RAM)
	if err := share(ram, err); err != nil {
		return err
	}
	if m.ram, err = unix.Mmap(int(ram.Fd()), 0, cfg.RAM, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("qtest: mapping the RAM: %w", err)
	}
	m.extents.free = []extent{{firstFree, uint64(cfg.RAM) - firstFree}}
	bios, err := memfd("bios", biosSize)
	if err := share(bios, err); err != nil {
		return err
	}
	if _, err := bios.WriteAt(halt, biosReset); err != nil {
		return fmt.Errorf("qtest: writing the BIOS: %w", err)
	}
	fd, theirs, err := pair(unix.SOCK_STREAM, "qtest")
	if err := share(theirs, err); err != nil {
		return err
	}
	if m.s, err = newSession(fd); err != nil {
		unix.Close(fd)
		return err
	}
	wire, theirs, err := conn(unix.SOCK_DGRAM, "wire")
	if err := share(theirs, err); err != nil {
		return err
	}
	m.wire = wire
	control, theirs, err := conn(unix.SOCK_STREAM, "monitor")
	if err := share(theirs, err); err != nil {
		return err
	}
	m.monitor = newMonitor(control)

	device := strings.Join(append([]string{cfg.Device, "netdev=n0", "id=nic", "romfile=", fmt.Sprintf("addr=%d", slot), "mac=" + cfg.MAC.String()}, cfg.Options...), ",")
	m.cmd = exec.Command(program,
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35,memory-backend=ram",
		// Not -accel qtest, which stops the clock, and not -S, in which state
		// no packet is delivered: the machine runs, and its processor sleeps.
		"-accel", "tcg",
		"-m", fmt.Sprintf("%dB", cfg.RAM),
		"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%d,mem-path=/proc/self/fd/3,share=on", cfg.RAM),
		"-bios", "/proc/self/fd/4",
		"-chardev", "socket,id=qtest,fd=5", "-qtest", "chardev:qtest", "-qtest-log", "none",
		"-netdev", "dgram,id=n0,local.type=fd,local.str=6",
		"-chardev", "socket,id=monitor,fd=7", "-mon", "chardev=monitor,mode=control",
		"-device", device)
	m.cmd.ExtraFiles = shared
	m.cmd.Stdout, m.cmd.Stderr = &m.stderr, &m.stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return m.launch()
}

// launch starts the process from a thread that lives as long as the process
// does: the kernel kills it when that thread ends, and so when the test's
// process does, however that comes about.
func (m *Machine) launch() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(m.exited)
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // killed, or dead by itself: its stderr tells
		}
	}()
	if err := <-started; err != nil {
		m.cmd.Process = nil
		return fmt.Errorf("qtest: starting %s: %w", program, err)
	}
	return nil
}

// Close ends QEMU and frees all; registers read as ones afterwards. Idempotent.
// [Start] registers it as a cleanup of the test.
func (m *Machine) Close() {
	if m.closed.Swap(true) {
		return
	}
	if m.cmd != nil && m.cmd.Process != nil {
		m.cmd.Process.Kill()
	}
	if m.cmd != nil {
		<-m.exited
	}
	if m.s != nil {
		m.s.end(net.ErrClosed)
	}
	if m.wire != nil {
		m.wire.Close()
	}
	if m.monitor != nil {
		m.monitor.conn.Close()
	}
	if m.ram != nil {
		m.mapped.Lock()
		unix.Munmap(m.ram)
		m.mapped.Unlock()
	}
	if out := m.stderr.String(); m.t.Failed() && out != "" {
		m.t.Logf("what %s said:\n%s", program, out)
	}
}

// output kills QEMU and returns what it said: for errors at its start.
func (m *Machine) output() string {
	if m.cmd != nil && m.cmd.Process != nil {
		m.cmd.Process.Kill()
		<-m.exited
	}
	return m.stderr.String()
}

// broken reports that QEMU is not there any more, unless we ended it.
func (m *Machine) broken(err error) {
	if m.closed.Load() || errors.Is(err, net.ErrClosed) {
		return
	}
	m.once.Do(func() { m.t.Errorf("%v", err) })
}

// The BIOS is all that the processor ever runs: 64 KiB that end at 4 GiB, of
// which it starts at the 16th byte from the end.
const (
	biosSize  = 64 << 10
	biosReset = biosSize - 16
)

// halt is cli; hlt; and a jump back to the hlt, should anything wake it.
var halt = []byte{0xfa, 0xf4, 0xeb, 0xfd}

func memfd(name string, size int) (*os.File, error) {
	fd, err := unix.MemfdCreate("oobnet-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("qtest: memfd for the %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(int64(size)); err != nil {
		f.Close()
		return nil, fmt.Errorf("qtest: %d bytes for the %s: %w", size, name, err)
	}
	return f, nil
}

// pair makes a socket with two ends: ours, blocking, and QEMU's.
func pair(kind int, name string) (ours int, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("qtest: socket pair for the %s: %w", name, err)
	}
	return fds[0], os.NewFile(uintptr(fds[1]), name), nil
}

// conn makes such a socket, with an end of ours that takes deadlines.
func conn(kind int, name string) (*net.UnixConn, *os.File, error) {
	fd, theirs, err := pair(kind, name)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() // FileConn has a copy
	c, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("qtest: the %s: %w", name, err)
	}
	return c.(*net.UnixConn), theirs, nil
}

// sendWait bounds SendFrame. On busy processors QEMU takes tens of ms to come to
// its wire.
const sendWait = 2 * time.Second

// SendFrame lets a frame arrive at the card, without frame check sequence. If
// the card has no room it waits in QEMU, and if QEMU has none SendFrame waits,
// at most 2 s; a card whose link is down drops it.
func (m *Machine) SendFrame(frame []byte) error {
	if err := m.wire.SetWriteDeadline(time.Now().Add(sendWait)); err != nil {
		return err
	}
	_, err := m.wire.Write(frame)
	return err
}

// ReceiveFrame waits until deadline for a frame that the card sent, and copies
// it to buf. QEMU pads none, and keeps frames for as long as nobody takes them.
// The error is [os.ErrDeadlineExceeded] when there was none.
func (m *Machine) ReceiveFrame(buf []byte, deadline time.Time) (int, error) {
	if err := m.wire.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	return m.wire.Read(buf)
}
