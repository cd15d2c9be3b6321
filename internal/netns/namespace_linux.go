package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Dir is where named namespaces are mounted, as `ip netns` has it.
const Dir = "/run/netns"

// namePrefix starts the names of all our namespaces: prefix, process id, serial number.
const namePrefix = "oobnet-"

// serial tells apart the namespaces of one process; goroutines that make
// wires at the same time share it.
var serial atomic.Uint64

// handle keeps a namespace. fd is closed by the wire's Close.
type handle struct {
	fd *os.File
	id os.FileInfo // device and inode, to find who else holds it
}

// newNamespace makes a namespace with a name of its own and enters nobody.
func newNamespace() (name string, h handle, err error) {
	name = fmt.Sprintf("%s%d-%d", namePrefix, os.Getpid(), serial.Add(1))
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return name, handle{}, err
	}
	done := make(chan error)
	go func() { done <- mountNew(filepath.Join(Dir, name)) }()
	if err := <-done; err != nil {
		return name, handle{}, fmt.Errorf("make %s: %w", name, err)
	}
	f, err := os.Open(filepath.Join(Dir, name))
	if err != nil {
		return name, handle{}, errors.Join(err, removeNamespace(name))
	}
	id, err := f.Stat()
	if err != nil {
		f.Close()
		return name, handle{}, errors.Join(err, removeNamespace(name))
	}
	return name, handle{fd: f, id: id}, nil
}

// mountNew moves the calling thread into a new namespace, mounts that on path
// and moves the thread home. The mount keeps the namespace alive.
func mountNew(path string) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return os.NewSyscallError("unshare", err)
	}
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		os.Remove(path)
		return os.NewSyscallError("mount", err)
	}
	return nil
}

// removeNamespace takes the name away. The namespace goes when nothing is in it.
func removeNamespace(name string) error {
	path := filepath.Join(Dir, name)
	// EINVAL: the mount is gone already, the file under it may still be there.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return os.NewSyscallError("umount", err)
	}
	return os.Remove(path)
}

// removeStale removes namespaces of ours whose process is gone: a test binary
// that ran into its timeout or was killed cannot clean up.
func removeStale() {
	names, err := filepath.Glob(filepath.Join(Dir, namePrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range names {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, namePrefix), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 0 || !errors.Is(unix.Kill(n, 0), unix.ESRCH) {
			continue
		}
		_ = removeNamespace(name) // another process may be doing the same, and win
	}
}

// Own lists the paths of the namespaces that this process has made and not
// yet removed.
func Own() ([]string, error) {
	return filepath.Glob(filepath.Join(Dir, fmt.Sprintf("%s%d-*", namePrefix, os.Getpid())))
}

// held says who in this process still keeps the namespace: one of its threads
// or an open descriptor of the namespace itself. Sockets do not show it.
func (h handle) held() error {
	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, p := range paths {
			if id, err := os.Stat(p); err == nil && os.SameFile(id, h.id) {
				return fmt.Errorf("namespace is still held by %s", p)
			}
		}
	}
	return nil
}
