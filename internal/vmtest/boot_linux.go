package vmtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// Defaults of Config and Run.
const (
	defaultMemory  = 1024            // MiB: the kernel, the binaries twice (packed and not), pools of tests
	defaultCPUs    = 2               // what the machines have that this runs on
	defaultTimeout = 5 * time.Minute // for a run; emulated, a suite takes five to ten times as long
	bootTimeout    = 3 * time.Minute // until the guest is ready; seen: 4 s, on busy cores 20 s
	// grace is what the guest gets to report a run that it had to kill, and to
	// power off.
	grace = 30 * time.Second
)

// Config says what machine to boot and what to run in it.
type Config struct {
	Kernel  *Image
	Modules []string // to load, by name; what cards need is loaded anyway
	Cards   []Card
	Runs    []Run
	// Programs of the host that tests call, by name, as "ip". They are copied
	// with their libraries; one that the host has not the guest has not either.
	// Paths are copied to the same place, plugins of a program for instance.
	Programs []string
	// Memory of the guest, MiB. Default 1024.
	Memory int
	// CPUs of the guest. Default 2.
	CPUs int
	// HugePages of 2 MiB, to reserve out of Memory.
	HugePages int
	// Output gets what the tests print, as go test -v does. Nil: nobody.
	Output io.Writer
	// Binaries is a folder to build in, where other machines, of this process or
	// another and at the same time too, find what this one has built, as long as the
	// sources do not change; "": one of its own.
	Binaries string
	// Traces is a folder for the traces of cards that we model ourselves, each
	// named by the card and its driver, as 82599-ixgbe-0.trace: what is there of
	// a former machine is overwritten. "": none.
	Traces string
	// Newer has QEMU 11.1 emulate, which cards that we model get in any case: see
	// FetchModels. Before 10.0.4 QEMU may use what it has freed when the registers
	// of a card come or go (its commit 2865bf1c5795), as they do each time that a
	// process opens or closes one: the guest then dies or hangs.
	Newer bool
	// Strict has cards that we model tolerate nothing that their datasheet forbids: for
	// drivers of ours, and not for others' in wide use, which do some of it. The guest's
	// kernel has no driver of its own for these cards then, so that nobody else has been
	// at work on them.
	Strict bool
	// Options are further arguments for QEMU.
	Options []string
}

// Card is a network card to test on. Each is on a wire of its own with a virtio
// card, which the guest's kernel drives: the peer.
type Card struct {
	Model  string // by QEMU's name: "igb", "e1000e", "e1000"; or "82599", "x540", which we model
	Driver string // the guest's driver for it, as "igb" or "vfio-pci"
	// Beside makes it a further function of the device of the card before it. Both are
	// in one IOMMU group if they are e1000s, which are no PCI Express.
	Beside bool
}

// kernelDrivers are the modules with the kernel's own driver of each card. To
// add a card that QEMU has, write a line.
var kernelDrivers = map[string]string{
	"igb":            "igb",
	"e1000e":         "e1000e",
	"e1000":          "e1000",
	"e1000-82545em":  "e1000",
	"virtio-net-pci": "virtio_net",
	"82599":          "ixgbe",
	"x540":           "ixgbe",
}

// Run is a package whose tests to run.
type Run struct {
	Package string        // its folder in the module, as link/afxdp
	Args    []string      // for the test binary, as "-test.run=TestUDP"
	Env     []string      // KEY=value
	Timeout time.Duration // default 5 min
}

// Slots of a pair of cards. The card under test is in slot 4 and up, and peers
// are between: igb has virtual functions, whose addresses begin 16 slots after its
// own and take two slots, so in high or adjoining ones it fails.
func cardSlot(i int) int { return 4 + 2*i }
func peerSlot(i int) int { return 5 + 2*i }

// place is where card i is on the bus, by QEMU's notation: slot and function.
func (c *Config) place(i int) string {
	function := 0
	for i > 0 && c.Cards[i].Beside {
		i--
		function++
	}
	return fmt.Sprintf("%02x.%d", cardSlot(i), function)
}

func peerPlace(i int) string { return fmt.Sprintf("%02x.0", peerSlot(i)) }

func address(place string) string { return "0000:00:" + place }

// maxCards is how many pairs fit.
const maxCards = 4

