package driver

import "time"

// Semaphore is where drivers of a card's ports and its firmware agree on who may
// touch what they share (82576 4.7, 82599 10.5.4, X540 11.7.5).
type Semaphore struct {
	// SWSM and Owners are registers: one to take the other, and the other to say
	// who owns what, drivers in its lowest bits and the firmware Firmware bits
	// further up.
	SWSM, Owners uint32
	Firmware     uint
	// Read: Owners is taken by reading it with its highest bit 0; otherwise by a
	// bit of SWSM that reads back as written.
	Read bool
	// Wait bounds each of three waits: for SWSM, for Owners, for the firmware.
	Wait time.Duration
}

const (
	swsmDrivers  = 1 << 0 // of SWSM: taken by reading it as 0
	swsmFirmware = 1 << 1 // taken if it reads back as 1
	ownersTaken  = 1 << 31
)

// Own takes what bits say from firmware and other drivers, and reports whether
// they have let go of it. A firmware that does not answer is none.
func (b *Base) Own(s *Semaphore, bits uint32) (free bool) {
	return b.Until(s.Wait, func() bool {
		b.withOwners(s, func(owners uint32) uint32 {
			if free = owners&(bits|bits<<s.Firmware) == 0; free {
				return owners | bits
			}
			return owners
		})
		return free
	})
}

// Disown gives back what Own has taken.
func (b *Base) Disown(s *Semaphore, bits uint32) {
	b.withOwners(s, func(owners uint32) uint32 { return owners &^ bits })
}

// withOwners changes who owns what while nobody else does. A semaphore that was
// never given back, by a process that was killed, is taken after a while.
func (b *Base) withOwners(s *Semaphore, change func(owners uint32) uint32) {
	r := b.Regs
	b.Until(s.Wait, func() bool { return r.Read32(s.SWSM)&swsmDrivers == 0 })
	var owners uint32
	if s.Read {
		b.Until(s.Wait, func() bool { owners = r.Read32(s.Owners); return owners&ownersTaken == 0 })
	} else {
		b.Until(s.Wait, func() bool {
			r.Write32(s.SWSM, r.Read32(s.SWSM)|swsmFirmware)
			return r.Read32(s.SWSM)&swsmFirmware != 0
		})
		owners = r.Read32(s.Owners)
	}
	r.Write32(s.Owners, change(owners)&^ownersTaken) // and so the register is given back
	r.Write32(s.SWSM, r.Read32(s.SWSM)&^(swsmDrivers|swsmFirmware))
}
