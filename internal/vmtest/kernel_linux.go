package vmtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kernel is a line of kernels that Debian keeps up to date: which one is the
// newest is looked up.
type Kernel struct {
	Name    string // for people and flags
	Suite   string // of Debian, where its packages are
	Pattern string // matches the name of the package linux-image-...
}

// Kernels are those that tests run on. To add one, write a line, with a
// pattern that no package of another line matches:
// `apt-cache pkgnames linux-image` on a machine with that suite shows names.
var Kernels = []Kernel{
	{"6.12", "bookworm-backports", `^linux-image-6\.12\.[0-9.]+\+deb12(\.[0-9]+)?-amd64$`},
	{"6.1", "bookworm", `^linux-image-6\.1\.0-[0-9]+-amd64$`},
	{"6.12-rt", "bookworm-backports", `^linux-image-6\.12\.[0-9.]+\+deb12(\.[0-9]+)?-rt-amd64$`},
	{"7.2", "trixie-backports", `^linux-image-7\.2\.[0-9.]+\+deb13(\.[0-9]+)?-amd64$`},
}

// FindKernel returns the kernel of that name.
func FindKernel(name string) (Kernel, error) {
	var names []string
	for _, k := range Kernels {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kernel{}, fmt.Errorf("vmtest: no kernel %q: there are %s", name, strings.Join(names, ", "))
}

// Image is a kernel that is ready to boot.
type Image struct {
	Package string
	File    string // vmlinuz
	Modules string // the folder lib/modules/RELEASE
}

// ErrUnavailable is in an error where there is no way to what a guest is made of: no
// network, no apt-get, no QEMU, and nothing in the cache folder. Guests are skipped
// then, with the error as the reason, as tests are whose programs are missing.
var ErrUnavailable = errors.New("it cannot be had here")

// Bounds of what apt and dpkg may take, on a slow line and two busy cores.
const (
	updateLimit   = 3 * time.Minute
	downloadLimit = 10 * time.Minute
	// fresh is for how long the lists of packages are believed.
	fresh = 24 * time.Hour
)

// Cached returns the newest kernel of that line in the cache folder, without
// asking anyone. The error is [os.ErrNotExist] where there is none.
func (k Kernel) Cached(cache string) (*Image, error) {
	found, err := filepath.Glob(filepath.Join(cache, "kernels", "linux-image-*"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range found {
		names = append(names, filepath.Base(f))
	}
	name, err := k.newest(names)
	if err != nil {
		return nil, fmt.Errorf("vmtest: %w in %s (%w): \"make test-vm\" fetches it", err, cache, os.ErrNotExist)
	}
	return open(filepath.Join(cache, "kernels", name))
}

// Fetch returns the newest kernel of that line, which it downloads to the cache
// folder with apt-get and unpacks with dpkg, if it is not there. apt checks
// signatures and checksums; it uses lists and settings of its own below cache,
// so the machine's packages and sources stay as they are. It asks once a day.
// Without a network, what is in the cache has to do; with nothing there the error is
// ErrUnavailable.
func (k Kernel) Fetch(ctx context.Context, cache string) (*Image, error) {
	cached, _ := k.Cached(cache) // an error: it is not there, or not whole
	a := apt{dir: filepath.Join(cache, "apt"), suites: suites()}
	err := a.update(ctx)
	if err != nil {
		if cached != nil {
			return cached, nil
		}
		return nil, err
	}
	names, err := a.names(ctx)
	if err != nil {
		return nil, err
	}
	name, err := k.newest(names)
	if err != nil {
		return nil, fmt.Errorf("vmtest: %w in %s", err, k.Suite)
	}
	if cached != nil && cached.Package == name {
		return cached, nil
	}
	image, err := a.unpack(ctx, name, filepath.Join(cache, "kernels"))
	if err == nil && cached != nil {
		err = os.RemoveAll(filepath.Join(cache, "kernels", cached.Package))
	}
	return image, err
}

// newest picks the package of the line with the highest version.
func (k Kernel) newest(names []string) (string, error) {
	is, err := regexp.Compile(k.Pattern)
	if err != nil {
		return "", fmt.Errorf("pattern of kernel %s: %w", k.Name, err)
	}
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !is.MatchString(n) })
	if len(names) == 0 {
		return "", fmt.Errorf("no package for kernel %s (%s)", k.Name, k.Pattern)
	}
	return slices.MaxFunc(names, byNumbers), nil
}

var numbers = regexp.MustCompile(`[0-9]+`)

// byNumbers orders names by the numbers in their versions, the first one first.
func byNumbers(a, b string) int {
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			return -1 // too long for a version
		}
		return n
	}
	version := func(s string) []string { return numbers.FindAllString(strings.ReplaceAll(s, "amd64", ""), -1) }
	x, y := version(a), version(b)
	for i := range min(len(x), len(y)) {
		if c := cmp.Compare(number(x[i]), number(y[i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// apt is an apt of our own: other sources, lists and cache than the machine's.
type apt struct {
	dir    string // absolute
	cwd    string // where downloads land; "": dir
	suites []string
}

// run calls a program of apt's with these settings.
func (a apt) run(ctx context.Context, limit time.Duration, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{
		"-q",
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"),
		"-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State::lists=" + filepath.Join(a.dir, "lists"),
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"), // nothing is installed
		"-o", "APT::Architecture=amd64",
		"-o", "APT::Sandbox::User=", // its own user may not read a home folder
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	}, args...)...)
	cmd.Dir = cmp.Or(a.cwd, a.dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C") // for cutOff
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	off := errors.Is(err, exec.ErrNotFound) || errors.Is(ctx.Err(), context.DeadlineExceeded) || cutOff.MatchString(stderr.String())
	err = fmt.Errorf("vmtest: %s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	if off {
		err = fmt.Errorf("%w: %w", err, ErrUnavailable)
	}
	return "", err
}

// cutOff matches what apt says when there is no way to an archive. That a package is
// not there, or not what its checksum says, is another matter.
var cutOff = regexp.MustCompile(`(?i)could not (resolve|connect)|temporary failure resolving|unable to connect|cannot initiate the connection|connection (failed|timed out)|network is unreachable`)

// update fetches the lists of packages, if those there are not of today.
func (a apt) update(ctx context.Context) error {
	for _, dir := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return err
		}
	}
	mirror, err := a.mirror(ctx)
	if err != nil {
		return err
	}
	sources := "# Written by internal/vmtest.\n"
	for _, suite := range a.suites {
		sources += "deb " + mirror + " " + suite + " main\n"
	}
	list, stamp := filepath.Join(a.dir, "sources.list"), filepath.Join(a.dir, "updated")
	if err := os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644); err != nil {
		return err
	}
	old, err := os.ReadFile(list)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if s, err := os.Stat(stamp); err == nil && time.Since(s.ModTime()) < fresh && string(old) == sources {
		return nil
	}
	if err := os.WriteFile(list, []byte(sources), 0o644); err != nil {
		return err
	}
	if _, err := a.run(ctx, updateLimit, "apt-get", "update", "--error-on=any"); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

func suites() (all []string) {
	for _, k := range Kernels {
		if !slices.Contains(all, k.Suite) {
			all = append(all, k.Suite)
		}
	}
	return all
}

// mirror is the Debian archive that the machine's own apt uses. Before apt has
// fetched lists it does not know whose archives are whose: then it is the first.
func (a apt) mirror(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, updateLimit)
	defer cancel()
	ask := []string{"indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"}
	for _, whose := range [][]string{{"Origin: Debian", "Label: Debian"}, nil} {
		out, err := exec.CommandContext(ctx, "apt-get", append(ask[:len(ask):len(ask)], whose...)...).Output()
		if errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("vmtest: %w: %w", err, ErrUnavailable)
		}
		if err != nil {
			return "", fmt.Errorf("vmtest: apt-get indextargets: %w", err)
		}
		if first, _, _ := strings.Cut(string(out), "\n"); first != "" {
			return first, nil
		}
	}
	return "", fmt.Errorf("vmtest: apt has no source of packages: add a Debian archive to its sources: %w", ErrUnavailable)
}

