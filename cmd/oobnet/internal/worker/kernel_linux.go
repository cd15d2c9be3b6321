package worker

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// counter is moved by the working thread and read by the one that reports.
type counter struct{ atomic.Uint64 }

// background is a job whose work goes on in a thread of its own.
type background struct {
	packets counter
	failed  chan error
}

func (b *background) run(d time.Duration) (Figures, error) {
	f, err := observe(d, b.packets.Load)
	select {
	case failure := <-b.failed:
		return nil, failure
	default:
		return f, err
	}
}

// close leaves the thread to the end of the process.
func (b *background) close() {}

// start runs loop, which ends only by failing, on a thread of its own.
func (b *background) start(loop func() error) {
	b.failed = make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		b.failed <- loop()
	}()
}

// transient tells errors that a datagram socket goes on after.
func transient(errno unix.Errno) bool {
	return errno == 0 || errno == unix.EAGAIN || errno == unix.EINTR || errno == unix.ENOBUFS || errno == unix.ECONNREFUSED
}

// openKernelEcho answers with one recvfrom and one sendto a datagram.
func openKernelEcho(s Spec) (job, error) {
	k, err := newSocket(s)
	if err != nil {
		return nil, err
	}
	b := &background{}
	data := make([]byte, 2048)
	from := &unix.RawSockaddrInet4{}
	b.start(func() error {
		for {
			n, errno := k.receiveFrom(data, from)
			if errno != 0 {
				if !transient(errno) {
					return fmt.Errorf("receive: %w", errno)
				}
				continue
			}
			if errno := k.sendTo(data[:n], from); !transient(errno) {
				return fmt.Errorf("send: %w", errno)
			}
			b.packets.Add(1)
		}
	})
	return b, nil
}

// openKernelSender sends as fast as the kernel takes it.
func openKernelSender(s Spec) (job, error) {
	k, err := newSocket(s)
	if err != nil {
		return nil, err
	}
	b := &background{}
	send := singly(k, s.Size)
	if s.Role == KernelBatch {
		u := newBurst(s.Size)
		send = func() (int, unix.Errno) { return k.batch(unix.SYS_SENDMMSG, u, 0) }
	}
	b.start(func() error {
		for {
			n, errno := send()
			if !transient(errno) {
				return fmt.Errorf("send: %w", errno)
			}
			b.packets.Add(uint64(n))
		}
	})
	return b, nil
}

func singly(k *socket, size int) func() (int, unix.Errno) {
	data := make([]byte, size)
	return func() (int, unix.Errno) {
		if errno := k.send(data); errno != 0 {
			return 0, errno
		}
		return 1, 0
	}
}

// openKernelSink takes datagrams with recvmmsg and counts them.
func openKernelSink(s Spec) (job, error) {
	k, err := newSocket(s)
	if err != nil {
		return nil, err
	}
	b := &background{}
	u := newBurst(2048)
	flags := k.flags
	if s.Sleep {
		// Sleep for the first, then take what is there.
		flags = unix.MSG_WAITFORONE
	}
	b.start(func() error {
		for {
			n, errno := k.batch(unix.SYS_RECVMMSG, u, flags)
			if !transient(errno) {
				return fmt.Errorf("receive: %w", errno)
			}
			b.packets.Add(uint64(n))
		}
	})
	return b, nil
}
