package vfio

import (
	"fmt"
	"strings"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/vfio/e1000"
	"github.com/oobnet/oobnet/link/vfio/igb"
	"github.com/oobnet/oobnet/link/vfio/internal/bus"
	"github.com/oobnet/oobnet/link/vfio/internal/driver"
	"github.com/oobnet/oobnet/link/vfio/ixgbe"
)

// drivers are the families that there are.
var drivers = []driver.Driver{e1000.Driver, igb.Driver, ixgbe.Driver}

// Model is a kind of NIC that there is a driver for.
type Model struct {
	Vendor, Device uint16
	Name           string // "82574L"
	Driver         string // "e1000"
}

// Models lists what Open supports.
func Models() (list []Model) {
	for _, d := range drivers {
		for _, m := range d.Models {
			list = append(list, Model{Vendor: m.Vendor, Device: m.Device, Name: m.Name, Driver: d.Name})
		}
	}
	return list
}

// find returns the driver of a PCI function.
func find(id bus.ID) (driver.Driver, driver.Model, error) {
	var known []string
	for _, d := range drivers {
		for _, m := range d.Models {
			if m.Vendor == id.Vendor && m.Device == id.Device {
				return d, m, nil
			}
			known = append(known, fmt.Sprintf("%v %s (%s)", bus.ID{Vendor: m.Vendor, Device: m.Device}, m.Name, d.Name))
		}
	}
	return driver.Driver{}, driver.Model{}, fmt.Errorf("no driver for a device %v: supported are %s: %w", id, strings.Join(known, ", "), link.ErrNotSupported)
}