// names lists the packages whose names begin as a kernel's.
func (a apt) names(ctx context.Context) ([]string, error) {
	out, err := a.run(ctx, updateLimit, "apt-cache", "pkgnames", "linux-image-")
	return strings.Fields(out), err
}

// parts are the packages in which newer kernels keep what the package
// linux-image had in it. Without a version linux-base is something else.
var parts = regexp.MustCompile(`\blinux-(?:binary|modules|base)-[0-9][^ ,]*`)

// unpack downloads a package and its parts and lays them out in a folder of
// the package's name below dir, whole or not at all.
func (a apt) unpack(ctx context.Context, name, dir string) (*Image, error) {
	shown, err := a.run(ctx, updateLimit, "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return nil, err
	}
	packages := []string{name}
	for line := range strings.Lines(shown) {
		if strings.HasPrefix(line, "Depends:") {
			packages = append(packages, parts.FindAllString(line, -1)...)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(dir, "unpack-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	a.cwd = work
	if _, err := a.run(ctx, downloadLimit, "apt-get", append([]string{"download"}, packages...)...); err != nil {
		return nil, err
	}
	tree := filepath.Join(work, "tree")
	if err := unpackAll(ctx, work, tree); err != nil {
		return nil, err
	}
	image, err := open(tree)
	if err != nil {
		return nil, err
	}
	// Two thirds of the modules are for what a test machine has not.
	for _, sub := range []string{"drivers/gpu", "drivers/media", "drivers/staging", "sound"} {
		if err := os.RemoveAll(filepath.Join(image.Modules, "kernel", sub)); err != nil {
			return nil, err
		}
	}
	home := filepath.Join(dir, name)
	if err := os.Rename(tree, home); err != nil {
		return nil, err
	}
	return open(home)
}

// open finds the kernel and its modules in an unpacked package.
func open(dir string) (*Image, error) {
	one := func(patterns ...string) (string, error) {
		for _, p := range patterns {
			if found, err := filepath.Glob(filepath.Join(dir, p)); err != nil || len(found) == 1 {
				return strings.Join(found, ""), err
			}
		}
		return "", fmt.Errorf("vmtest: no %s in %s: remove the folder, and it is fetched again", patterns[0], dir)
	}
	file, err := one("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz")
	if err != nil {
		return nil, err
	}
	list, err := one("lib/modules/*/modules.builtin", "usr/lib/modules/*/modules.builtin")
	if err != nil {
		return nil, err
	}
	return &Image{Package: filepath.Base(dir), File: file, Modules: filepath.Dir(list)}, nil
}
