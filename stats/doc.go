// Package stats takes one picture of all that a stack has counted: by device,
// queue, port, socket and reason.
//
//	Snapshot
//	├── Devices   RX, TX, pool, filter, threads
//	│   └── Queues   the same by queue, and what the link counted
//	├── Ports
//	├── Sockets   each that is open
//	├── Protocols the sums over sockets, those that are closed too
//	└── Stack     in-band stage, front cache, faults
//
// # How it is taken
//
// Nothing stops: counters are read one by one while packets come and go. So a
// picture of a busy stack is of no single moment, but it is never impossible:
// what became of frames is read before how many there were, and RX.UnderWay, the
// frames that steps are at, is never negative. When traffic stands still, it is 0, and
// the books add up: those of devices, and the sums over sockets with them.
//
// # Where it goes
//
// A Snapshot is a tree of plain values, the caller's own. It goes to JSON and comes
// back with encoding/json, the reasons by name; [Var] is one for package expvar;
// package metrics makes Prometheus metrics of it.
package stats
