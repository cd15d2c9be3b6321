package vmtest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

// TestProgramPaths packs a plugin, by its path, into the place where it was, once;
// and passes over a program that the host has not.
func TestProgramPaths(t *testing.T) {
	leaktest.Check(t)
	file := filepath.Join(t.TempDir(), "librte_net_none.so.1")
	content := []byte("no library, so nothing else comes with it")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := newArchive(&out)
	if err := a.programs([]string{"no-such-program-of-any-host", file, file}); err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	// A name in an archive has no slash in front, and a NUL behind it.
	if n := bytes.Count(out.Bytes(), []byte(file[1:]+"\x00")); n != 1 {
		t.Errorf("%s is in the archive %d times, want once", file, n)
	}
	if n := bytes.Count(out.Bytes(), content); n != 1 {
		t.Errorf("its content is in the archive %d times, want once", n)
	}
	if bytes.Contains(out.Bytes(), []byte("no-such-program")) {
		t.Error("a program that the host has not is in the archive")
	}
	if err := newArchive(&out).programs([]string{filepath.Join(t.TempDir(), "gone")}); err == nil {
		t.Error("no error for a path that is not there")
	}
}
