package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Binder moves functions between the kernel's drivers and VFIO. What they had
// before stands in files of the folder Run, which the system empties when it
// starts: then the kernel's drivers have their functions again by themselves.
// Binders of one folder may be used at the same time, by processes too: the
// second gets EBUSY.
type Binder struct {
	Sys    Tree
	Run    string
	Kernel Kernel
}

// Run is the folder of System.
const Run = "/run/oobnet/bind"

// System is the Binder of the running system.
func System() *Binder {
	return &Binder{Sys: Sys, Run: Run, Kernel: system{dev: "/dev"}}
}

// Change is what happened to a function: the drivers before and after; an empty
// one is none.
type Change struct {
	Addr string `json:"address"`
	From string `json:"from"`
	To   string `json:"to"`
}

// Bind gives a function and all others of its IOMMU group, but for bridges, to
// VFIO, and returns those that it moved. It refuses, unless force is set, to
// take an interface that is up and what is no network card. If one fails, it
// undoes what it did.
//
// Errors wrap EINVAL for what is no address, ENOENT for no such device and for
// vfio-pci not loaded, ENODEV for no IOMMU group, EBUSY for what it refuses, and
// fs.ErrPermission.
func (b *Binder) Bind(addr string, force bool) ([]Change, error) {
	// What is wrong is said before a process without privileges is sent away.
	if _, _, err := b.plan(addr, force); err != nil {
		return nil, err
	}
	unlock, err := b.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, todo, err := b.plan(addr, force)
	if err != nil || len(todo) == 0 {
		return nil, err
	}
	note, err := b.recordOf(f.Addr)
	if err != nil {
		return nil, err
	}
	before := note.clone()
	for _, f := range todo {
		note.put(f)
	}
	// Noted first: whatever happens then, unbind knows the way back.
	if err := note.save(); err != nil {
		return nil, err
	}
	var done []Change
	for i, f := range todo {
		if err := b.give(f, VFIO); err != nil {
			return nil, b.undo(todo[:i+1], before, err)
		}
		done = append(done, Change{Addr: f.Addr, From: f.Driver, To: VFIO})
	}
	return done, nil
}

// plan says which functions are to be moved for one, or why they are not to be.
func (b *Binder) plan(addr string, force bool) (asked *Function, todo []*Function, err error) {
	asked, err = b.Sys.Read(addr)
	switch {
	case err != nil:
		return nil, nil, err
	case asked.Bridge():
		return nil, nil, fmt.Errorf("%s is a bridge: give the address of the card behind it: %w", asked.Addr, syscall.EINVAL)
	case asked.Group == "":
		return nil, nil, fmt.Errorf("%s has no IOMMU group: switch the IOMMU on, in the firmware (VT-d, AMD-Vi) and on the kernel's command line (intel_iommu=on or amd_iommu=on); "+
			"VFIO's enable_unsafe_noiommu_mode will not do, since oobnet gives no device free access to all memory: %w", asked.Addr, syscall.ENODEV)
	case !b.Sys.HasDriver(VFIO):
		return nil, nil, fmt.Errorf("the kernel's driver %s is not loaded: load it by `modprobe %s`: %w", VFIO, VFIO, syscall.ENOENT)
	}
	for _, member := range asked.Members {
		f, err := b.Sys.Read(member)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // pulled out meanwhile
		case err != nil:
			return nil, nil, err
		case f.Bridge() || f.Driver == VFIO:
			continue
		}
		if why := inUse(f, asked); why != "" && !force {
			return nil, nil, fmt.Errorf("%s: %w", why, syscall.EBUSY)
		}
		todo = append(todo, f)
	}
	return asked, todo, nil
}

// inUse says why a function had better stay where it is, and the way out.
func inUse(f, asked *Function) string {
	who := f.Addr
	if f.Addr != asked.Addr {
		who = fmt.Sprintf("%s, which is in IOMMU group %s with %s and goes with it,", f.Addr, f.Group, asked.Addr)
	}
	for _, n := range f.Netdevs {
		if n.Up {
			return fmt.Sprintf("%s is the kernel's interface %s, which is up: take it down by `ip link set %s down`, or use --force", who, n.Name, n.Name)
		}
	}
	switch {
	case f.Away:
		return fmt.Sprintf("%s is an interface of another network namespace, where it may be up: give it back from there, or use --force", who)
	case f.Driver != "" && !f.Network():
		return fmt.Sprintf("%s is no network card, and the kernel's driver %s has it: use --force if nothing needs it", who, f.Driver)
	}
	return ""
}

// give moves a function to a driver, which may be the only one to have it from
// then on.
func (b *Binder) give(f *Function, driver string) error {
	if err := b.override(f.Addr, driver); err != nil {
		return err
	}
	return b.probe(f.Addr, driver)
}

// override says which driver alone may have a function; none: any that fits.
func (b *Binder) override(addr, driver string) error {
	return b.write(addr, filepath.Join(b.Sys.Dir(addr), "driver_override"), driver+"\n")
}

// take takes a function from its driver, if it has one.
func (b *Binder) take(addr string) error {
	if b.Sys.Driver(addr) == "" {
		return nil
	}
	return b.write(addr, filepath.Join(b.Sys.Dir(addr), "driver/unbind"), addr)
}

