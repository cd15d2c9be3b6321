package oracle

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/netnstest"
	"github.com/oobnet/oobnet/internal/stacktest"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/proto/udp"
	"github.com/oobnet/oobnet/stack"
)

// Children of the tests are this binary again: childRole says what they are,
// childInterface the interface that they use.
const (
	childRole      = "OOBNET_ORACLE_CHILD"
	childInterface = "OOBNET_ORACLE_INTERFACE"

	roleStack     = "stack"     // our stack, which echoes
	roleKernel    = "kernel"    // a socket of the kernel beside us, which echoes
	roleContainer = "container" // a namespace of its own, for an interface to be moved to
)

// ready is what a child says when it has begun.
const ready = "ready"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childRole) {
	case "":
		os.Exit(m.Run())
	case roleStack:
		err = runStack(os.Getenv(childInterface))
	case roleKernel:
		err = runKernel()
	case roleContainer:
		fmt.Println(ready)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// Nobody ends a child but by killing it; a parent that died does not.
	time.Sleep(time.Minute)
	os.Exit(1)
}

// runStack echoes on an interface of the child's namespace.
func runStack(ifname string) error {
	l, err := afxdp.Open(ifname, nil)
	if err != nil {
		return err
	}
	s, err := stack.New(nil)
	if err != nil {
		return err
	}
	d, err := s.Attach(l, nil)
	if err != nil {
		return err
	}
	if _, err := d.EnablePort(&stack.PortConfig{Addrs: []netip.Prefix{ours}}); err != nil {
		return err
	}
	c, err := udp.Listen(s, at(ours, echoPort), nil)
	if err != nil {
		return err
	}
	return echoForEver(c)
}

// runKernel echoes on a socket of the kernel of the child's namespace.
func runKernel() error {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at(beside, echoPort)))
	if err != nil {
		return err
	}
	return echoForEver(c)
}

func echoForEver(c socket) error {
	fmt.Println(ready)
	buf := make([]byte, udp.MaxPayload)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
			return err
		}
	}
}

// child is a process that a test has started.
type child struct {
	*exec.Cmd
	once sync.Once
}

// startChild starts this binary in a role on a host, and waits until it is
// ready. It is killed when the test ends, if not before.
func startChild(t testing.TB, h *netnstest.Host, role string, attr *syscall.SysProcAttr) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0])}
	c.Env = append(os.Environ(), childRole+"="+role, childInterface+"="+h.IfName)
	c.SysProcAttr = attr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DoErr(c.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	if line, _ := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != ready {
		t.Fatalf("the child says %q", line)
	}
	return c
}

// kill ends the child as the kernel does: it has no say in it.
func (c *child) kill() {
	c.once.Do(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // "signal: killed", as it should be
	})
}

// startContainer moves the peer's end of the wire to a namespace that lives as
// long as the child does. Its kernel has the peer's address; nothing echoes.
func startContainer(t testing.TB, b *bed) *child {
	t.Helper()
	c := startChild(t, b.peer, roleContainer, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET})
	pid := strconv.Itoa(c.Process.Pid)
	enter := []string{"-t", pid, "-n", "ip"}
	for _, command := range [][]string{
		{"ip", "link", "set", b.peer.IfName, "netns", pid},
		append([]string{"nsenter"}, append(enter, "addr", "add", theirs.String(), "dev", b.peer.IfName)...),
		append([]string{"nsenter"}, append(enter, "link", "set", b.peer.IfName, "up")...),
	} {
		if out, err := b.peer.Exec(command[0], command[1:]...); err != nil {
			if errors.Is(err, exec.ErrNotFound) {
				t.Skipf("needs %s: %v", command[0], err)
			}
			t.Fatalf("%v: %v: %s", command, err, out)
		}
	}
	if err := b.home.WaitUp(patience); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestKilled kills a process of ours in mid-traffic. The interface is the
// kernel's again at once, the next process has it at once, and a client
// notices a pause.
func TestKilled(t *testing.T) {
	needsXDP(t, "TestVMKilled of link/vfio is the same for a card of ours")
	leaktest.Check(t)
	w := netnstest.NewPair(t, &netnstest.Config{AddrA: beside, AddrB: theirs})
	kernelEcho(t, w.A, at(beside, echoPort))
	client := kernelDial(t, w.B, at(ours, echoPort))
	neighbor := kernelDial(t, w.B, at(beside, echoPort))
	for round := range 3 {
		c := startChild(t, w.A, roleStack, nil)
		n := byte(0)
		answered := func() bool {
			n++
			return try(client, []byte{byte(round), n})
		}
		stacktest.Eventually(t, "an answer of the child", answered)
		stop, flood := make(chan struct{}), sync.WaitGroup{}
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = neighbor.Write(nil) // keeps the interface busy
					_, _ = client.Write([]byte("flood"))
				}
			}
		})
		time.Sleep(10 * time.Millisecond)
		c.kill()
		close(stop)
		flood.Wait()

		stacktest.Eventually(t, "an answer of the kernel beside", func() bool {
			n++
			return try(neighbor, []byte{byte(round), n})
		})
		// The very first attempt works: the link itself waits for what the
		// kernel still does with the dead process's sockets.
		b := onWire(t, w, &options{})
		b.echo(echoPort)
		stacktest.Eventually(t, "an answer of the next process", answered)
		b.assertBooks()
		if err := b.Stack.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
