package control_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/oobnet/oobnet/control"
	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/stack"
)

// dialEnv tells this test binary to be a client of the socket that it names.
const dialEnv = "OOBNET_CONTROL_TEST_DIAL"

func TestMain(m *testing.M) {
	if path := os.Getenv(dialEnv); path != "" {
		os.Exit(beClient(path))
	}
	code := m.Run()
	if all := flag.Lookup("test.run").Value.String() == ""; all && code == 0 {
		for _, call := range control.Calls() {
			if _, made := seen.Load(call); !made {
				fmt.Printf("no test makes the call %s\n", call)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// beClient connects as whoever the process is.
func beClient(path string) int {
	c, err := control.Dial(path)
	if err != nil {
		fmt.Print(err)
		if errors.Is(err, syscall.EACCES) {
			return 13
		}
		return 1
	}
	c.Close()
	fmt.Print("admitted")
	return 0
}

// dialAs runs a client as another user.
func dialAs(t *testing.T, path string, who syscall.Credential) (code int, said string) {
	t.Helper()
	// The test binary may be where others may not look.
	exe := filepath.Join(filepath.Dir(path), "client")
	if _, err := os.Stat(exe); err != nil {
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(exe, self, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = []string{dialEnv + "=" + path}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &who}
	out, err := cmd.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// openFolder is a folder that every user may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func serveIn(t *testing.T, dir string, cfg *control.Config) string {
	t.Helper()
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	srv, err := control.ServeConfig(s, filepath.Join(dir, "s"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv.Path()
}

func TestOnlyOwnerAndGroupMayConnect(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	leaktest.Check(t)
	const user, group, other = 65534, 12, 34 // numbers suffice: nobody logs in
	for name, tc := range map[string]struct {
		group string
		mode  os.FileMode // that somebody gave the socket by accident; 0: its own
		who   syscall.Credential
		code  int
		said  string
	}{
		"another user":          {"", 0, syscall.Credential{Uid: user, Gid: other}, 13, "only the program's user"},
		"root":                  {"", 0, syscall.Credential{}, 0, "admitted"},
		"another, open socket":  {"", 0o777, syscall.Credential{Uid: user, Gid: other}, 13, "may not manage"},
		"own group":             {"man", 0, syscall.Credential{Uid: user, Gid: group}, 0, "admitted"},
		"supplementary group":   {"man", 0, syscall.Credential{Uid: user, Gid: other, Groups: []uint32{group}}, 0, "admitted"},
		"other group":           {"man", 0, syscall.Credential{Uid: user, Gid: other}, 13, "only the program's user"},
		"other and open socket": {"man", 0o777, syscall.Credential{Uid: user, Gid: other, Groups: []uint32{other}}, 13, "may not manage"},
	} {
		t.Run(name, func(t *testing.T) {
			path := serveIn(t, openFolder(t), &control.Config{Group: tc.group})
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]fs.FileMode{"": 0o600, "man": 0o660}[tc.group]; info.Mode().Perm() != want {
				t.Errorf("mode %v, want %v", info.Mode().Perm(), want)
			}
			if gid := info.Sys().(*syscall.Stat_t).Gid; tc.group != "" && gid != group {
				t.Skipf("group %s is %d on this machine, not %d", tc.group, gid, group)
			}
			if tc.mode != 0 {
				if err := os.Chmod(path, tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			if code, said := dialAs(t, path, tc.who); code != tc.code || !strings.Contains(said, tc.said) {
				t.Errorf("exit %d, %q, want %d, %q", code, said, tc.code, tc.said)
			}
		})
	}
}

func TestTwoServersOnOneSocket(t *testing.T) {
	leaktest.Check(t)
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	path := filepath.Join(t.TempDir(), "s")
	// However many start at the same moment, one wins.
	var mu sync.Mutex
	var won []*control.Server
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			srv, err := control.Serve(s, path)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, srv)
			} else if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another server") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d servers on one socket", len(won))
	}
	c, err := control.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := won[0].Close(); err != nil {
		t.Error(err)
	}
	if err := won[0].Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestStaleSocketIsTakenOver(t *testing.T) {
	leaktest.Check(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as a process does that is killed
	l.Close()
	if _, err := control.Dial(path); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("dial: %v", err)
	}
	s, err := stack.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv, err := control.Serve(s, path)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := control.Dial(path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	// Somebody else's file in its place is left alone.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("Close took another's file: %v", err)
	}
}

func TestNoSuchSocket(t *testing.T) {
	leaktest.Check(t)
	_, err := control.Dial(filepath.Join(t.TempDir(), "nosuch"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "is the program running") {
		t.Errorf("got %v", err)
	}
}

// A server of something else is told apart.
func TestForeignServer(t *testing.T) {
	leaktest.Check(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Read(make([]byte, 4096))
		c.Write([]byte("HTTP/1.1 500 Broken\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
		c.Close()
	}()
	if _, err := control.Dial(path); err == nil || !strings.Contains(err.Error(), "no control socket") {
		t.Errorf("got %v", err)
	}
}
