package inside

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Serial ports of a guest; the kernel's console has the first.
const (
	// ResultPort is where the host reads events and the output of tests.
	ResultPort = "/dev/ttyS1"
	// monitorPort is where QEMU's monitor reads commands.
	monitorPort = "/dev/ttyS2"
)

// OpenPort opens a serial port that hands on bytes as they are.
func OpenPort(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := setRaw(int(f.Fd())); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func setRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	// QEMU keeps to no speed, but the driver waits as long as one needs.
	t.Cflag = t.Cflag&^unix.CBAUD | unix.B115200
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// Drain waits until all has left a port.
func Drain(port *os.File) error {
	const wait = 1 // TCSBRK with an argument other than 0 is tcdrain
	return unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, wait)
}

// SetCable plugs a card's cable in or pulls it, as QEMU shows it to the card. It
// returns when QEMU was told; the card sees it a moment later.
func (c Card) SetCable(in bool) error {
	if c.Cable == "" {
		return setModelCable(c.Address, in)
	}
	f, err := OpenPort(monitorPort)
	if err != nil {
		return err
	}
	defer f.Close()
	// The end of a line first: before the port was opened its echo was on, and
	// has perhaps sent the monitor's own greeting back.
	state := map[bool]string{true: "on", false: "off"}[in]
	if _, err := fmt.Fprintf(f, "\nset_link %s %s\n", c.Cable, state); err != nil {
		return err
	}
	return Drain(f)
}
