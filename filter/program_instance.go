package filter

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/oobnet/oobnet/filter/vm"
)

// Numbers of XDP's actions (enum xdp_action in linux/bpf.h).
const (
	xdpAborted = iota
	xdpDrop
	xdpPass
	xdpTX
	xdpRedirect
)

// programInstance is a program at work in the VM.
type programInstance struct {
	vm     *vm.VM
	kind   kind
	queues []programQueue
}

// programQueue is what one queue runs the program with; one goroutine at a time.
type programQueue struct {
	runner *vm.Runner
	ctx    vm.Context
	_      [cacheLine]byte // the next queue's belongs to another core
}

// cacheLine is that of the machines this runs on, bytes.
const cacheLine = 64

// Instance implements Filter: the program runs in package vm. A plain XDP
// program finds an entry for each queue in its xsks_map. As in the kernel, a
// program with an xdp_md context does not see a tag that the device has
// stripped; one with an __sk_buff does. A program that the VM has to stop has
// an error for a verdict, as has one that returns none of the four.
//
// What an XDP program returns becomes an action: XDP_PASS is Skip, XDP_DROP is
// Drop, XDP_ABORTED and numbers that are no action are errors. A redirect into
// xsks_map is Accept if it is to the frame's own queue, where AF_XDP would take
// it; by number or by a device map it is to the device of that number, which is
// what ingress_ifindex holds.
func (p *Program) Instance(queues int) (Instance, error) {
	if queues < 1 {
		return nil, fmt.Errorf("filter: %v: an instance for %d queues: want at least 1", p, queues)
	}
	spec := p.prunedSpec()
	sockets := spec.Maps[socketMap]
	if p.kind == actionProgram && sockets != nil && sockets.Type == ebpf.XSKMap {
		sockets.MaxEntries = uint32(queues)
	}
	machine, err := vm.New(spec, p.name, &vm.Config{CPUs: queues})
	if err != nil {
		return nil, fmt.Errorf("filter: %v: %w", p, err)
	}
	in := &programInstance{vm: machine, kind: p.kind, queues: make([]programQueue, queues)}
	for i := range in.queues {
		q := &in.queues[i]
		q.runner = machine.Runner(i)
		q.ctx.Queue = uint32(i)
	}
	return in, in.openSockets()
}

// openSockets puts an entry for each queue into the map of sockets.
func (in *programInstance) openSockets() error {
	sockets := in.sockets()
	if sockets == nil {
		return nil
	}
	for i := range in.queues {
		number := binary.LittleEndian.AppendUint32(nil, uint32(i))
		if err := sockets.Update(number, number); err != nil {
			return fmt.Errorf("filter: open queue %d to the program: %w", i, err)
		}
	}
	return nil
}

// sockets is the map of sockets, nil if the program does not use one.
func (in *programInstance) sockets() *vm.Map {
	if in.kind != actionProgram {
		return nil
	}
	return in.vm.Map(socketMap)
}

// Run implements Instance.
//
//oobnet:hot
func (in *programInstance) Run(queue int, packets []Packet) {
	q := &in.queues[queue]
	c := &q.ctx
	for i := range packets {
		p := &packets[i]
		c.Buffer, c.Off, c.Len = p.Buffer, p.Off, p.Len
		c.TCI, c.Stripped, c.IfIndex = p.TCI, p.Stripped, p.Device
		code, fault := q.runner.Run(c)
		p.Off, p.Len = c.Off, c.Len
		switch {
		case fault != 0:
			p.Action = ActionError
		case in.kind == actionProgram:
			p.Action, p.Target = in.act(code, c)
		case code < Verdicts:
			p.Action = Action(code)
		default:
			p.Action = ActionError
		}
	}
	c.Buffer = nil // it is the caller's
}

// act turns XDP's action into one of the stack's.
//
//oobnet:hot
func (in *programInstance) act(code uint32, c *vm.Context) (Action, uint32) {
	switch code {
	case xdpDrop:
		return ActionDrop, 0
	case xdpPass:
		return ActionSkip, 0
	case xdpTX:
		return ActionTX, 0
	case xdpRedirect:
		switch r := &c.Redirect; {
		case r.Kind == vm.RedirectDevice || r.Kind == vm.RedirectMapping:
			return ActionRedirect, r.Value
		case r.Kind == vm.RedirectSocket && r.Map.Name() == socketMap && r.Key == c.Queue:
			return ActionAccept, 0
		}
		return ActionRedirectError, 0
	}
	return ActionError, 0
}

// RuleHits implements Instance: a program has no rules.
func (in *programInstance) RuleHits() []uint64 { return nil }

// Map implements Instance. The map of sockets is the instance's own.
func (in *programInstance) Map(name string) (Map, error) {
	m := in.vm.Map(name)
	if m == nil || m == in.sockets() {
		return nil, fmt.Errorf("%q: %w", name, ErrNoMap)
	}
	return m, nil
}
