// Package rt is for the application's own real-time threads: a thread that runs
// a function once a period ([Cycle]), memory that does not fault ([Lock],
// [Prefault]), a garbage collector that keeps still ([Quiet]), and a look at
// what this machine gives ([Environment]). What a machine refuses is reported,
// with the reason and the way out, and never swallowed.
//
// It is independent of the stack. The two meet in manual mode: a cycle calls
// Device.Poll of package stack at each activation, so that input, control and
// output of a controller are one thread, and the stack has none.
//
// # How a cycle waits
//
// The thread sleeps by clock_nanosleep until an absolute time on
// CLOCK_MONOTONIC, again and again if a signal (the runtime's own included)
// ends it early. A relative sleep would drift, and time.Sleep waits in the
// runtime's poller, which counts in milliseconds: at a period of 250 us on a
// virtual machine with two cores it was late by 0.9 ms in the median, absolute
// sleep by 0.09 ms, a spinning thread by 0.3 us.
//
// It is an ordinary system call, by intention. The scheduler then knows that
// the thread waits: its processor (P) runs others, and nobody has to wait for
// it to stop the world. A raw system call keeps the P, and cannot be stopped
// where it stands: spinning in those held up collections for 0.2 to 0.8 s. The
// price is the way back: while the thread sleeps its P may be taken, and then it
// needs another. If all are busy it waits until one of them is preempted, 10 ms
// or more, whatever its priority is: that is a queue in Go, not in the kernel.
//
//   - Have a spare P: GOMAXPROCS at least one more than there are cycles and
//     goroutines that may be busy at one time, even if that is more than there
//     are cores. As long as one P is idle, and nothing waits in its queue, the
//     scheduler leaves a sleeper its own for up to 10 ms (Go 1.26): a cycle of
//     less keeps it as a rule. A P that nobody runs on costs nothing.
//   - Have a spin tail (Config.Spin): the thread wakes early, and waits for the
//     rest with its eyes open. 50 to 100 us are a start; Latency of a run
//     without a tail shows what is needed. It hides what a wake-up takes, not a
//     P that is not there.
//
// Measured at 1 kHz, SCHED_FIFO 80, on a virtual machine with two shared cores
// and one goroutine that never waits, 3000 periods: GOMAXPROCS=2: p99 5.1 ms,
// 505 activations missed; with a tail of 100 us the same, 413 missed;
// GOMAXPROCS=4: p99 0.28 ms, 12 missed; with the tail p50 17 ns, p99 36 us, 3
// missed. Shapes, not bounds.
//
// # The collector
//
// A collection stops all threads twice, mostly for 0.02 to 0.2 ms, and lets
// those that allocate help it in between. A cycle that allocates nothing is
// still stopped. So:
//
//   - allocate nothing in the cycle, which runtime/metrics proves;
//   - hold collection off while it counts ([Quiet]), or for good (GOGC=off)
//     with GOMEMLIMIT as the backstop, and call runtime.GC in maintenance
//     windows, when the machine stands still;
//   - with GOGC=off and no limit, memory that leaks ends the process: always
//     set one.
//
// # GOMAXPROCS
//
// Fix it, by the environment or by a call at start, with the spare P of above.
// Where it is not fixed the runtime looks at the CPU limit as often as once a
// second, and stops the world to follow it. Never set it to 1.
//
// # Cores
//
// Pin the cycle (Config.CPUs) to a core that the kernel keeps free (isolcpus=,
// nohz_full=, rcu_nocbs=, interrupts elsewhere), and keep the other threads of
// the program off that core: start it under taskset with the rest of the cores
// and pin the cycle to the isolated one, which a thread may do whatever mask it
// was born with. Then give it a priority: SCHED_FIFO without a core of its own
// keeps the runtime's threads waiting, those of the collector among them, and
// the cycle then waits for these.
//
// On cores that other programs use as well, a cycle can be 100 ms late that no
// thread has preempted. It wakes up on time and finds no P, because the
// collector or a busy goroutine has it on an ordinary thread, which waits for
// its turn among the threads of all programs. A thread that waits with its eyes
// open meets that, too: the runtime takes the P of who has had it for 10 ms
// without a wait in Go (41 times a second were counted), and a thread of its own
// is brought back by another one. Priority is no help there; a spare core is,
// and a collector that is held off.
//
// Do not give all threads of the program a priority (chrt -f) to cure it: it
// measured well, until a collection did not end. Threads of one priority in
// SCHED_FIFO do not take turns, and the runtime counts on that; this one held
// both cores of a machine for ten minutes.
//
// A thread of SCHED_FIFO that spins all the time starves what else is on its
// core, until the kernel takes 5 % of each second away from it
// (sched_rt_runtime_us; in newer kernels, for the others' deadline server). Leave
// some of each period to the rest.
//
// # What is noise besides
//
// Frequency scaling (governor performance) and deep idle states, where a core
// takes 50 us and more to wake; hyper-threads; page faults ([Lock]); a clock
// that is not the TSC, which makes each reading a system call. [Environment]
// shows them. On other systems than Linux, cycles run on Go's timers and
// [Report] says so: good for a test on the developer's desk, and no more.
package rt
