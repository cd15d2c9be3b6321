// Package worker runs one side of a wire contest in a process of its own: its
// threads stay on one core, its collector does not run, its processor time is
// its own, and when the bench dies it dies too.
//
// The bench starts its own binary again with [EnvVar] set; [Main], called
// first thing in main, then serves the role and never returns. The two speak
// JSON lines: the worker says that it is ready, or why not; the bench asks
// with a duration, the worker answers with figures; the end of the worker's
// input ends the worker.
package worker

import (
	"encoding/json"
	"net/netip"
	"time"
)

// EnvVar holds the Spec of a worker process, as JSON.
const EnvVar = "OOBNET_BENCH_WORKER"

// Role is what a worker does.
type Role string

// Roles. "Kernel" ones use sockets of the kernel, "ours" the stack over
// AF_XDP, and LinkBlast an AF_XDP link alone.
const (
	KernelClient Role = "kernel-client" // sends, waits for the echo, measures the round trip
	KernelEcho   Role = "kernel-echo"   // recvfrom, sendto
	KernelSend   Role = "kernel-send"   // one sendto a datagram, as fast as it goes
	KernelBatch  Role = "kernel-batch"  // sendmmsg, as fast as it goes
	KernelSink   Role = "kernel-sink"   // recvmmsg, counts
	OursEcho     Role = "ours-echo"     // a handler that sends back
	OursSend     Role = "ours-send"     // WriteToUDPAddrPort, as fast as it goes
	OursBatch    Role = "ours-batch"    // WriteBatch, as fast as it goes
	OursSink     Role = "ours-sink"     // a handler that counts
	LinkBlast    Role = "link-blast"    // the same frame, as fast as the link takes it
)

// Spec of a worker.
type Spec struct {
	Role Role
	// CPU that all threads of the process stay on; negative: any.
	CPU int
	// Sleep: wait in the kernel for the next datagram; otherwise spin.
	Sleep bool
	// Raw: spinning kernel roles pass the Go runtime by in their system calls.
	Raw bool
	// IfName is the interface of the roles on AF_XDP.
	IfName string
	// Prefix is the address of the roles on the stack.
	Prefix netip.Prefix
	// Local and Remote ends; the port of either may be all that a role needs.
	Local, Remote netip.AddrPort
	// RemoteMAC for the frames of LinkBlast.
	RemoteMAC [6]byte
	// Size of the payload, bytes.
	Size int
}

// Figures are what a worker measured in one run, by metric. All roles but
// KernelClient report "packets" and "cpu_ns" (user and system time of the
// process) of the run; KernelClient "count", "lost" and nanoseconds "min",
// "p50", "p99", "p999", "max".
type Figures map[string]float64

// request asks for a run.
type request struct {
	Run time.Duration `json:"run"`
}

// reply is the worker's only kind of line: ready once, figures for each run,
// or the error that ends it.
type reply struct {
	Ready   bool    `json:"ready,omitempty"`
	Figures Figures `json:"figures,omitempty"`
	Error   string  `json:"error,omitempty"`
}

func (s Spec) encode() (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}
