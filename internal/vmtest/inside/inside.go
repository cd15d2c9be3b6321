// Package inside is what the two sides of a virtual machine's door agree on:
// the plan that the host puts into the guest's memory, and the events by which
// the guest tells how it goes. It also drives cards inside the guest: see
// [Bind].
package inside

import "fmt"

// PlanFile is where the host puts the plan, as JSON.
const PlanFile = "/plan.json"

// EventMark starts each line of the result port that is an event, as JSON, and
// not a line that a test binary printed.
const EventMark = "##vmtest "

// Plan is what a guest does, from top to bottom, before it powers off.
type Plan struct {
	Modules   []string // files of kernel modules, each after those it needs
	HugePages int      // 2 MiB pages to reserve
	Cards     []Card
	Runs      []Run
}

// Card is a network card under test, and the card at the other end of its wire.
type Card struct {
	Model   string // QEMU's name of it
	Address string // on PCI, as 0000:00:04.0
	Peer    string // address of the card at the other end, for the guest's kernel
	Driver  string // the driver to give it before the first run
	Cable   string // QEMU's name of its end of the wire; "": we model the card, and QEMU has none
}

// Cable is QEMU's name of the end of a wire that card i, from 0, is at.
func Cable(i int) string { return fmt.Sprintf("card%d", i) }

// Run is a test binary and how to call it.
type Run struct {
	Name    string   // the import path of the package
	Path    string   // of the binary in the guest
	Dir     string   // where it runs: the package's folder, with its testdata
	Args    []string // after the program's name
	Env     []string // KEY=value, in addition to the guest's own
	Seconds int      // after which it is killed
}

// Kinds of events, in the order in which they come.
const (
	Ready = "ready" // the plan's preparations are done; the kernel's release is in Text
	Start = "start" // run number Run begins: what follows is its output
	End   = "end"   // it ended with Status, after Seconds
	Fatal = "fatal" // what is in Text went wrong, and nothing more will be done
	Done  = "done"  // all runs have ended
)

// Event is what a guest tells its host.
type Event struct {
	Kind    string
	Run     int     `json:",omitempty"`
	Status  int     `json:",omitempty"` // an exit status; 128 and more: killed by that signal
	Seconds float64 `json:",omitempty"`
	Text    string  `json:",omitempty"`
}

// CardsEnv is the environment variable by which test binaries learn of the
// plan's cards: a JSON array of [Card].
const CardsEnv = "OOBNET_VM_CARDS"
