package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
)

// guardEnv has this test binary look at the interface that it names while the
// kernel watches what it calls; guardEnv with touchEnv writes a file, too.
const (
	guardEnv = "OOBNET_TEST_DOCTOR_GUARDED"
	touchEnv = "OOBNET_TEST_DOCTOR_TOUCHES"
)

func init() {
	if name := os.Getenv(guardEnv); name != "" {
		syscall.Exit(guarded(name))
	}
}

// guarded looks at all that doctor looks at. It returns 3 if that fails, and
// does not return if it tries to change anything.
func guarded(name string) int {
	if err := guard(); err != nil {
		fmt.Println("guard:", err)
		return 3
	}
	if path := os.Getenv(touchEnv); path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		fmt.Println("touched", f, err)
	}
	host := LookAtHost()
	card, err := LookAtCard(name)
	if err != nil {
		fmt.Println(err)
		return 3
	}
	fmt.Println(len(host.Judge()), len(card.Judge(host)))
	return 0
}

// guard has the kernel end this process with SIGSYS when it opens a file to
// write, changes a folder, loads eBPF or a module, mounts, sets the clock or runs
// a program: what a look at a machine has no use for.
// Offsets are those of struct seccomp_data (linux/seccomp.h); an argument's low
// half comes first on the machines that we build for.
func guard() error {
	const number, flags = 0, 16 + 2*8
	forbidden := []uint32{
		unix.SYS_OPENAT2, unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
		unix.SYS_TRUNCATE, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_SETXATTR, unix.SYS_MOUNT, unix.SYS_BPF, unix.SYS_INIT_MODULE,
		unix.SYS_FINIT_MODULE, unix.SYS_CLOCK_SETTIME, unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_EXECVE,
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	program := []unix.SockFilter{load(number)}
	for i, nr := range forbidden {
		toEnd := uint8(len(forbidden) - 1 - i + 4) // behind the four that look at openat
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: toEnd, K: nr})
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 2, K: unix.SYS_OPENAT},
		load(flags),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 1, K: unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC},
		answer(unix.SECCOMP_RET_ALLOW),
		answer(unix.SECCOMP_RET_KILL_PROCESS))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return errno
	}
	return nil
}

// look runs the guarded look in the calling thread's namespace.
func look(name, touch string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), guardEnv+"="+name, touchEnv+"="+touch)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// settings is all that iproute2, ethtool and sysctls tell of an interface.
func settings(name string) (string, error) {
	var b strings.Builder
	for _, line := range []string{
		"ip -d link show", "ip addr show", "ip -4 route show table all", "ip neigh show",
		"ethtool -i " + name, "ethtool -k " + name, "ethtool -l " + name, "ethtool --show-priv-flags " + name, "ethtool -c " + name,
	} {
		words := strings.Fields(line)
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			return "", err // what a driver does not have ends with a code, and stays so
		}
		fmt.Fprintf(&b, "# %s\n%s", line, out)
	}
	for _, dir := range []string{"ipv4/conf", "ipv4/neigh", "ipv6/conf"} {
		paths, err := filepath.Glob("/proc/sys/net/" + dir + "/" + name + "/*")
		if err != nil {
			return "", err
		}
		for _, p := range paths {
			text, err := os.ReadFile(p)
			fmt.Fprintf(&b, "%s: %s (%v)\n", p, bytes.TrimSpace(text), err)
		}
	}
	return b.String(), nil
}

// TestChangesNothing: doctor's look at a machine and at an interface opens no
// file to write, and leaves the interface as it was.
func TestChangesNothing(t *testing.T) {
	leaktest.Check(t)
	for _, tool := range []string{"ip", "ethtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	w := netnstest.NewPair(t, nil)
	file := filepath.Join(t.TempDir(), "setting")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.A.DoErr(func() error {
		before, err := settings(w.A.IfName)
		if err != nil {
			return err
		}
		if out, err := look(w.A.IfName, ""); err != nil {
			t.Errorf("the look ended with %v (SIGSYS: it tried to change something): %s", err, out)
		}
		after, err := settings(w.A.IfName)
		if err != nil {
			return err
		}
		if !strings.Contains(before, "/proc/sys/net/ipv4/conf/"+w.A.IfName) {
			t.Errorf("no setting was read: %s", before)
		}
		if before != after {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		// What would be seen: a file that is opened to write, and a setting.
		out, err := look(w.A.IfName, file)
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
			t.Errorf("a look that writes ended with %v: %s", err, out)
		}
		if out, err := exec.Command("ethtool", "-K", w.A.IfName, "gro", "on", "tso", "off").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		changed, err := settings(w.A.IfName)
		if err == nil && changed == after {
			t.Error("a change of a feature is not seen")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
