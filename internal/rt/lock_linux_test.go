package rt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// resident counts the pages of b that are in RAM.
func resident(b []byte) (n int, err error) {
	page := os.Getpagesize()
	in := make([]byte, len(b)/page)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&in[0])))
	if errno != 0 {
		return 0, fmt.Errorf("mincore: %w", errno)
	}
	for _, v := range in {
		n += int(v & 1)
	}
	return n, nil
}

func TestPrefaultMakesPagesResident(t *testing.T) {
	b, err := unix.Mmap(-1, 0, 16*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	if n, err := resident(b); err != nil || n != 0 {
		t.Skipf("this kernel makes %d of 16 pages resident before they are touched, or does not say (%v)", n, err)
	}
	Prefault(b)
	if n, err := resident(b); err != nil || n != 16 {
		t.Errorf("%d of 16 pages in RAM, %v", n, err)
	}
}

// childEnv tells this program that it is the child of a test: a process of its
// own, whose limits and rights may be taken away.
const childEnv = "OOBNET_RT_TEST_CHILD"

func TestMain(m *testing.M) {
	if what, ok := os.LookupEnv(childEnv); ok {
		if err := runChild(what); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runChild locks memory in the way that what says, and prints what it found.
func runChild(what string) error {
	if strings.Contains(what, "limited") {
		if err := limit(); err != nil {
			return err
		}
	}
	before := locked()
	err := LockMemory(strings.Contains(what, "fault"))
	fmt.Printf("eperm=%v grew=%v ", errors.Is(err, unix.EPERM), locked() > before)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	// The runtime goes on mapping, and handing back.
	for range 3 {
		Prefault(make([]byte, 32<<20))
	}
	b, err := unix.Mmap(-1, 0, 16*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	n, err := resident(b)
	if err != nil {
		return err
	}
	err = UnlockMemory()
	fmt.Printf("untouched=%d back=%v\n", n, locked() == 0)
	return err
}

// limit takes CAP_IPC_LOCK from this thread, and limits the locked memory of the
// process to 1 MiB.
func limit() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_IPC_LOCK
	data[0].Permitted &^= 1 << unix.CAP_IPC_LOCK
	runtime.LockOSThread() // capabilities are a thread's
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
}

// locked is the locked memory of the process, KiB.
func locked() (kib int) {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmLck:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return -1
	}
	return kib
}

func child(t *testing.T, what string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	return string(out)
}

func TestLockMemory(t *testing.T) {
	if !MayLockMemory() {
		t.Skip("needs CAP_IPC_LOCK")
	}
	if out := child(t, "now"); !strings.Contains(out, "eperm=false grew=true untouched=16 back=true") {
		t.Errorf("locked at once: %s", out)
	}
	if out := child(t, "fault"); !strings.Contains(out, "eperm=false grew=true untouched=0 back=true") {
		t.Errorf("locked when touched: %s", out)
	}
}

func TestLockMemoryIsRefusedUnderALimit(t *testing.T) {
	out := child(t, "limited")
	if !strings.Contains(out, "eperm=true grew=false") || !strings.Contains(out, "1024 KiB") || !strings.Contains(out, "ulimit -l") {
		t.Errorf("under a limit of 1 MiB: %s", out)
	}
}
