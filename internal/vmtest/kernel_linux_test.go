package vmtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// TestNoWay asks an archive that cannot be reached, and one that can, for what it does
// not have: the first is no fault of anybody's.
func TestNoWay(t *testing.T) {
	leaktest.Check(t)
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get: ", err)
	}
	dir := t.TempDir()
	for _, d := range []string{"lists/partial", "cache/archives/partial", "archive"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a := apt{dir: dir}
	for archive, want := range map[string]bool{
		"http://127.0.0.1:9/debian":             true, // discard, which nobody serves
		"file:" + filepath.Join(dir, "archive"): false,
	} {
		if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte("deb "+archive+" no-such-suite main\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := a.run(t.Context(), time.Minute, "apt-get", "-o", "Acquire::http::Proxy=false", "-o", "Acquire::Retries=0", "update", "--error-on=any")
		if err == nil || errors.Is(err, ErrUnavailable) != want || !strings.Contains(err.Error(), archive) {
			t.Errorf("%s: %v: want one that is ErrUnavailable: %v", archive, err, want)
		}
	}
	if _, err := a.run(t.Context(), time.Minute, "no-such-program"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without the program: %v", err)
	}
}
