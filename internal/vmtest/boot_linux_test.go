package vmtest

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// cachedKernel returns a kernel that was fetched before, or skips: unit tests
// download nothing.
func cachedKernel(t *testing.T) (root string, image *Image) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs QEMU: %v", err)
	}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	image, err = Kernels[0].Cached(Cache(root))
	if err != nil {
		t.Skip(err)
	}
	return root, image
}

// TestBoot runs in one guest a package that passes, one that fails, one that
// has to be killed, and one that crashes the kernel.
func TestBoot(t *testing.T) {
	leaktest.Check(t)
	root, image := cachedKernel(t)
	const pkg = "internal/vmtest/guesttest"
	misbehave := func(how string) Run {
		return Run{Package: pkg, Args: []string{"-test.run=Misbehave"}, Env: []string{"OOBNET_VM_MISBEHAVE=" + how}, Timeout: time.Second}
	}
	runs := []Run{
		{Package: pkg, Timeout: time.Minute},
		misbehave("fail"),
		misbehave("stop"),
		misbehave("crash"),
		misbehave("fail"),
	}
	var out strings.Builder
	report, err := Boot(t.Context(), root, Config{
		Kernel: image,
		Cards:  []Card{{Model: "e1000e", Driver: "e1000e"}},
		Runs:   runs,
		Output: &out,
	})
	if err == nil || !strings.Contains(err.Error(), "Kernel panic") || !strings.Contains(err.Error(), "in "+pkg) {
		t.Errorf("want an error that shows the kernel's panic, got %v", err)
	}
	if report == nil {
		t.FailNow()
	}
	t.Logf("kernel %s, ready after %v", report.Release, report.Boot)
	r := report.Results
	if !r[0].OK() || len(r[0].Passed) != 4 || len(r[0].Skipped) != 1 || !strings.Contains(r[0].Skipped[0], "it is for the tests of package vmtest") {
		t.Errorf("what should pass: %+v", r[0])
	}
	if r[1].OK() || !r[1].Ended || r[1].Status != 1 || strings.Join(r[1].Failed, " ") != "TestMisbehave" {
		t.Errorf("what should fail: %+v", r[1])
	}
	if r[2].OK() || !r[2].Ended || r[2].Status != 128+9 {
		t.Errorf("what should be killed: %+v", r[2])
	}
	if r[3].OK() || !r[3].Started || r[3].Ended || r[4].Started {
		t.Errorf("what should crash, and what comes after it: %+v", r[3:])
	}
	for _, want := range []string{"--- PASS: TestWire", "--- FAIL: TestMisbehave", "as asked for"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not in the output: %s", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// TestPlaces has cards in slots of their own, and functions of one device.
func TestPlaces(t *testing.T) {
	one := Card{Model: "e1000e", Driver: "vfio-pci"}
	beside := one
	beside.Beside = true
	cfg := Config{Cards: []Card{one, beside, beside, one}}
	var got []string
	for i := range cfg.Cards {
		got = append(got, cfg.place(i))
	}
	if want := "04.0 04.1 04.2 0a.0"; strings.Join(got, " ") != want {
		t.Errorf("cards are at %v, want %s", got, want)
	}
	for _, cards := range [][]Card{{beside}, {one, {Model: "x540", Driver: "vfio-pci", Beside: true}}} {
		if _, _, err := planOf(&Config{Cards: cards}); err == nil || !strings.Contains(err.Error(), "is before it") {
			t.Errorf("%v: %v", cards, err)
		}
	}
	args := strings.Join(arguments(Config{Cards: []Card{one, beside}, Kernel: &Image{}}, "initrd"), " ")
	for _, want := range []string{"addr=04.0,multifunction=on,", "addr=04.1,mac"} {
		if !strings.Contains(args, want) {
			t.Errorf("no %q in %s", want, args)
		}
	}
}
