package vm

import "fmt"

// Fault says why a run was ended. The numbers are stable: they may be counted
// and stored. The zero Fault means that the program came to its end.
type Fault uint8

// Faults.
const (
	// FaultMemory: a load or store through a pointer that leads nowhere, or
	// beyond its memory, or into memory that is not writable.
	FaultMemory Fault = 1 + iota
	// FaultContext: a field of the context that does not exist for the
	// program's type, or with a width or a direction that it does not have.
	FaultContext
	// FaultAlignment: an atomic operation on an address that is not a multiple
	// of its size, or on memory that is neither stack nor map.
	FaultAlignment
	// FaultStack: a call nested deeper than MaxDepth.
	FaultStack
	// FaultHelper: an argument of a helper is no map, no function or no memory
	// of the length given.
	FaultHelper
	// FaultBudget: the program ran for longer than Config.Budget.
	FaultBudget
	// FaultInput: Context.Off and Len do not lie in Context.Buffer. The
	// program was not started.
	FaultInput
)

// Faults is how many there are, the zero Fault counted.
const Faults = 8

var faultTexts = [Faults]string{
	"none",
	"memory access outside of what is the program's",
	"no such access to the context",
	"misaligned atomic, or atomic on memory that has none",
	"calls nested too deeply",
	"bad argument of a helper",
	"instruction budget used up",
	"frame outside of its buffer",
}

// Error makes a Fault an error; so errors.Is and switches work on it.
func (f Fault) Error() string {
	if int(f) < len(faultTexts) {
		return "vm: " + faultTexts[f]
	}
	return fmt.Sprintf("vm: fault %d", uint8(f))
}
