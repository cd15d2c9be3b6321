package vmtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// closure are packages with all that they need, from suites of Debian that need
// not be the machine's: unpacked beside each other, never installed. Programs of
// it start by the loader of the same folder: see [closure.Command].
type closure struct {
	Name     string   // of its folder
	Suites   []string // of Debian; a package is taken from the last one that has it
	Packages []string
}

// Cached is the folder of a closure that was fetched before. The error is
// [os.ErrNotExist] where there is none.
func (c closure) Cached(cache string) (root string, err error) {
	found, err := filepath.Glob(filepath.Join(cache, "closures", c.Name+"-*"))
	if err != nil {
		return "", err
	}
	// What one process replaces another may still use: so the newest, of two.
	var newest time.Time
	for _, f := range found {
		if s, err := os.Stat(f); err == nil && s.ModTime().After(newest) {
			root, newest = f, s.ModTime()
		}
	}
	if root == "" {
		return "", fmt.Errorf("vmtest: no %s in %s: \"make test-vm\" fetches it: %w", c.Name, cache, os.ErrNotExist)
	}
	return root, nil
}

// Fetch returns the folder of the closure's newest packages. They are downloaded
// with an apt-get that has lists, settings and a status of its own below cache,
// as kernels are, so that it counts nothing as installed, and unpacked with
// dpkg-deb. It asks once a day; without a network, what is in the cache has to do.
func (c closure) Fetch(ctx context.Context, cache string) (root string, err error) {
	cached, _ := c.Cached(cache) // an error: it is not there
	unlock, err := lock(ctx, filepath.Join(cache, c.Name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	a := apt{dir: filepath.Join(cache, "apt-"+c.Name), suites: c.Suites}
	if root, err = c.fetch(ctx, a, filepath.Join(cache, "closures")); err != nil && cached != "" && ctx.Err() == nil {
		return cached, nil
	}
	return root, err
}

func (c closure) fetch(ctx context.Context, a apt, dir string) (root string, err error) {
	if err := a.update(ctx); err != nil {
		return "", err
	}
	install := append([]string{"install", "-y", "--no-install-recommends", "-t", c.Suites[len(c.Suites)-1]}, c.Packages...)
	// Lines of "Inst PACKAGE (VERSION SUITE [ARCHITECTURE])": which folder it is.
	plan, err := a.run(ctx, updateLimit, "apt-get", append([]string{"--simulate"}, install...)...)
	if err != nil {
		return "", err
	}
	var packages []string
	for line := range strings.Lines(plan) {
		if strings.HasPrefix(line, "Inst ") {
			packages = append(packages, line)
		}
	}
	slices.Sort(packages)
	sum := sha256.Sum256([]byte(strings.Join(packages, "")))
	home := filepath.Join(dir, fmt.Sprintf("%s-%x", c.Name, sum[:6]))
	if _, err := os.Stat(home); err == nil {
		return home, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, "unpack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(filepath.Join(work, "partial"), 0o755); err != nil {
		return "", err
	}
	if _, err := a.run(ctx, downloadLimit, "apt-get", append([]string{"--download-only", "-o", "Dir::Cache::archives=" + work}, install...)...); err != nil {
		return "", err
	}
	tree := filepath.Join(work, "tree")
	if err := unpackAll(ctx, work, tree); err != nil {
		return "", err
	}
	if err := os.Rename(tree, home); err != nil {
		return "", err
	}
	return home, c.prune(dir, home)
}

// prune removes closures before the present one. One that a process has started
// programs of may be in use: those of today stay.
func (c closure) prune(dir, home string) error {
	found, err := filepath.Glob(filepath.Join(dir, c.Name+"-*"))
	if err != nil {
		return err
	}
	for _, f := range found {
		if s, err := os.Stat(f); f != home && err == nil && time.Since(s.ModTime()) > fresh {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// unpackAll lays out all packages of a folder in tree.
func unpackAll(ctx context.Context, folder, tree string) error {
	debs, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, downloadLimit)
	defer cancel()
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, tree).CombinedOutput(); err != nil {
			return fmt.Errorf("vmtest: unpack %s: %w: %s", deb, err, out)
		}
	}
	return nil
}

// Command is the beginning of a command line that starts a program of an
// unpacked closure, as usr/bin/qemu-img, with the closure's own loader and
// libraries: the machine's C library may be older.
func (c closure) Command(root, program string) []string {
	return []string{
		filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"),
		"--library-path", filepath.Join(root, "usr/lib/x86_64-linux-gnu"),
		filepath.Join(root, program),
	}
}

// lock takes a file that one process at a time may have, within the time of a
// download.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, downloadLimit)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("vmtest: lock %s: %w", file, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("vmtest: %s is locked: %w", file, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}
