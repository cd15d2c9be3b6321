package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Modes of the socket. Connecting takes the right to write.
const (
	ownerMode = 0o600
	groupMode = 0o660
)

// lockPatience is how long another server that starts or ends may hold the
// folder: it dials, binds and unlinks there, which takes milliseconds.
const lockPatience = 3 * time.Second

// probePatience is how long a socket that was there may take to answer.
const probePatience = time.Second

// socket is a listening Unix socket and its file.
type socket struct {
	*net.UnixListener
	path string
	file fs.FileInfo
	gid  int // of the group that may connect, -1: none
}

// listenSocket makes the socket. Whoever connects finds its final mode: there
// is no moment at which others may.
func listenSocket(path string, gid int) (*socket, error) {
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := clearStale(path); err != nil {
		return nil, err
	}
	// The kernel gives the file the mode of the descriptor at bind.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), ownerMode) }); failed != nil {
			return failed
		}
		return err
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	s := &socket{UnixListener: l.(*net.UnixListener), path: path, gid: gid}
	s.SetUnlinkOnClose(false) // by then it may be another server's
	if gid >= 0 {
		err = errors.Join(os.Chown(path, -1, gid), os.Chmod(path, groupMode))
	}
	if err == nil {
		s.file, err = os.Lstat(path)
	}
	if err != nil {
		os.Remove(path)
		l.Close()
		return nil, err
	}
	return s, nil
}

// remove takes the socket's file away, if it is still there and still ours.
func (s *socket) remove() error {
	unlock, err := lockFolder(filepath.Dir(s.path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.file) {
		return os.Remove(s.path)
	}
	return nil
}

// clearStale removes a socket to which nobody listens. Under the folder's lock.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("it is there and no socket: %w: remove it, or choose another path", syscall.EEXIST)
	}
	c, err := net.DialTimeout("unix", path, probePatience)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("another server listens there: %w: stop it, or choose another path", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("another server listens there, and is busy: %w: stop it, or choose another path", syscall.EADDRINUSE)
	}
	return fmt.Errorf("cannot tell whether somebody listens there: %w", err)
}

// lockFolder lets one server at a time look for, make and remove a socket in
// a folder, and leaves no file behind.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("lock of folder %s: %w", dir, err)
		}
	}
}

// admits asks the kernel who connected; nil: they may.
func (s *socket) admits(c net.Conn) error {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var groups []uint32
	failed := raw.Control(func(fd uintptr) {
		if peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && s.gid >= 0 {
			groups, err = peerGroups(int(fd))
		}
	})
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("credentials of the peer: %w", err)
	}
	if peer.Uid == 0 || int(peer.Uid) == os.Geteuid() {
		return nil
	}
	if s.gid >= 0 && (int(peer.Gid) == s.gid || slices.Contains(groups, uint32(s.gid))) {
		return nil
	}
	return fmt.Errorf("user %d may not manage this process: %w: be its user, root, or a member of the group that it names", peer.Uid, syscall.EACCES)
}

// maxGroups of a process: NGROUPS_MAX of Linux.
const maxGroups = 65536

// peerGroups are the supplementary groups of the peer (SO_PEERGROUPS, Linux
// 4.13). x/sys has no call for an option that is a list.
func peerGroups(fd int) ([]uint32, error) {
	for room := 32; ; room *= 4 {
		groups := make([]uint32, room)
		size := uint32(room * 4) // bytes
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case e == 0:
			return groups[:size/4], nil
		case e != unix.ERANGE || room > maxGroups:
			return nil, os.NewSyscallError("getsockopt SO_PEERGROUPS", e)
		}
	}
}
