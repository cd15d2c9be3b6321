package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// TestLeast takes each capability and each family of sockets away in turn: the
// unit names none that the program does without.
func TestLeast(t *testing.T) {
	leaktest.Check(t)
	b := newBench(t)
	u := readUnit(t)
	if !slices.Equal(u.Ambient, u.Bounding) {
		t.Errorf("ambient capabilities %v, bounding set %v", u.Ambient, u.Bounding)
	}
	// With all of them it works: what fails below fails for the lack of one.
	whole := b.start(t, u)
	if line := whole.firstLine(); !strings.Contains(line, "answering") {
		t.Fatalf("as the unit has it: %s", line)
	}
	if err := whole.end(); err != nil {
		t.Fatal(err)
	}
	without := map[string]unit{}
	for name, number := range capabilities {
		if slices.Contains(u.Ambient, number) {
			less := u
			less.Ambient = slices.DeleteFunc(slices.Clone(u.Ambient), func(n uintptr) bool { return n == number })
			less.Bounding = less.Ambient
			without[name] = less
		}
	}
	for name, number := range families {
		if slices.Contains(u.Families, number) {
			less := u
			less.Families = slices.DeleteFunc(slices.Clone(u.Families), func(n uint32) bool { return n == number })
			without[name] = less
		}
	}
	for name, less := range without {
		p := b.start(t, less)
		// It says so when it answers, and when it cannot.
		line := p.firstLine()
		if err := p.end(); err == nil || strings.Contains(line, "answering") {
			t.Errorf("the unit lists %s, and the appliance does without: %s", name, line)
		}
		t.Logf("without %s: %s", name, strings.TrimSpace(line))
	}
}

// unit is what appliance.service leaves to the program, and a test can impose
// without systemd: by numbers, from linux/capability.h and linux/socket.h.
type unit struct {
	Ambient, Bounding []uintptr
	Families          []uint32
	NoNewPrivileges   bool
	Args              []string // of the program's process
}

// capabilities that the unit may name.
var capabilities = map[string]uintptr{
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_RAW": unix.CAP_NET_RAW, "CAP_IPC_LOCK": unix.CAP_IPC_LOCK, "CAP_BPF": unix.CAP_BPF,
}

// families of sockets that the unit may name.
var families = map[string]uint32{
	"AF_XDP": unix.AF_XDP, "AF_PACKET": unix.AF_PACKET, "AF_INET": unix.AF_INET, "AF_INET6": unix.AF_INET6, "AF_NETLINK": unix.AF_NETLINK, "AF_UNIX": unix.AF_UNIX,
}

// readUnit reads the unit.
func readUnit(t *testing.T) unit {
	t.Helper()
	text, err := os.ReadFile("appliance.service")
	if err != nil {
		t.Fatal(err)
	}
	return unit{
		Ambient:  values(t, text, "AmbientCapabilities", capabilities),
		Bounding: values(t, text, "CapabilityBoundingSet", capabilities),
		Families: values(t, text, "RestrictAddressFamilies", families),

		NoNewPrivileges: slices.Equal(words(text, "NoNewPrivileges"), []string{"yes"}),
	}
}

// words of a setting.
func words(text []byte, key string) []string {
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.Fields(value)
		}
	}
	return nil
}

// values of a setting's words.
func values[T any](t *testing.T, text []byte, key string, known map[string]T) (all []T) {
	t.Helper()
	for _, word := range words(text, key) {
		v, ok := known[word]
		if !ok {
			t.Fatalf("%s: %s is not known here", key, word)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		t.Fatalf("the unit has no %s", key)
	}
	return all
}

// confinedEnv has this test's program become the unit's: a unit in JSON.
const confinedEnv = "APPLIANCE_UNIT"

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(confinedEnv)
	if !ok {
		os.Exit(m.Run())
	}
	var u unit
	err := json.Unmarshal([]byte(text), &u)
	if err == nil {
		err = u.become()
	}
	fmt.Fprintln(os.Stderr, "confine:", err)
	os.Exit(1)
}

// command is the program as the unit has it, to be started as root.
func (u unit) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u.Args = args
	text, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), confinedEnv+"="+string(text))
	return c
}

// memlock is what a service may lock without CAP_IPC_LOCK, bytes: systemd's
// DefaultLimitMEMLOCK.
const memlock = 8 << 20

// become confines this thread as systemd does, and runs the program in the
// process's place. What belongs to one thread is enough: execve leaves no other.
func (u *unit) become() error {
	runtime.LockOSThread()
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: memlock, Max: memlock}); err != nil {
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(u.Bounding, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("bounding set, capability %d: %w", c, err)
		}
	}
	if err := u.user(); err != nil {
		return err
	}
	// The death of the parent was forgotten with the user.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if u.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	if err := u.restrictFamilies(); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", u.Args[0], unix.Exec(u.Args[0], u.Args, []string{}))
}

// user becomes nobody, who keeps the ambient capabilities.
func (u *unit) user() error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	// By raw calls: the package's would ask all threads.
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, nobody, nobody, nobody},
		{unix.SYS_SETRESUID, nobody, nobody, nobody},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return fmt.Errorf("become nobody: %w", errno)
		}
	}
	var sets [2]unix.CapUserData
	for _, c := range u.Ambient {
		s := &sets[c/32]
		bit := uint32(1) << (c % 32)
		s.Effective, s.Permitted, s.Inheritable = s.Effective|bit, s.Permitted|bit, s.Inheritable|bit
	}
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for _, c := range u.Ambient {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return fmt.Errorf("ambient capability %d: %w", c, err)
		}
	}
	return nil
}

// Where struct seccomp_data has the number of the call, and the first argument's
// low half on little-endian machines (linux/seccomp.h), bytes.
const (
	offsetNumber = 0
	offsetFamily = 16
)

// restrictFamilies has socket(2) refuse the other families as systemd does:
// RestrictAddressFamilies in systemd.exec(5).
func (u *unit) restrictFamilies() error {
	const load, equal = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	n := uint8(len(u.Families))
	filter := []unix.SockFilter{
		{Code: load, K: offsetNumber},
		{Code: equal, K: unix.SYS_SOCKET, Jf: n + 2}, // to the last
		{Code: load, K: offsetFamily},
	}
	for i, family := range u.Families {
		filter = append(filter, unix.SockFilter{Code: equal, K: family, Jt: n - uint8(i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
