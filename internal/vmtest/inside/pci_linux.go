package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oobnet/oobnet/internal/pci"
)

// settle bounds the wait for what a driver makes after it was given a card.
const settle = 10 * time.Second

// Netdev is the name of the interface that the kernel has made of a card.
func Netdev(address string) (string, error) {
	f, err := pci.Sys.Read(address)
	if err != nil {
		return "", err
	}
	if len(f.Netdevs) == 0 {
		return "", fmt.Errorf("%s has no interface: %w", address, os.ErrNotExist)
	}
	return f.Netdevs[0].Name, nil
}

// Bind gives a card to a driver, whoever uses it: to vfio-pci as "oobnet bind"
// does, with its whole IOMMU group, and back as "oobnet unbind" does. If driver is
// "", nobody has the card then. A driver that makes an interface has made it when
// Bind returns.
func Bind(address, driver string) error {
	if driver == pci.VFIO {
		_, err := pci.System().Bind(address, true)
		return err
	}
	if pci.Sys.Driver(address) == pci.VFIO {
		if _, err := pci.System().Unbind(address, true); err != nil {
			return err
		}
	}
	switch now := pci.Sys.Driver(address); {
	case now == driver:
	case driver == "":
		return write(filepath.Join(pci.Sys.Dir(address), "driver/unbind"), address)
	case now != "":
		return fmt.Errorf("%s has driver %s, and %s was to have it: that is not its own", address, now, driver)
	default: // as it was before it was bound to VFIO
		if err := write(filepath.Join(string(pci.Sys), "bus/pci/drivers_probe"), address); err != nil {
			return err
		}
		if now := pci.Sys.Driver(address); now != driver {
			return fmt.Errorf("%s has driver %q after it was given to %s: is the module loaded?", address, now, driver)
		}
	}
	if driver == "" {
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

func write(file, value string) error { return pci.System().Kernel.Write(file, value) }
