package vmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// modelConfig is of a machine with a card that QEMU has and one that we model,
// in a folder of the test's that holds the model's program.
func modelConfig(t *testing.T) (cfg Config, dir string) {
	t.Helper()
	cfg = Config{Cards: []Card{{Model: "igb", Driver: "igb"}, {Model: "82599", Driver: "ixgbe"}}}
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := static(t.Context(), root, "build", "-o", filepath.Join(dir, modelBinary), "./"+modelProgram); err != nil {
		t.Fatal(err)
	}
	return cfg, dir
}

// TestModels starts the processes of a machine's cards and ends them: they say
// what they have seen, and leave a trace, but no socket.
func TestModels(t *testing.T) {
	leaktest.Check(t)
	cfg, dir := modelConfig(t)
	cfg.Traces = filepath.Join(t.TempDir(), "traces")
	stop, err := models(t.Context(), cfg, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{cardSocket(dir, 1), cardWire(dir, 1), filepath.Join(cfg.Traces, "82599-ixgbe-1.trace")} {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("while it runs: %v", err)
		}
	}
	all, err := stop()
	if err != nil || len(all) != 1 || all[0].Card != cfg.Cards[1] || len(all[0].Violations) != 0 || !slices.Contains(all[0].Lines, "count reads 0") {
		t.Errorf("reports %+v, %v", all, err)
	}
	for _, name := range []string{cardSocket(dir, 1), cardWire(dir, 1)} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

// TestModelDies has one that cannot make its socket.
func TestModelDies(t *testing.T) {
	leaktest.Check(t)
	cfg, dir := modelConfig(t)
	if err := os.WriteFile(cardSocket(dir, 1), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stop, err := models(t.Context(), cfg, dir, dir)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("want the model's own error, got %v", err)
	}
	if all, err := stop(); len(all) != 0 || err != nil {
		t.Errorf("what never ran reports %v, %v", all, err)
	}
}

// TestEmulator wants QEMU 11.1 for our cards alone, and no download.
func TestEmulator(t *testing.T) {
	empty := t.TempDir()
	if _, err := emulator(empty, []Card{{Model: "82599", Driver: "ixgbe"}}, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a cache: %v, want os.ErrNotExist", err)
	}
	root := filepath.Join(empty, "closures", "qemu-0123")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := emulator(empty, []Card{{Model: "igb", Driver: "vfio-pci"}}, true); err != nil || !slices.Contains(got, filepath.Join(root, "usr/bin", program)) {
		t.Errorf("the newer one, from the cache: %q, %v", got, err)
	}
	got, err := emulator(empty, []Card{{Model: "x540", Driver: "vfio-pci"}}, false)
	if err != nil || got[0] != filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2") || !slices.Contains(got, filepath.Join(root, "usr/bin", program)) {
		t.Errorf("from the cache: %q, %v", got, err)
	}
	for model, want := range map[string]bool{"82599": true, "x540": true, "igb": false, "": false} {
		if NeedsModels(model) != want {
			t.Errorf("card %q needs a model of ours: %v", model, !want)
		}
	}
}

// TestClosure takes the newest folder of a closure, and removes old ones.
func TestClosure(t *testing.T) {
	cache := t.TempDir()
	c := closure{Name: "qemu"}
	dirs := map[string]time.Duration{"qemu-old": 3 * fresh, "qemu-today": fresh / 2, "qemu-new": 0, "dpdk-old": 3 * fresh}
	for name, age := range dirs {
		d := filepath.Join(cache, "closures", name)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(d, then, then); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Cached(cache)
	if err != nil || filepath.Base(got) != "qemu-new" {
		t.Errorf("the newest is %s, %v", got, err)
	}
	if err := c.prune(filepath.Dir(got), got); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "closures", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"dpdk-old", "qemu-new", "qemu-today"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

// TestLock has two that want the same.
func TestLock(t *testing.T) {
	leaktest.Check(t)
	file := filepath.Join(t.TempDir(), "sub", "lock")
	unlock, err := lock(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, file); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("taken twice: %v", err)
	}
	unlock()
	again, err := lock(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