// probe takes a function from its driver and has the kernel look for another;
// with a name, that has to be the one.
func (b *Binder) probe(addr, driver string) error {
	if err := b.take(addr); err != nil {
		return err
	}
	if err := b.write(addr, filepath.Join(string(b.Sys), "bus/pci/drivers_probe"), addr); err != nil {
		return err
	}
	if now := b.Sys.Driver(addr); driver != "" && now != driver {
		return fmt.Errorf("%s: the kernel's driver %s did not take it: see `dmesg`: %w", addr, driver, syscall.ENODEV)
	}
	return nil
}

func (b *Binder) write(addr, file, value string) error {
	if err := b.Kernel.Write(file, value); err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	return nil
}

// undo restores what Bind has begun to move, the last first, and the record as
// it was before.
func (b *Binder) undo(begun []*Function, before *record, cause error) error {
	var failed []string
	for _, f := range slices.Backward(begun) {
		if err := b.restore(former{Addr: f.Addr, Driver: f.Driver, Override: f.Override}); err != nil {
			failed = append(failed, err.Error())
			before.put(f)
		}
	}
	if err := before.save(); err != nil {
		failed = append(failed, err.Error())
	}
	if len(failed) > 0 {
		return fmt.Errorf("%w; and undoing it failed, try `oobnet unbind`: %s", cause, strings.Join(failed, "; "))
	}
	return fmt.Errorf("%w (everything is as it was)", cause)
}

// Unbind gives a function, and all that Bind moved with it, back to the drivers
// that they had, the last first, and returns those that it moved. Of a function
// that no Bind knows of but that is with VFIO, the kernel chooses the driver.
// What fails stays noted, for another Unbind. It refuses, unless force is set,
// to take a function from a process; the kernel waits until that lets it go.
//
// Errors are as Bind's; ENXIO is for a function that is not bound to VFIO.
func (b *Binder) Unbind(addr string, force bool) ([]Change, error) {
	f, err := b.Sys.Read(addr)
	if err != nil {
		return nil, err
	}
	note, err := b.recordOf(f.Addr)
	switch {
	case err != nil:
		return nil, err
	case !note.has(f.Addr) && f.Driver != VFIO:
		return nil, fmt.Errorf("%s is not bound to %s but to %s: nothing to undo: %w", f.Addr, VFIO, or(f.Driver, "no driver"), syscall.ENXIO)
	case f.Group != "" && f.Driver == VFIO && !force && b.Kernel.Busy(f.Group):
		return nil, fmt.Errorf("%s is in use by a process (`fuser /dev/vfio/%s` names it): end it, or use --force, which asks it to let go and waits: %w", f.Addr, f.Group, syscall.EBUSY)
	}
	unlock, err := b.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if note, err = b.recordOf(f.Addr); err != nil {
		return nil, err
	}
	if !note.has(f.Addr) {
		return b.release(f)
	}
	return b.restoreAll(note)
}

// release gives a function to whichever driver the kernel has for it.
func (b *Binder) release(f *Function) ([]Change, error) {
	if err := b.override(f.Addr, ""); err != nil {
		return nil, err
	}
	if err := b.probe(f.Addr, ""); err != nil {
		return nil, err
	}
	return []Change{{Addr: f.Addr, From: f.Driver, To: b.Sys.Driver(f.Addr)}}, nil
}

func (b *Binder) restoreAll(note *record) (done []Change, err error) {
	var left []former
	var failed []error
	for _, was := range slices.Backward(note.Devices) {
		from := b.Sys.Driver(was.Addr)
		if err := b.restore(was); err != nil {
			left, failed = append(left, was), append(failed, err)
			continue
		}
		if now := b.Sys.Driver(was.Addr); now != from {
			done = append(done, Change{Addr: was.Addr, From: from, To: now})
		}
	}
	slices.Reverse(left)
	note.Devices = left
	if err := note.save(); err != nil {
		failed = append(failed, err)
	}
	switch len(failed) {
	case 0:
		return done, nil
	case 1:
		return done, failed[0]
	}
	return done, fmt.Errorf("%w (and %d more)", failed[0], len(failed)-1)
}

// restore gives a function what it had. One that is gone, or that someone else
// has given to another driver since, is left alone.
func (b *Binder) restore(was former) error {
	now := b.Sys.Driver(was.Addr)
	_, err := os.Stat(b.Sys.Dir(was.Addr))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case now == was.Driver:
		return b.override(was.Addr, was.Override)
	case now != "" && now != VFIO:
		return nil
	case was.Driver == "":
		err = b.take(was.Addr)
	default:
		// By name: more than one driver of the kernel may fit.
		if err = b.override(was.Addr, was.Driver); err == nil {
			err = b.probe(was.Addr, was.Driver)
		}
		if err != nil && !b.Sys.HasDriver(was.Driver) {
			err = fmt.Errorf("%s: the kernel's driver %s is not loaded: load it by `modprobe %s`, then unbind again: %w", was.Addr, was.Driver, was.Driver, syscall.ENOENT)
		}
	}
	if again := b.override(was.Addr, was.Override); err == nil {
		err = again
	}
	return err
}

// lock keeps other processes out until the function that it returns is called.
func (b *Binder) lock() (unlock func(), err error) {
	err = os.MkdirAll(b.Run, 0o755)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(filepath.Join(b.Run, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("binding changes the kernel's drivers: run as root: %w", err)
	case err != nil:
		return nil, err
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: another bind or unbind is at work: try again when it has ended: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
