// Package latmus measures the latency of the stack as EVL's latmus does over a
// network (latmus -E): two sides send each other one packet a period, and each
// says where the time went in its own stack.
package latmus

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"github.com/oobnet/oobnet/internal/rt"
	"github.com/oobnet/oobnet/link"
)

// Defaults and limits. Those with a number in EVL's latmus are EVL's.
const (
	Port            = 59059 // UDP: of both ends, or of an echo
	DefaultPeriod   = time.Millisecond
	DefaultSize     = 64
	DefaultPriority = 10
	DefaultLines    = 21 // of figures between two headings
	DefaultCells    = 200
	MaxCells        = 1000
	DefaultWorst    = 5
	MaxWorst        = 100
	// MinPeriod leaves room for what a cycle itself costs, 5 to 20 us.
	MinPeriod = 50 * time.Microsecond
	MaxPeriod = time.Second
)

// Options of a run, checked by Check.
type Options struct {
	// Interface to run on over AF_XDP, or the PCI address of a NIC to run on over
	// VFIO; empty: two stacks over a wire in memory, or over a veth pair between
	// two namespaces, with Veth.
	Interface string
	Veth      bool
	// Addr is the stack's address on Interface, VLAN its id or 0.
	Addr netip.Prefix
	VLAN uint16
	// Peer is the other side, which runs the same; or an echo, with RTT.
	Peer netip.Addr
	// RTT measures round trips to an echo. Echo is such an echo: it measures
	// nothing. Kernel sends every other packet through sockets of the host's
	// kernel, with RTT.
	RTT, Echo, Kernel bool

	Period   time.Duration
	Duration time.Duration // 0: until interrupted
	Size     int           // of the payload, bytes
	Port     uint16
	Priority int // of the threads in SCHED_FIFO, 0: ordinary
	// CPU to pin the threads to, PeerCPU those of a peer in this process;
	// negative: none.
	CPU, PeerCPU int
	// Poll is how the device waits. Manual: its threads are the one that sends
	// and, in this process, the one that answers, which never sleeps.
	Poll link.PollMode
	// Memory holds collection off until the program uses so many bytes; 0: it
	// collects as Go does.
	Memory int64
	// Spin is how long a thread waits with its eyes open before its packet or
	// its activation comes.
	Spin time.Duration
	// NoCheck leaves the sequence of the packets alone.
	NoCheck bool
	// Abort ends the run when a figure exceeds it; 0: none does.
	Abort time.Duration
	// Silence ends the run when no packet has come for so long; 0: nothing does.
	Silence time.Duration
	// Cells of the histogram for gnuplot, 1 us each.
	Cells int
	// Lines between two headings; 0: one heading.
	Lines int
	// Worst is how many of the worst exchanges are explained.
	Worst int
	// Stress is what disturbs the run.
	Stress Stress
	// Out receives the lines as they come; nil: none.
	Out io.Writer

	// wrap is put around the links, for tests.
	wrap func(link.Link) link.Link
	// switches counts the involuntary switches of the calling thread so far: nil is
	// involuntary, tests have others.
	switches func() int64
}

// Check returns an error that says what is wrong with which flag, and the way out.
func (o *Options) Check() error {
	switch {
	case o.Interface != "" && o.Veth:
		return errors.New("--veth makes a wire of its own: leave -i out")
	case o.Interface == "" && (o.Addr.IsValid() || o.Peer.IsValid() || o.Echo):
		return errors.New("--addr, -E and --echo want an interface: name it by -i, or leave them out to measure in memory or over --veth")
	case o.Interface != "" && !o.Addr.IsValid():
		return fmt.Errorf("-i %s without --addr: give the stack an address of its own there, such as --addr 192.0.2.1/24", o.Interface)
	case o.Interface != "" && !o.Echo && !o.Peer.IsValid():
		return fmt.Errorf("-i %s without -E: name the peer that runs the same, such as -E 192.0.2.2; or be an echo, by --echo", o.Interface)
	case o.Echo && o.Stress.Flood:
		return errors.New("--echo with --stress flood: an echo knows nobody to flood: flood from the other host, by --rtt --stress flood there")
	case o.Echo && (o.RTT || o.Peer.IsValid()):
		return errors.New("--echo with --rtt or -E: an echo answers whoever asks; run --rtt -E on the other host")
	case o.Peer.IsValid() && o.Peer == o.Addr.Addr():
		return fmt.Errorf("-E %v is the own address: give the other host's", o.Peer)
	case o.Period < MinPeriod || o.Period > MaxPeriod:
		return fmt.Errorf("-p %v: want %v to %v", o.Period, MinPeriod, MaxPeriod)
	case o.Size < MinSize || o.Size > MaxSize:
		return fmt.Errorf("-S %d: want %d to %d bytes", o.Size, MinSize, MaxSize)
	case o.Port == 0:
		return errors.New("--port 0: want 1 to 65535")
	case o.Priority < 0 || o.Priority > rt.MaxPriority:
		return fmt.Errorf("-P %d: want 1 to %d, or 0 for ordinary scheduling", o.Priority, rt.MaxPriority)
	case o.Cells < 1 || o.Cells > MaxCells:
		return fmt.Errorf("-H %d: want 1 to %d cells of 1 us", o.Cells, MaxCells)
	case o.Worst < 0 || o.Worst > MaxWorst:
		return fmt.Errorf("--worst %d: want 0 to %d", o.Worst, MaxWorst)
	case o.Duration < 0 || o.Abort < 0 || o.Silence < 0 || o.Spin < 0 || o.Lines < 0 || o.Memory < 0:
		return errors.New("negative -T, -A, -l, --watchdog, --spin or --memory: want 0 or more")
	case o.Poll == link.Manual && o.Priority > 0 && !o.RTT && !o.Echo:
		return fmt.Errorf("--poll manual with -P %d: a thread of SCHED_FIFO that waits for its peer with its eyes open would keep the kernel from bringing the packets: add -P 0, or --rtt", o.Priority)
	case o.Poll == link.Busy && o.Priority > 0 && o.spinners() >= runtime.NumCPU():
		return fmt.Errorf("--poll busy with -P %d on %d cores: %d spinning threads of SCHED_FIFO would leave no core to anybody: add -P 0, or let the device wait (--poll adaptive)",
			o.Priority, runtime.NumCPU(), o.spinners())
	case o.Kernel && !o.RTT:
		return errors.New("--vs kernel without --rtt: round trips are what both can be compared by: add --rtt")
	}
	return nil
}

// spinners are the RX threads that never sleep in busy polling.
func (o *Options) spinners() int {
	if o.Interface == "" {
		return 2
	}
	return 1
}

// spin is for the activations: never longer than a period.
func (o *Options) spin() time.Duration { return min(o.Spin, o.Period) }

// Exit codes of a run that ended for a reason of its own.
const (
	ExitWatchdog = 99
	ExitAbort    = 102
	ExitOdd      = 103
)

// ExitError ends a run, with EVL's exit code for the reason.
type ExitError struct {
	Code   int
	Reason string
}

// Error is the reason.
func (e *ExitError) Error() string { return "latmus: " + e.Reason }

// ExitCode is the process's.
func (e *ExitError) ExitCode() int { return e.Code }
