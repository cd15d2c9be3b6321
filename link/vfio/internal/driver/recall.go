package driver

// Recaller is implemented by queues that can take back receive buffers into which
// no frame has come. Nobody may write to a descriptor that the device may have
// read, so the ring is stopped for that, and programmed anew. The receive side
// calls all of it; PauseReceive and ResumeReceive not while a method of Device
// runs.
type Recaller interface {
	// Holds says whether a buffer whose index is from or higher is on the ring.
	Holds(from uint32) bool
	// PauseReceive tells the device to stop receiving on this queue. Paused says
	// whether it has, and will not touch ring and buffers any more: within 20 ms.
	// Receive goes on to take what has come.
	PauseReceive()
	Paused() bool
	// ResumeReceive programs the ring of a queue that is paused, and in which
	// Receive finds nothing, anew with the buffers that are on it, but for up to
	// len(bufs) of those from from on, which it returns.
	ResumeReceive(from uint32, bufs []uint32) int
}
