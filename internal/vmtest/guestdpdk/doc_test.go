package guestdpdk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrograms wants the program's name, and the plugins by the names of files,
// all of the same release, or none.
func TestPrograms(t *testing.T) {
	names := Programs()
	if names[0] != testpmd {
		t.Errorf("the first is %q, want %q", names[0], testpmd)
	}
	found := names[1:]
	if len(found) == 0 {
		t.Skipf("no plugins of DPDK at %s: Debian's package dpdk has them", pluginsAt)
	}
	if len(found) != len(plugins) {
		t.Fatalf("plugins %q, want one each of %q", found, plugins)
	}
	for i, file := range found {
		if !strings.Contains(filepath.Base(file), plugins[i]+".so.") || filepath.Dir(file) != filepath.Dir(found[0]) {
			t.Errorf("for %s: %s", plugins[i], file)
		}
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
