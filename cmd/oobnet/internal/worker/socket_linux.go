package worker

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a UDP socket of the kernel's, driven by bare system calls: the
// peer is the kernel, not package net.
type socket struct {
	fd    int
	flags uintptr // MSG_DONTWAIT for a spinning one
	sleep bool
	raw   bool
	// fromLen is the value-result length of receiveFrom's address.
	fromLen uint32
}

// recvTimeout bounds a sleeping receive, so that a lost datagram costs a
// sample and not the contest.
const recvTimeout = 100 * time.Millisecond

func newSocket(s Spec) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	k := &socket{fd: fd, sleep: s.Sleep, raw: s.Raw && !s.Sleep}
	if !s.Sleep {
		k.flags = unix.MSG_DONTWAIT
	}
	// As much as the machine allows: the contests are about speed, not about
	// who has the smaller queue.
	for _, name := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, name, 8<<20); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	tv := unix.NsecToTimeval(int64(recvTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if s.Local.IsValid() {
		if err := unix.Bind(fd, sockaddr(s.Local)); err != nil {
			return nil, fmt.Errorf("bind %v: %w", s.Local, err)
		}
	}
	if s.Remote.IsValid() {
		if err := unix.Connect(fd, sockaddr(s.Remote)); err != nil {
			return nil, fmt.Errorf("connect %v: %w", s.Remote, err)
		}
	}
	return k, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// call makes a system call: an ordinary one, as Go programs do, or a raw one,
// which skips the runtime's bookkeeping for calls that may block. A thread that
// spins in ordinary calls has the runtime's monitor thread wake far more often
// on the same core (some 1000 to 1400 times a second were counted, against 150),
// and its p99 is the worse for it. The collector is off here, so that nothing
// waits for a raw thread to come to a safe point.
//
//go:uintptrescapes
func (k *socket) call(number, a, b, c, d, e uintptr) (uintptr, unix.Errno) {
	if k.raw {
		n, _, errno := unix.RawSyscall6(number, uintptr(k.fd), a, b, c, d, e)
		return n, errno
	}
	n, _, errno := unix.Syscall6(number, uintptr(k.fd), a, b, c, d, e)
	return n, errno
}

// send on a connected socket.
func (k *socket) send(b []byte) unix.Errno {
	_, errno := k.call(unix.SYS_SENDTO, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	return errno
}

// receive returns EAGAIN when there is nothing, or nothing for recvTimeout.
func (k *socket) receive(b []byte) (int, unix.Errno) {
	n, errno := k.call(unix.SYS_RECVFROM, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), k.flags, 0, 0)
	return int(n), errno
}

// receiveFrom receives and keeps the sender's address.
func (k *socket) receiveFrom(b []byte, from *unix.RawSockaddrInet4) (int, unix.Errno) {
	k.fromLen = uint32(unsafe.Sizeof(*from))
	n, errno := k.call(unix.SYS_RECVFROM, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), k.flags,
		uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&k.fromLen)))
	return int(n), errno
}

func (k *socket) sendTo(b []byte, to *unix.RawSockaddrInet4) unix.Errno {
	_, errno := k.call(unix.SYS_SENDTO, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0,
		uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to))
	return errno
}

// mmsghdr is the kernel's struct mmsghdr (socket.h). unix has no name for it.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// 64 bytes on 64-bit Linux, the only one that the wire contests run on.
const _ = uint(64-unsafe.Sizeof(mmsghdr{})) + uint(unsafe.Sizeof(mmsghdr{})-64)

// burst is a prepared sendmmsg or recvmmsg.
type burst struct {
	hdrs [burstSize]mmsghdr
	iovs [burstSize]unix.Iovec
}

// burstSize is the batch of sendmmsg and recvmmsg: beyond 64 neither gains.
const burstSize = 64

func newBurst(size int) *burst {
	u := &burst{}
	data := make([]byte, burstSize*size)
	for i := range u.hdrs {
		u.iovs[i].Base = &data[i*size]
		u.iovs[i].SetLen(size)
		u.hdrs[i].hdr.Iov = &u.iovs[i]
		u.hdrs[i].hdr.SetIovlen(1)
	}
	return u
}

// batch is one sendmmsg or recvmmsg of the burst, and returns its messages.
func (k *socket) batch(number uintptr, u *burst, flags uintptr) (int, unix.Errno) {
	n, errno := k.call(number, uintptr(unsafe.Pointer(&u.hdrs[0])), burstSize, flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// stamp puts a sequence number into a payload, as far as it has room.
func stamp(b []byte, n uint64) {
	var s [8]byte
	binary.BigEndian.PutUint64(s[:], n)
	copy(b, s[:])
}
