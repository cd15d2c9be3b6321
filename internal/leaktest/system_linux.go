package leaktest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/oobnet/oobnet/internal/netns"
)

// prepare makes the runtime open what it opens once, on first use, and then
// keeps: the poller's epoll and eventfd. After it, a new eventfd is a leak.
var prepare = sync.OnceFunc(func() {
	r, w, err := os.Pipe()
	if err == nil {
		r.Close()
		w.Close()
	}
})

// system notes descriptors, eBPF objects and namespaces.
func system(s snapshot) error {
	if err := descriptors(s); err != nil {
		return err
	}
	return namespaces(s)
}

// descriptors notes each open descriptor with what it stands for. eBPF
// programs, maps and links that the process owns are descriptors too.
func descriptors(s snapshot) error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, fd := range names {
		if fd == fmt.Sprint(dir.Fd()) {
			continue
		}
		target, err := os.Readlink(filepath.Join("/proc/self/fd", fd))
		if errors.Is(err, os.ErrNotExist) {
			continue // closed since the directory was read
		}
		if err != nil {
			return err
		}
		s["fd "+fd+" "+target] = "descriptor " + fd + ": " + target + bpfID(fd, target)
	}
	return nil
}

// bpfID returns the kernel's number of an eBPF object, as bpftool shows it.
func bpfID(fd, target string) string {
	if !strings.HasPrefix(target, "anon_inode:bpf") {
		return ""
	}
	info, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", fd))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		for _, key := range []string{"prog_id:", "map_id:", "link_id:"} {
			if id, ok := strings.CutPrefix(line, key); ok {
				return ", " + key + " " + strings.TrimSpace(id)
			}
		}
	}
	return ""
}

// namespaces notes the named namespaces that this process has made.
func namespaces(s snapshot) error {
	paths, err := netns.Own()
	for _, p := range paths {
		s["namespace "+p] = "namespace: " + p
	}
	return err
}
