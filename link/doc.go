// Package link is the contract between the stack and whatever moves Ethernet
// frames: an AF_XDP socket, a user-space NIC driver, a wire in memory.
//
// A link is passive. It starts no goroutine, keeps no policy and makes no
// copy that its device does not force on it. It owns one region of memory cut
// into buffers of one size ([Memory]), and some numbered queues ([Queue]) that
// trade the indexes of these buffers with the device, in batches.
//
// # Life
//
//	Open (of the concrete link)   the device is known: MTU, address, queues
//	Attach(Layout)                the region is made; every buffer is the caller's
//	Queue.Fill, Receive           receive, for as long as the caller likes
//	Queue.Send, Flush, Reclaim    send, likewise
//	Stop                          the device is quiet; blocked waits return
//	Queue.Drain                   what the device still held is the caller's again
//	Close                         the region is unmapped; no slice of it may be used
//
// # Who owns a buffer
//
// At any time a buffer has one owner. A buffer is named by its index; whoever
// holds the index may touch the bytes, nobody else may.
//
//	         Fill                     the wire
//	caller ────────▶ device (fill) ───────────▶ device (received)
//	   ▲                                              │
//	   │◀─────────────────────────────────────────────┘ Receive
//	   │
//	   │     Send                     the wire
//	caller ────────▶ device (TX) ─────────────▶ device (completed)
//	   ▲                                              │
//	   │◀─────────────────────────────────────────────┘ Reclaim
//	   │
//	   └──────────────── Drain, after Stop: from any of the device's states
//
// The index tells where a buffer is at home: those below Layout.RXTotal belong
// to a receive queue, the others to the device's TX pool ([Memory.Home]). Any
// buffer may be sent, a received one as it is: that is a forward without a
// copy. Only buffers of the receive queue's own may be given to its Fill.
//
// Where the layout asks for it, buffers can be without memory ([Resizer]): then
// nobody may touch them, and no link takes a frame in them. They have their index
// all the time, and an owner, who is whoever had them when the memory went.
//
// # Concurrency
//
// A queue has two sides that may work at the same time. Its receive side
// (Receive, Fill) and its send side (Send, Flush, Reclaim) are each used by one
// goroutine at a time; handing a side over needs a happens-before edge, which
// the stack makes with an atomic. WaitReceive belongs to the receive side,
// WaitSend to the send side. Everything else may be called from anywhere.
package link
