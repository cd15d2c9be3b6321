package inside

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const devices = "/sys/bus/pci/devices"

// settle bounds the wait for what a driver makes after it was given a card.
const settle = 10 * time.Second

// Driver is the name of a card's driver, "" if it has none.
func Driver(address string) (string, error) {
	link, err := os.Readlink(filepath.Join(devices, address, "driver"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("the driver of %s: %w", address, err)
	}
	return filepath.Base(link), nil
}

// Netdev is the name of the interface that the kernel has made of a card.
func Netdev(address string) (string, error) {
	// A virtio card's interface belongs to a device below the card's.
	for _, pattern := range []string{"net/*", "virtio*/net/*"} {
		found, err := filepath.Glob(filepath.Join(devices, address, pattern))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return filepath.Base(found[0]), nil
		}
	}
	return "", fmt.Errorf("%s has no interface: %w", address, os.ErrNotExist)
}

// Bind takes a card from its driver, if it has one, and gives it to driver, or
// to none if that is "". A driver that makes an interface has made it when Bind
// returns.
func Bind(address, driver string) error {
	dir := filepath.Join(devices, address)
	now, err := Driver(address)
	if err != nil {
		return err
	}
	if now == driver && (driver == "" || driver == "vfio-pci") {
		return nil
	}
	if now == driver {
		return WaitNetdev(address)
	}
	// The override says which driver may have the card, whatever its ids; a
	// line end alone takes it away, and the card is its own driver's again.
	override := driver + "\n"
	if driver == "" {
		override = "none\n"
	}
	if err := write(filepath.Join(dir, "driver_override"), override); err != nil {
		return err
	}
	if now != "" {
		if err := write(filepath.Join(dir, "driver", "unbind"), address); err != nil {
			return err
		}
	}
	if driver == "" {
		return nil
	}
	if err := write("/sys/bus/pci/drivers_probe", address); err != nil {
		return err
	}
	if now, err = Driver(address); err != nil || now != driver {
		return errors.Join(err, fmt.Errorf("%s has driver %q after it was given to %s: is the module loaded?", address, now, driver))
	}
	if driver == "vfio-pci" {
		return nil
	}
	return WaitNetdev(address)
}

// WaitNetdev waits until the kernel has made an interface of a card, and it is
// in the namespace of /sys, which one that ended gives its interfaces back to.
func WaitNetdev(address string) error {
	for end := time.Now().Add(settle); ; time.Sleep(time.Millisecond) {
		if _, err := Netdev(address); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// Group is the number of a card's IOMMU group.
func Group(address string) (string, error) {
	link, err := os.Readlink(filepath.Join(devices, address, "iommu_group"))
	if err != nil {
		return "", fmt.Errorf("the IOMMU group of %s: %w", address, err)
	}
	return filepath.Base(link), nil
}

func write(file, value string) error {
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		return fmt.Errorf("write %q to %s: %w", value, file, err)
	}
	return nil
}
