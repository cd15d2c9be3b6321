package filter

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestLoadUnreadable: a file of somebody else. Root may read all files; a
// thread of its own that is nobody in the file system's eyes may not.
func TestLoadUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.o")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			if err := syscall.Setfsuid(nobody); err != nil {
				failed <- err
				return
			}
		}
		_, err := LoadFile(path)
		failed <- err
	}()
	if err := <-failed; !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "make it readable") {
		t.Errorf("%v, want ErrPermission and the file's name", err)
	}
}
