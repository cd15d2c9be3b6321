package vfiouser

import (
	"os"
	"time"
)

// Regions of a PCI device; BAR n is region n.
const (
	ROMRegion    = 6
	ConfigRegion = 7
	VGARegion    = 8
	// Regions is how many there are. Info.Regions may be shorter.
	Regions = 9
)

// IRQ is a type of interrupt of a PCI device.
type IRQ int

// The types; Error and Request are events of the device that are no interrupts.
const (
	INTx IRQ = iota
	MSI
	MSIX
	Error
	Request
	irqTypes
)

// Device is what a Server serves. Its methods are called by one goroutine at a
// time; b is the server's and must not be kept. An error that wraps a
// syscall.Errno reaches the client as such, any other as EIO.
type Device interface {
	// Info says what the device has. It is asked once, by Listen.
	Info() Info
	// Read fills b with what stands at an offset of a region. Offset and length
	// lie inside the region, and the region is readable.
	Read(region int, offset uint64, b []byte) error
	// Write is the other direction.
	Write(region int, offset uint64, b []byte) error
	// Reset brings the device into the state after power-on.
	Reset() error
}

// Info describes a device.
type Info struct {
	// Regions by index, at most Regions of them; Size 0: there is none.
	Regions []Region
	// Vectors says how many interrupts of each type there are.
	Vectors map[IRQ]int
}

// Region is a range of the device's addresses.
type Region struct {
	Size               uint64 // bytes
	Readable, Writable bool
	// File, if set, holds the region's bytes, from Offset: clients may map it,
	// and the device does not hear of what they do there. The device keeps it
	// open for as long as it is served, and closes it.
	File   *os.File
	Offset uint64 // in File; a multiple of the page size
	// Areas are the parts that may be mapped; none: all of it.
	Areas []Area
}

// Area is a part of a region, in bytes, in whole pages.
type Area struct{ Offset, Size uint64 }

// Config limits a Server. Zero values mean the defaults.
type Config struct {
	// MaxMappings is how many ranges a client may map at once: 65535, the
	// protocol's default.
	MaxMappings int
	// Patience is how long a client may take to propose its version, to finish a
	// message that it began, and to take a reply: 10 s. A guest that is stopped
	// sends nothing, but begins nothing either.
	Patience time.Duration
}