// Boot builds what is to be run, boots a machine, and returns when it is off
// again: with results for the runs that ended, and an error if one did not,
// because the guest died, hung or reported that it could not go on. Such an
// error holds the end of the console. A failed test is no error: see
// [Result.OK].
func Boot(ctx context.Context, root string, cfg Config) (*Report, error) {
	qemu, err := emulator(Cache(root), cfg.Cards, cfg.Newer)
	if err != nil {
		return nil, err
	}
	plan, mods, err := planOf(&cfg)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "oobnet-vm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binaries := cmp.Or(cfg.Binaries, dir)
	if err := compile(ctx, root, binaries, cfg); err != nil {
		return nil, err
	}
	initrd := filepath.Join(dir, initrdName)
	if err := initramfs(root, binaries, initrd, cfg, mods, plan); err != nil {
		return nil, fmt.Errorf("vmtest: the guest's root: %w", err)
	}
	stop, err := models(ctx, cfg, dir, binaries)
	if err != nil {
		_, e := stop()
		return nil, errors.Join(err, e)
	}
	report, err := boot(ctx, cfg, plan, append(qemu, arguments(cfg, initrd)...))
	said, e := stop()
	if report != nil {
		report.Models = said
	}
	return report, errors.Join(err, e)
}

// planOf fills in defaults and decides what the guest does.
func planOf(cfg *Config) (plan inside.Plan, mods []module, err error) {
	if cfg.Memory == 0 {
		cfg.Memory = defaultMemory
	}
	if cfg.CPUs == 0 {
		cfg.CPUs = defaultCPUs
	}
	if cfg.Output == nil {
		cfg.Output = io.Discard
	}
	if len(cfg.Cards) > maxCards {
		return plan, nil, fmt.Errorf("vmtest: %d cards: at most %d have room", len(cfg.Cards), maxCards)
	}
	plan.HugePages = cfg.HugePages
	names := slices.Clone(cfg.Modules)
	for i, c := range cfg.Cards {
		if c.Beside && (i == 0 || c.served()) {
			return plan, nil, fmt.Errorf("vmtest: card %d, %s: no card of QEMU's is before it", i, c.Model)
		}
		own, ok := kernelDrivers[c.Model]
		if !ok {
			return plan, nil, fmt.Errorf("vmtest: no driver known for card %q", c.Model)
		}
		names = append(names, "virtio_pci", "virtio_net")
		if !cfg.Strict || !c.served() {
			names = append(names, own)
		}
		names = append(names, "vfio_pci", "vfio_iommu_type1")
		plan.Cards = append(plan.Cards, inside.Card{Model: c.Model, Address: address(cfg.place(i)), Peer: address(peerPlace(i)), Driver: c.Driver, Cable: inside.Cable(i)})
		if c.served() {
			plan.Cards[i].Cable = "" // QEMU has no end of its wire
		}
	}
	for i := range cfg.Runs {
		r := &cfg.Runs[i]
		if r.Timeout == 0 {
			r.Timeout = defaultTimeout
		}
		plan.Runs = append(plan.Runs, inside.Run{
			Name: r.Package,
			// The binary's own limit comes first, since it prints what hangs.
			Args:    append([]string{"-test.v", "-test.timeout=" + r.Timeout.String()}, r.Args...),
			Env:     r.Env,
			Seconds: int((r.Timeout + grace/2).Seconds()),
		})
	}
	all, err := cfg.Kernel.modules()
	if err != nil {
		return plan, nil, err
	}
	mods, err = all.resolve(names)
	return plan, mods, err
}

// initrdName is what the guest's root is called in the folder of the machine.
const initrdName = "initrd"

