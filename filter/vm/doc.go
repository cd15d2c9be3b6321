// Package vm runs eBPF programs of the packet kinds (XDP and socket filter) in
// user space, for links that have no kernel in front of them: the same object
// files, with the same results and the same contents of maps.
//
// A [VM] is made of a collection and the name of its entry program, once: all
// instructions are decoded and checked, the maps are made and filled. Each
// queue then has a [Runner], which runs one frame at a time; Runners of one VM
// share its maps, as programs on several CPUs do, and each is a CPU of its own
// to per-CPU maps.
//
// # What a program can do
//
// The whole instruction set of RFC 9669 (version 4 of clang's -mcpu), the loads
// and stores with an order that Linux 6.15 has added to it, calls between
// functions, tail calls, the legacy packet loads of socket filters.
// Objects are little-endian (bpfel), as both architectures are that this
// module runs on. Maps: arrays, hashes and LRU hashes, both also per CPU, LPM
// tries, program arrays, AF_XDP socket and device maps as targets of a
// redirect, and global data. [Helpers] lists the functions. New refuses
// whatever else a program uses, and says what and where.
//
// # What a hostile program can do
//
// Return a wrong verdict, and change the frame and its own maps. There is no
// verifier: each access is checked when it is made. An address of the VM is
// not one of the machine: it has the number of a region in its upper 32 bits
// and an offset in the lower, and is looked up and compared with the region's
// length at each load and store. So a program may compute with addresses as it
// likes: it reaches its stack, the bytes of the frame, the context's fields
// and the values of its maps, and a stale pointer to a deleted entry stays
// inside that map. Everything else ends the run with a [Fault]. So does the
// budget of instructions, which bounds the time of a run.
//
// # Where the kernel differs
//
// Programs that the verifier takes behave here as there, with these exceptions.
// A program has 512 bytes of stack in each function, not in all together. The
// 32-bit compare-and-exchange clears the upper half of r0, as RFC 9669 has it;
// the kernel on amd64 leaves it if the values were equal. bpf_csum_diff returns
// 16 bits, as it does from Linux 6.13 on. An update of a hash that finds its
// bucket taken for longer than some microseconds, because a thread of this
// process was preempted there, fails with EBUSY.
//
// # Memory shared with others
//
// The values of maps are memory that queues, and Go code through [Map], use at
// the same time, without locks, as in the kernel. The same holds as there: an
// aligned word of up to 8 bytes is read and written whole, several words are
// not, and who counts on several CPUs uses atomics or a per-CPU map. The
// structure of maps (chains, slots, which entry is whose) is not subject to
// this: it is kept with sync/atomic.
package vm
