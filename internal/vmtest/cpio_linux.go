package vmtest

import (
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// archive writes a cpio archive in the format "newc", of which the kernel makes
// its first root (Documentation/driver-api/early-userspace/buffer-format.rst):
// for each file a header of 110 characters, the name and the data, each padded
// to four bytes. The first error stays in err.
type archive struct {
	w     io.Writer
	inode int
	size  int             // bytes written
	dirs  map[string]bool // those that are there
	err   error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: w, dirs: map[string]bool{".": true}}
}

// file adds a file and the folders on the way to it. perm are its permissions.
func (a *archive) file(name string, perm int, data []byte) {
	a.parents(name)
	a.entry(name, unix.S_IFREG|perm, data, 0, 0)
}

// device adds a character device.
func (a *archive) device(name string, major, minor int) {
	a.parents(name)
	a.entry(name, unix.S_IFCHR|0o600, nil, major, minor)
}

func (a *archive) parents(name string) {
	dir := path.Dir(strings.TrimPrefix(path.Clean(name), "/"))
	if a.dirs[dir] {
		return
	}
	a.parents(dir)
	a.dirs[dir] = true
	a.entry(dir, unix.S_IFDIR|0o755, nil, 0, 0)
}

// close ends the archive.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil, 0, 0)
	return a.err
}

func (a *archive) entry(name string, mode int, data []byte, major, minor int) {
	name = strings.TrimPrefix(name, "/")
	a.inode++
	// magic, inode, mode, uid, gid, links, time, size, device, device number of
	// the file itself, length of the name with its NUL, checksum (not used)
	a.write([]byte(fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)))
	a.write([]byte(name + "\x00"))
	a.pad()
	a.write(data)
	a.pad()
}

func (a *archive) pad() { a.write(make([]byte, -a.size&3)) }

func (a *archive) write(b []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(b)
	a.size += n
	a.err = err
}
