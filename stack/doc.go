// Package stack is the out-of-band network stage: devices with their buffers
// and threads, ports with their addresses, the way of a packet from the wire
// to a socket and back, and the in-band stage for all that is not fast.
//
// # The way in
//
// The RX thread of a queue (or Device.Poll) runs the RX step (rx.go): a batch
// of frames from the link; the device's filter says whose they are (ingress.go;
// on links that share their device it runs below); taps see what they asked for
// (tap.go); each is looked at as far as the stack understands it; runs of
// packets go to their [Protocol], which takes, drops or demotes each. What is
// demoted is copied to a bounded queue (demote.go) that an ordinary goroutine
// feeds to the in-band stage. Every frame is counted once: delivered, demoted,
// forwarded or dropped, by [Reason].
// Who records the device ([Device.Record], recorder.go)
// is shown each frame before all that, and what became of it after.
//
// # The way out
//
// A sender asks the front cache ([Stack.Lookup]), takes a buffer from the
// device's TX pool ([Device.Alloc]), builds the frame in place, and sends it
// ([Device.Send], tx.go): on its own thread, doorbell included, if nobody else
// is sending and nothing waits; else by whoever owns the queue next, in the
// order of the device's [Queueing] (queueing.go). When the cache knows nothing
// ([Stack.Miss]), the datagram is demoted ([Stack.Demote]), and the in-band
// stage resolves the address.
//
// # Who runs what
//
//	<device>.rx   RX step, protocols, handlers     link.Receive, Fill
//	<device>.tx   what senders could not send      link.Send, Flush, Reclaim
//	in-band       one goroutine a device           demoted frames to gVisor
//	keeper        one goroutine a stack            demoted sends, front cache, link states
//
// In manual mode ([link.Manual]) there are no RX and TX threads: Device.Poll
// does their work on the application's own.
//
// # Locks
//
// Stack.mu serialises the control path and is never held by a packet. What
// the control path changes, it publishes with one atomic store; the packet
// path reads it with one atomic load.
package stack