// arguments is QEMU's command line. The guest's console goes to descriptor 3,
// its results to 4. What the guest writes to its third port QEMU's monitor reads,
// by a socket that QEMU has at both ends: see inside.SetCable.
func arguments(cfg Config, initrd string) []string {
	door := filepath.Join(filepath.Dir(initrd), "door")
	args := []string{
		"-machine", "q35,kernel-irqchip=split", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-smp", strconv.Itoa(cfg.CPUs), "-m", strconv.Itoa(cfg.Memory),
		"-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
		"-chardev", "file,id=console,path=/proc/self/fd/3", "-serial", "chardev:console",
		"-chardev", "file,id=results,path=/proc/self/fd/4", "-serial", "chardev:results",
		"-chardev", "socket,id=door,path=" + door + ",server=on,wait=off", "-serial", "chardev:door",
		"-chardev", "socket,id=monitor,path=" + door, "-mon", "chardev=monitor,mode=readline",
		"-kernel", cfg.Kernel.File, "-initrd", initrd,
		// A kernel that has stumbled is dead at once, and seen to be. On busy
		// cores the timer misses its test, which is for broken boards.
		"-append", "console=ttyS0 quiet panic=-1 oops=panic mitigations=off no_timer_check intel_iommu=on iommu=nopt",
		"-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on",
	}
	if slices.ContainsFunc(cfg.Cards, Card.served) {
		// What serves the card reaches the guest's memory by a descriptor.
		args = append(args, "-object", fmt.Sprintf("memory-backend-memfd,id=ram,size=%dM,share=on", cfg.Memory), "-machine", "memory-backend=ram")
	}
	for i, c := range cfg.Cards {
		place := cfg.place(i)
		if i+1 < len(cfg.Cards) && cfg.Cards[i+1].Beside {
			place += ",multifunction=on"
		}
		args = append(args, c.arguments(filepath.Dir(initrd), place, i)...)
		// The peer hears frames of all VLANs, as a tap on the wire would.
		args = append(args, "-device", fmt.Sprintf("virtio-net-pci,netdev=peer%d,romfile=,addr=%s,mac=52:54:00:00:%02x:02,ctrl_vlan=off", i, peerPlace(i), i+1))
	}
	return append(args, cfg.Options...)
}

func cardMAC(i int) string { return fmt.Sprintf("52:54:00:00:%02x:01", i+1) }

// arguments are those for card i, at its place, and its wire, to which the peer is
// netdev peer<i>.
func (c Card) arguments(dir, place string, i int) []string {
	if c.served() {
		// A posted write may wait in its socket while a frame that the guest sent after it
		// comes by another one: that found a ring without the buffers just given.
		return []string{
			"-device", fmt.Sprintf(`{"driver":"vfio-user-pci","addr":%q,"x-no-posted-writes":true,"socket":{"type":"unix","path":%q}}`, place, cardSocket(dir, i)),
			"-netdev", fmt.Sprintf("dgram,id=peer%d,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", i, peerWire(dir, i), cardWire(dir, i)),
		}
	}
	wire := i + 1 // two hub ports of one hub are a wire
	return []string{
		"-netdev", fmt.Sprintf("hubport,id=%s,hubid=%d", inside.Cable(i), wire),
		"-netdev", fmt.Sprintf("hubport,id=peer%d,hubid=%d", i, wire),
		"-device", fmt.Sprintf("%s,netdev=%s,romfile=,addr=%s,mac=%s", c.Model, inside.Cable(i), place, cardMAC(i)),
	}
}

// boot runs QEMU, by its command line, until the guest has powered off, or has to be given up.
func boot(ctx context.Context, cfg Config, plan inside.Plan, command []string) (*Report, error) {
	console, consoleEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer console.Close()
	results, resultsEnd, err := os.Pipe()
	if err != nil {
		consoleEnd.Close()
		return nil, err
	}
	defer results.Close()
	limit := bootTimeout + grace
	for _, r := range plan.Runs {
		limit += time.Duration(r.Seconds) * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("vmtest: the guest was not done after %v", limit))
	defer cancel()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.ExtraFiles = []*os.File{consoleEnd, resultsEnd}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	exited, err := launch(cmd)
	consoleEnd.Close()
	resultsEnd.Close()
	if err != nil {
		return nil, fmt.Errorf("vmtest: starting %s: %w", program, err)
	}
	w := newWatch(plan, cfg.Output)
	for i := range w.report.Results {
		w.report.Results[i].Run = cfg.Runs[i]
	}
	err = w.follow(ctx, console, results)
	if err == nil { // the guest is done, and powers off
		select {
		case <-exited:
		case <-time.After(grace):
			err = fmt.Errorf("vmtest: the guest did not power off")
		}
	}
	cmd.Process.Kill() // by now it is gone, or has to be
	<-exited
	if err != nil {
		return &w.report, fmt.Errorf("%w\n%s", err, w.tail(said.String()))
	}
	return &w.report, nil
}

// launch starts a process from a thread that lives as long as the process does:
// the kernel kills it when that thread ends, and so when we do.
func launch(cmd *exec.Cmd) (exited <-chan struct{}, err error) {
	started, end := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(end)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its status says less than what the guest said
		}
	}()
	return end, <-started
}
