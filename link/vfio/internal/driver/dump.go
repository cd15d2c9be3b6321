package driver

import "github.com/oobnet/oobnet/link/vfio/internal/bus"

// Register is one of a NIC's registers: its name in the datasheet, its byte offset
// in BAR 0, and what it reads as.
type Register struct {
	Name          string
	Offset, Value uint32
}

// Dumper is implemented by devices that show how they are set up, for reports.
type Dumper interface {
	// Dump reads registers that reading does not change: no counters, no causes,
	// no semaphores.
	Dump() []Register
}

// ReadAll returns a list of registers with their values.
func ReadAll(r *bus.Registers, list []Register) []Register {
	all := make([]Register, len(list))
	for i, at := range list {
		all[i] = Register{at.Name, at.Offset, r.Read32(at.Offset)}
	}
	return all
}
