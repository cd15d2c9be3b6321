package afxdp

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// timeFrames has the device take the time of each received frame, and of those to
// send that ask for it, until close. Most cards do so only on request; a driver
// that knows no such request, as veth's, needs none.
func (d *device) timeFrames(received, sent bool) error {
	name, err := d.currentName()
	if err != nil {
		return err
	}
	former, err := unix.IoctlGetHwTstamp(d.control, name)
	if errors.Is(err, unix.EOPNOTSUPP) {
		former, err = &unix.HwTstampConfig{}, nil // some can be told and not asked
	}
	if err != nil {
		return fmt.Errorf("ask which frames the device takes the time of: %w", err)
	}
	wanted := *former
	if received {
		wanted.Rx_filter = unix.HWTSTAMP_FILTER_ALL
	}
	if sent && wanted.Tx_type == unix.HWTSTAMP_TX_OFF {
		wanted.Tx_type = unix.HWTSTAMP_TX_ON
	}
	if wanted == *former {
		return nil
	}
	err = unix.IoctlSetHwTstamp(d.control, name, &wanted)
	const refused = "have the driver (%s) take the time of frames: %w"
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil
	case errors.Is(err, unix.ERANGE):
		return fmt.Errorf(refused+": it can do some kinds alone (`ethtool -T %s`): open without RXTime and TXTime: %w", d.driver, err, name, link.ErrNotSupported)
	case err != nil:
		return fmt.Errorf(refused, d.driver, err)
	}
	d.restoreTimes = former
	// The driver writes what it took.
	if received && wanted.Rx_filter != unix.HWTSTAMP_FILTER_ALL || sent && wanted.Tx_type == unix.HWTSTAMP_TX_OFF {
		return fmt.Errorf(refused+": it does some kinds alone (`ethtool -T %s`): open without RXTime and TXTime", d.driver, link.ErrNotSupported, name)
	}
	return nil
}

// leaveTimes undoes timeFrames.
func (d *device) leaveTimes() {
	if d.restoreTimes == nil {
		return
	}
	if name, err := d.currentName(); err == nil {
		_ = unix.IoctlSetHwTstamp(d.control, name, d.restoreTimes) // the device may be gone
	}
	d.restoreTimes = nil
}

// inNamespace runs f on a thread in the device's network namespace: the
// caller's own where it is there already.
func (d *device) inNamespace(f func() error) error {
	theirs, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.control), unix.SIOCGSKNS, 0)
	if errno != 0 {
		return fmt.Errorf("find the network namespace of the interface: %w", errno)
	}
	defer unix.Close(int(theirs))
	runtime.LockOSThread()
	home := true
	defer func() {
		if home {
			runtime.UnlockOSThread()
		}
	}()
	ours, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("find the thread's network namespace: %w", err)
	}
	defer unix.Close(ours)
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(int(theirs), &a), unix.Fstat(ours, &b)); err != nil {
		return fmt.Errorf("compare network namespaces: %w", err)
	}
	if a.Ino == b.Ino && a.Dev == b.Dev {
		return f()
	}
	if err := unix.Setns(int(theirs), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace of the interface: call from a thread that is in it: %w", err)
	}
	err = f()
	if back := unix.Setns(ours, unix.CLONE_NEWNET); back != nil {
		home = false // the thread ends with its goroutine
		return errors.Join(err, fmt.Errorf("go back to the thread's network namespace: %w", back))
	}
	return err
}
