package vmtest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is a kernel module as the guest loads it.
type module struct {
	name string
	data []byte // the object file, not compressed
}

// modules resolves the names of modules of one kernel: which file each is, and
// which others it needs first. It reads the needs from the modules themselves,
// since modules.dep is made when a package is installed, and ours never is.
type modules struct {
	files   map[string]string // name to file
	builtin map[string]bool   // names of what is in the kernel anyway
}

// moduleName is how the kernel writes a name that files write with dashes.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

func (i *Image) modules() (*modules, error) {
	m := &modules{files: map[string]string{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(i.Modules, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(d.Name(), ".ko") {
			m.files[moduleName(path)] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("vmtest: modules: %w", err)
	}
	list, err := os.ReadFile(filepath.Join(i.Modules, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("vmtest: modules: %w", err)
	}
	for line := range strings.FieldsSeq(string(list)) {
		m.builtin[moduleName(line)] = true
	}
	return m, nil
}

// resolve returns the modules of these names with all that they need, each
// after those it needs. What is built in is left out.
func (m *modules) resolve(names []string) ([]module, error) {
	var order []module
	seen := map[string]bool{}
	var visit func(name string, must bool) error
	visit = func(name string, must bool) error {
		name = moduleName(name)
		if seen[name] || m.builtin[name] {
			return nil
		}
		seen[name] = true
		file, ok := m.files[name]
		if !ok {
			if must {
				return fmt.Errorf("vmtest: the kernel has no module %s", name)
			}
			return nil
		}
		data, err := readModule(file)
		if err != nil {
			return err
		}
		needs, wishes, err := needsOf(data)
		if err != nil {
			return fmt.Errorf("vmtest: module %s: %w", file, err)
		}
		for _, n := range needs {
			if err := visit(n, true); err != nil {
				return fmt.Errorf("%w, which %s needs", err, name)
			}
		}
		for _, n := range wishes {
			if err := visit(n, false); err != nil {
				return err
			}
		}
		order = append(order, module{name, data})
		return nil
	}
	for _, n := range names {
		if err := visit(n, true); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// readModule reads an object file, by the program that its ending calls for.
func readModule(file string) ([]byte, error) {
	var program string
	switch filepath.Ext(file) {
	case ".ko":
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("vmtest: %w", err)
		}
		return data, nil
	case ".xz":
		program = "xz"
	case ".zst":
		program = "zstd"
	case ".gz":
		program = "gzip"
	default:
		return nil, fmt.Errorf("vmtest: %s: compressed in an unknown way", file)
	}
	data, err := exec.Command(program, "-dc", file).Output()
	if err != nil {
		return nil, fmt.Errorf("vmtest: %s -dc %s: %w", program, file, err)
	}
	return data, nil
}

// needsOf reads from a module what it does not load without, and what it asks
// to be loaded before it where there is any (softdep).
func needsOf(object []byte) (needs, wishes []string, err error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil, fmt.Errorf("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, nil, err
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case "depends":
			needs = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		case "softdep":
			words := strings.Fields(value)
			if i := slices.Index(words, "pre:"); i >= 0 {
				words = words[i+1:]
				if j := slices.Index(words, "post:"); j >= 0 {
					words = words[:j]
				}
				wishes = append(wishes, words...)
			}
		}
	}
	return needs, wishes, nil
}
