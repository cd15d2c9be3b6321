package worker

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets this test binary be its own worker processes.
func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// here starts a worker where the test is.
func here(start func() error) error { return start() }

func TestKernelEchoOverLoopback(t *testing.T) {
	for _, sleep := range []bool{false, true} {
		server := netip.MustParseAddrPort("127.0.0.1:17700")
		echo, err := Start(t.Context(), here, Spec{Role: KernelEcho, CPU: -1, Sleep: sleep, Local: server})
		if err != nil {
			t.Fatal(err)
		}
		client, err := Start(t.Context(), here, Spec{Role: KernelClient, CPU: -1, Sleep: sleep, Remote: server, Size: 64})
		if err != nil {
			echo.Stop()
			t.Fatal(err)
		}
		f, err := client.Run(t.Context(), 50*time.Millisecond)
		if err != nil || f["count"] == 0 || f["p50"] <= 0 || f["p50"] > f["p99"] || f["p99"] > f["max"] {
			t.Errorf("sleep %v: %v, %v", sleep, f, err)
		}
		client.Stop()
		echo.Stop()
	}
}

func TestWorkerThatCannotStartSaysWhy(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Role: "juggler", CPU: -1}, `no such role "juggler"`},
		{Spec{Role: KernelEcho, CPU: 1000}, "core 1000"},
		{Spec{Role: KernelEcho, CPU: -1, Local: netip.MustParseAddrPort("192.0.2.77:1")}, "bind 192.0.2.77:1"},
		{Spec{Role: LinkBlast, CPU: -1, IfName: "nosuch0", Local: netip.MustParseAddrPort("192.0.2.1:1"), Remote: netip.MustParseAddrPort("192.0.2.2:1")}, "nosuch0"},
	} {
		p, err := Start(t.Context(), here, c.spec)
		if err == nil {
			p.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.spec, err, c.want)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	p, err := Start(t.Context(), here, Spec{Role: KernelEcho, CPU: -1, Sleep: true, Local: netip.MustParseAddrPort("127.0.0.1:17701")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Run(ctx, time.Minute); err == nil {
		t.Error("a run of a minute ended in good order after 20 ms")
	}
}
