package ixgbemodel

import (
	"fmt"
	"slices"
)

// Violation is something done that the datasheet forbids.
type Violation struct {
	Offset  uint32 // the register's, or that of the queue's tail
	Section string // of the datasheet
	What    string
}

func (v Violation) String() string {
	return fmt.Sprintf("register %#05x: %s: see datasheet, %s", v.Offset, v.What, v.Section)
}

// maxViolations bounds what is kept: a driver that polls in error would fill memory.
const maxViolations = 1000

// Violations returns those so far, at most 1000 of them, in their order.
func (d *Device) Violations() []Violation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.violations)
}

// LateTail is what is tolerated in any case: that a driver rings a queue's doorbell on
// one processor while it stops the queue, or resets the device, on another. It means
// nothing then. To wait for each other would take a lock for each batch.
const LateTail = "tail written after its queue was disabled"

// Tolerated returns what the datasheet forbids, but drivers in wide use do on
// silicon nevertheless: each kind once, with the register where it was first
// seen. It is for a new driver to avoid, and no proof against an old one. Of a device
// that is Strict it is LateTail, or nothing.
func (d *Device) Tolerated() []Violation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.tolerated)
}

// Unmodelled returns the registers so far whose effect on silicon the model
// does not have, in ascending order. What is written to them can be read.
func (d *Device) Unmodelled() []uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var offsets []uint32
	for o := range d.unmodelled {
		offsets = append(offsets, o)
	}
	slices.Sort(offsets)
	return offsets
}

func (d *Device) violate(offset uint32, section, what string) {
	if len(d.violations) < maxViolations {
		d.violations = append(d.violations, Violation{offset, section, what})
	}
}

func (d *Device) tolerate(offset uint32, section, what string) {
	if d.config.Strict && what != LateTail {
		d.violate(offset, section, what)
		return
	}
	if !slices.ContainsFunc(d.tolerated, func(v Violation) bool { return v.What == what }) {
		d.tolerated = append(d.tolerated, Violation{offset, section, what})
	}
}
