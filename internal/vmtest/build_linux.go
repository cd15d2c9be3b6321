package vmtest

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oobnet/oobnet/internal/vmtest/inside"
)

// Root is the folder of the module that the working directory lies in.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" || file == os.DevNull {
		return "", fmt.Errorf("vmtest: no module here: %w", err)
	}
	return filepath.Dir(file), nil
}

// Cache is the folder for downloads and kernels, which git ignores.
func Cache(root string) string { return filepath.Join(root, ".cache", "vm") }

// static builds for the guest, which has no C library. Without symbols the
// binaries are two thirds as large; stack traces do not need them.
func static(ctx context.Context, root string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("vmtest: go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// compile builds the guest's first program, the test binaries and what models
// cards into dir, which other machines may be building in at the same time. What
// is there already another run or machine has built. The name of a test binary is
// its package's path with dashes.
func compile(ctx context.Context, root, dir string, cfg Config) error {
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	const strip = "-ldflags=-s -w"
	if err := once(ctx, root, filepath.Join(dir, "init"), "build", "-trimpath", strip, "./internal/vmtest/guest"); err != nil {
		return err
	}
	if slices.ContainsFunc(cfg.Cards, Card.served) {
		if err := once(ctx, root, filepath.Join(dir, modelBinary), "build", "-trimpath", "./"+modelProgram); err != nil {
			return err
		}
	}
	for _, r := range cfg.Runs {
		if err := once(ctx, root, filepath.Join(dir, binaryName(r.Package)), "test", "-c", "-trimpath", strip, "./"+r.Package); err != nil {
			return err
		}
	}
	return nil
}

// once builds a binary that is not there yet, by a verb of go's and its arguments.
// The package comes last.
func once(ctx context.Context, root, binary string, verb ...string) error {
	if _, err := os.Stat(binary); err == nil {
		return nil
	}
	pkg := verb[len(verb)-1]
	if err := static(ctx, root, append(verb[:len(verb)-1:len(verb)-1], "-o", binary, pkg)...); err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("vmtest: %s has no tests for Linux", pkg)
	}
	return nil
}

func binaryName(pkg string) string { return strings.ReplaceAll(pkg, "/", "-") + ".test" }

// source is where the folders of packages are in the guest.
const source = "/src"

// initramfs writes the guest's root: what compile has built, the testdata of all
// packages, since tests use each other's, programs of the host's, the modules,
// and the plan, which it completes by them.
func initramfs(root, binaries, file string, cfg Config, mods []module, plan inside.Plan) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	// The least compression: the guest is an emulation, and decompresses
	// slowly; but QEMU copies what we write too.
	zip, err := gzip.NewWriterLevel(buffered, gzip.BestSpeed)
	if err != nil {
		return err
	}
	a := newArchive(zip)
	a.device("dev/console", 5, 1)
	first, err := os.ReadFile(filepath.Join(binaries, "init"))
	if err != nil {
		return err
	}
	a.file("init", 0o755, first)
	for _, m := range mods {
		name := "modules/" + m.name + ".ko"
		a.file(name, 0o644, m.data)
		plan.Modules = append(plan.Modules, "/"+name)
	}
	packed := map[string]bool{}
	for i := range plan.Runs {
		r := &plan.Runs[i]
		pkg := r.Name
		r.Dir, r.Path = path.Join(source, pkg), path.Join(source, pkg, path.Base(pkg)+".test")
		if packed[pkg] {
			continue
		}
		packed[pkg] = true
		binary, err := os.ReadFile(filepath.Join(binaries, binaryName(pkg)))
		if err != nil {
			return err
		}
		a.file(r.Path, 0o755, binary)
	}
	if err := a.testdata(root); err != nil {
		return err
	}
	if err := a.programs(cfg.Programs); err != nil {
		return err
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	a.file(inside.PlanFile, 0o644, text)
	if err := a.close(); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// testdata adds all folders of that name below root, which is a module's.
func (a *archive) testdata(root string) error {
	return filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if !d.Type().IsRegular() || !strings.Contains("/"+name, "/testdata/") {
			return nil
		}
		return a.copy(file, path.Join(source, name), 0o644)
	})
}

// programs adds programs of the host, which is a Linux for amd64 as the guest
// is, with the libraries that they load. One that the host has not is left out:
// the tests that call it skip, as they do on the host. A name that is a path
// keeps its place: a plugin, which a program looks for there.
func (a *archive) programs(names []string) error {
	have := map[string]bool{}
	for _, name := range names {
		file, to := name, name
		if !filepath.IsAbs(name) {
			found, err := exec.LookPath(name)
			if err != nil {
				continue
			}
			file, to = found, path.Join("/bin", name)
		}
		if have[to] {
			continue
		}
		have[to] = true
		if err := a.copy(file, to, 0o755); err != nil {
			return err
		}
		// "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f...)" and, for
		// the loader itself, "/lib64/ld-linux-x86-64.so.2 (0x00007f...)".
		out, err := exec.Command("ldd", file).Output()
		if err != nil {
			continue // it is static
		}
		for word := range strings.FieldsSeq(string(out)) {
			if !filepath.IsAbs(word) || have[word] {
				continue
			}
			have[word] = true
			if err := a.copy(word, word, 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *archive) copy(from, to string, perm int) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	a.file(to, perm, data)
	return nil
}
