package filter

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Verdict says what becomes of a received frame.
type Verdict int

// Verdicts, with EVL's numbers (enum evl_rx_verdict: EVL_RX_DROP and so on).
// Any other number that a program returns counts as an error and is a Drop.
const (
	// Drop the frame.
	Drop Verdict = 0
	// Accept the frame: it is this stack's.
	Accept Verdict = 1
	// Skip leaves the frame to the host kernel where that shares the device,
	// and to the in-band stage on other links.
	Skip Verdict = 2
	// VLAN accepts the frame if its VLAN id is one for which a port is
	// enabled, and skips it otherwise. The id is that of the 802.1Q tag, or of
	// the inner 802.1Q tag behind an 802.1ad one; a frame without one is skipped.
	VLAN Verdict = 3
)

// Verdicts is how many there are.
const Verdicts = 4

var verdictNames = [Verdicts]string{Drop: "drop", Accept: "accept", Skip: "skip", VLAN: "vlan"}

// String returns the verdict's name as rules have it in text.
func (v Verdict) String() string {
	if v >= 0 && v < Verdicts {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", int(v))
}

// Filter is what a device's frames are selected by. It is immutable and may be
// given to several devices; each makes an instance of its own, with maps and
// counters of its own. The implementations are [Rules] and [Program].
type Filter interface {
	// XDP returns the filter in the form that the kernel takes. The error
	// wraps [errors.ErrUnsupported] if there is none, and says what to change.
	XDP() (*XDP, error)
	// Instance makes an instance that runs here, for so many queues.
	Instance(queues int) (Instance, error)
}

// XDP is a filter for the kernel: programs and maps that a link completes and
// loads.
type XDP struct {
	// Spec holds the programs and maps. It is the receiver's own to change.
	Spec *ebpf.CollectionSpec
	// Entry names the program in Spec that decides. Its context is an xdp_md.
	Entry string
	// Actions: the program returns XDP's actions (XDP_PASS and so on), and
	// hands frames over by a redirect into the map SocketMap. Otherwise it
	// returns a Verdict, and the link turns it into an action.
	Actions   bool
	SocketMap string
	// RuleHits names a per-CPU array of 64-bit counters in Spec, one a rule
	// and the last for the default, that the program counts in; "": none.
	RuleHits string
}

// Instance is a filter at work on one device. Run is for one goroutine a queue
// at a time; everything else may be called by any goroutine. It is made of
// memory alone: who has no more use for one forgets it, while a Run may still
// be under way.
type Instance interface {
	// Run decides on packets of a queue: it sets their Action and Target and
	// may change and move their bytes. It allocates nothing and locks nothing.
	Run(queue int, packets []Packet)
	// RuleHits returns the hits of each rule, the default's last; nil if the
	// filter has no rules.
	RuleHits() []uint64
	// Map returns a map of the filter's program by its name; ErrNoMap if there
	// is none.
	Map(name string) (Map, error)
}

// Packet is a received frame on its way through an instance.
type Packet struct {
	// Buffer is the whole buffer, the frame's bytes at Off, Len of them. The
	// filter may change the bytes between the buffer's ends and move Off and
	// Len, as bpf_xdp_adjust_head and its like do.
	Buffer   []byte
	Off, Len int
	// TCI is the tag that the device stripped, if Stripped.
	TCI      uint16
	Stripped bool
	// Device is the number of the device that has received the frame, as
	// Device.Number has it: a program's ingress_ifindex.
	Device uint32
	// Action is what to do with the frame.
	Action Action
	// Target of ActionRedirect: the number of a device, as Device.Number has it.
	Target uint32
}

// Bytes are the frame's bytes.
func (p *Packet) Bytes() []byte { return p.Buffer[p.Off:][:p.Len] }

// Action is what a stack does with a frame after its filter has run.
type Action uint8

// Actions: the verdicts, and what only programs of XDP's type can say.
const (
	ActionDrop   = Action(Drop)
	ActionAccept = Action(Accept)
	ActionSkip   = Action(Skip)
	ActionVLAN   = Action(VLAN)
	// ActionError drops the frame: a verdict that does not exist, XDP_ABORTED,
	// a program that was stopped.
	ActionError Action = iota
	// ActionTX sends the frame back where it came from; ActionTXError is for
	// counting those for which that failed.
	ActionTX
	ActionTXError
	// ActionRedirect sends it by the device Target of the stack: as it is by the
	// one that received it, by another a copy, in a buffer of that one's pool. A
	// frame could go without where devices share memory; none do, since each has
	// a region of its own. ActionRedirectError drops it: there is no such target,
	// or it has no buffer, or the frame is too long for it.
	ActionRedirect
	ActionRedirectError
)

// actionNames of what is no verdict.
var actionNames = [...]string{
	ActionError: "error", ActionTX: "tx", ActionTXError: "tx_error", ActionRedirect: "redirect", ActionRedirectError: "redirect_error",
}

// String returns the action's name, a verdict's as [Verdict.String] has it.
func (a Action) String() string {
	switch {
	case a < Verdicts:
		return Verdict(a).String()
	case int(a) < len(actionNames):
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Stats counts what the filters of a device have decided since it was attached,
// and Rules since the last one was set.
type Stats struct {
	// Verdicts counts frames by what the filter said of them, VLAN among them.
	Verdicts [Verdicts]uint64
	// VLANAccepted counts those of Verdicts[VLAN] that were accepted.
	VLANAccepted uint64
	// Errors counts frames dropped because of what the program returned.
	Errors uint64
	// TX and Redirect count frames sent back and sent by another device;
	// TXErrors and RedirectErrors those for which that failed.
	TX, TXErrors, Redirect, RedirectErrors uint64
	// Rules are the hits of each rule, the default's last; nil: no rules.
	Rules []uint64
}

// Map is a map of a running program. Keys and values are bytes in the order
// that the program has them in; the value of a per-CPU map is that of all CPUs
// (here: queues), one after the other, each rounded up to 8 bytes.
type Map interface {
	// Lookup copies the value of key; ErrKeyNotExist wrapped if there is none.
	Lookup(key []byte) ([]byte, error)
	Update(key, value []byte) error
	Delete(key []byte) error
	// Each calls f for each entry, in any order, until it returns false. What
	// changes meanwhile may be seen or not.
	Each(f func(key, value []byte) bool) error
}

// Errors of maps.
var (
	ErrNoMap       = errors.New("filter: no such map")
	ErrKeyNotExist = ebpf.ErrKeyNotExist
)
