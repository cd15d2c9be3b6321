package vm

import "math/rand/v2"

const (
	// MaxDepth is how many functions may be under way at once, the entry
	// counted: the kernel's limit.
	MaxDepth = 8
	// frameSize is the stack of one function, bytes: the kernel's
	// MAX_BPF_STACK, which there is for the whole chain of calls.
	frameSize = 512
	// maxTailCalls in one run: the kernel's MAX_TAIL_CALL_CNT.
	maxTailCalls = 33
)

// frame is what a call saves, to be restored by the exit.
type frame struct {
	r6, r7, r8, r9 uint64
	pc             int
}

// Runner runs a VM's program as one CPU: it has a stack, registers and per-CPU
// values of its own. It is for one goroutine at a time; the Runners of a VM
// may run side by side.
type Runner struct {
	vm  *VM
	cpu int
	// read and write are the memory by region; a region that is missing in one
	// of them cannot be accessed that way.
	read, write [][]byte

	ctx *Context
	// The frame: indexes in ctx.Buffer. meta <= data <= end; hardEnd is
	// the buffer's length.
	meta, data, end int
	// frame is the frame of a socket filter, which has no pointer to it.
	frame []byte
	cb    [5]uint32

	// The state of a run.
	fault     Fault
	pc        int // of the fault; -1: none
	budget    int // instructions left
	charged   int // of those taken off it, what helpers were charged for their work
	depth     int // function under way, 0: the entry
	deepest   int // function of this run
	tailCalls int

	frames  [MaxDepth]frame
	stack   []byte
	scratch []byte
	// key is that of a hash while it is looked up.
	key    [maxKeyWords]uint64
	random rand.PCG
}

// Runner makes what runs the program as a CPU, from 0 to Config.CPUs-1; nil
// for another number. Of one CPU there can be one Runner at work at a time: it
// alone writes that CPU's values.
func (v *VM) Runner(cpu int) *Runner {
	if cpu < 0 || cpu >= v.cpus {
		return nil
	}
	r := &Runner{vm: v, cpu: cpu, stack: slab(MaxDepth * frameSize), scratch: slab(MaxDepth * scratchSize)}
	regions := regionValues + len(v.maps)
	r.read, r.write = make([][]byte, regions), make([][]byte, regions)
	r.deepen(0)
	r.read[regionScratch] = r.scratch
	for i, m := range v.maps {
		r.read[regionValues+i], r.write[regionValues+i] = m.memory(cpu)
	}
	r.random.Seed(rand.Uint64(), rand.Uint64())
	return r
}

// Run runs the program on a frame and returns what it returns, the lower 32
// bits of r0. With a Fault other than 0 the code is 0 (XDP_ABORTED, and a
// verdict to drop), and the bytes of the frame are as the program left them.
//
// Nothing is allocated, nothing waits. The program finds its stack cleared and
// nothing else of earlier runs but what it keeps in maps.
//
//oobnet:hot
func (r *Runner) Run(c *Context) (code uint32, fault Fault) {
	if c.Off < 0 || c.Len < 0 || c.Off > len(c.Buffer) || c.Len > len(c.Buffer)-c.Off || len(c.Buffer) > maxRegion {
		r.fault, r.pc, r.budget, r.charged = FaultInput, -1, r.vm.budget, 0
		return 0, FaultInput
	}
	r.ctx, c.Redirect = c, Redirect{}
	r.fault, r.pc, r.budget, r.charged, r.tailCalls = 0, -1, r.vm.budget, 0, 0
	clear(r.stack[:(r.deepest+1)*frameSize])
	if r.deepest > 0 {
		r.deepen(0)
	}
	if r.vm.socket {
		r.frame, r.cb = c.Buffer[c.Off:][:c.Len], [5]uint32{}
	} else {
		r.meta, r.data, r.end = c.Off, c.Off, c.Off+c.Len
		r.window()
	}
	args := [5]uint64{regionContext << regionShift}
	code = uint32(r.exec(r.vm.entry, 0, &args))
	if !r.vm.socket {
		c.Off, c.Len = r.data, r.end-r.data
	}
	r.ctx, r.frame = nil, nil
	if r.fault != 0 {
		return 0, r.fault
	}
	return code, 0
}

// deepen shows the program the stack of the functions up to a depth, which are
// the ones that the next run clears, and no more.
func (r *Runner) deepen(depth int) {
	n := (depth + 1) * frameSize
	r.deepest = depth
	r.read[regionStack], r.write[regionStack] = r.stack[:n:n], r.stack[:n:n]
}

// window shows the program the frame and its metadata, and no more.
func (r *Runner) window() {
	b := r.ctx.Buffer[r.meta:r.end:r.end]
	r.read[regionPacket], r.write[regionPacket] = b, b
}

// Steps is how much of the budget the last run took: its instructions, and what
// helpers were charged for work that is longer than one.
func (r *Runner) Steps() int { return r.vm.budget - max(r.budget, 0) }

// Instructions is how many instructions of the program the last run took, those
// that call helpers included: Steps without what helpers were charged.
func (r *Runner) Instructions() int { return max(r.Steps()-r.charged, 0) }

// Where says at which instruction, function and line of source the last run
// was ended by a fault; "" if it was not.
func (r *Runner) Where() string {
	if r.fault == 0 || r.pc < 0 {
		return ""
	}
	return r.vm.where(r.pc)
}
