package afxdp

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// withoutCapabilities runs f in the host's namespace on a thread that has lost
// some of its effective capabilities.
func withoutCapabilities(t *testing.T, h *netnstest.Host, lost uint64, f func()) {
	t.Helper()
	h.Do(func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var was, less [2]unix.CapUserData
		if err := unix.Capget(&header, &was[0]); err != nil {
			t.Error(err)
			return
		}
		less = was
		less[0].Effective &^= uint32(lost)
		less[1].Effective &^= uint32(lost >> 32)
		if err := unix.Capset(&header, &less[0]); err != nil {
			t.Error(err)
			return
		}
		// Only the effective set was changed: the thread can be put right.
		defer unix.Capset(&header, &was[0])
		f()
	})
}

func TestNoPrivileges(t *testing.T) {
	w := kernelPair(t, 1)
	for name, lost := range map[string]uint64{"no CAP_NET_RAW": 1 << unix.CAP_NET_RAW, "no CAP_NET_ADMIN": 1 << unix.CAP_NET_ADMIN} {
		withoutCapabilities(t, w.A, lost|1<<unix.CAP_SYS_ADMIN, func() {
			l, err := Open(w.A.IfName, nil)
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
				t.Errorf("%s: %v, want EPERM and what is needed", name, err)
			}
		})
	}
}

// TestFeaturesPrivileges: features want no more than the link does, from a thread
// in the interface's namespace, and say so from another one.
func TestFeaturesPrivileges(t *testing.T) {
	needsFeatures(t, RXTime|TXChecksum)
	leaktest.Check(t)
	w := kernelPair(t, 1)
	const kept = 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_BPF
	var l *Link
	var err error
	withoutCapabilities(t, w.A, ^uint64(kept), func() {
		if l, err = Open(w.A.IfName, &Config{With: RXTime | TXChecksum}); err != nil {
			return
		}
		err = errors.Join(l.Select(claimOurs), l.SetFilter(handmade("GPL")), l.SetFilter(nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	withoutCapabilities(t, w.B, ^uint64(kept), func() { err = l.Select(claimSuite) })
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "namespace") {
		t.Errorf("claims from another namespace: %v", err)
	}
	if err := l.Select(claimSuite); err != nil {
		t.Errorf("claims from the test's namespace, which may enter the other: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestLockedMemory registers more than the limit allows.
func TestLockedMemory(t *testing.T) {
	w := kernelPair(t, 1)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	small := unix.Rlimit{Cur: 1 << 16, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &small); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit)
	region, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(region)
	withoutCapabilities(t, w.A, 1<<unix.CAP_IPC_LOCK, func() {
		fd, err := newSocket()
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := registerUMEM(fd, region, 2048, 0); !errors.Is(err, unix.ENOBUFS) || !strings.Contains(err.Error(), "CAP_IPC_LOCK") {
			t.Errorf("%v, want ENOBUFS and the way out", err)
		}
	})
}
