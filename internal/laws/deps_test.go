package laws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// core are the packages that a program cannot do without on Linux.
var core = []string{"stack", "proto/udp", "proto/packet", "link/afxdp", "link/loopback", "arp", "filter"}

// coreModules are the modules that the core may use, with the reason.
var coreModules = map[string]string{
	module:                    "ours",
	gvisor:                    "the in-band stage",
	"github.com/cilium/ebpf":  "loads the XDP program",
	"golang.org/x/net":        "the instructions of classic BPF, in the signature of a raw socket's SetBPF",
	"golang.org/x/sys":        "system calls",
	"github.com/google/btree": "gVisor needs it",
	"golang.org/x/time":       "gVisor needs it",
	"golang.org/x/exp":        "gVisor needs it",
}

// dependency is a package that the core is built of; Module is nil for the
// standard library's.
type dependency struct {
	ImportPath string
	Module     *struct{ Path string }
}

func strangers(deps []dependency) (found []finding) {
	for _, d := range deps {
		if d.Module != nil && coreModules[d.Module.Path] == "" {
			found = append(found, finding{d.ImportPath, "is of module " + d.Module.Path})
		}
	}
	return found
}

func TestCoreDependenciesStayFew(t *testing.T) {
	top := root(t)
	args := []string{"list", "-deps", "-json=ImportPath,Module"}
	for _, dir := range core {
		if files, _ := filepath.Glob(filepath.Join(top, dir, "*.go")); len(files) > 0 {
			args = append(args, "./"+dir)
		}
	}
	if len(args) == 3 {
		t.Skip("there is no core package yet")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	var deps []dependency
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var d dependency
		if err := dec.Decode(&d); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		deps = append(deps, d)
	}
	if len(deps) == 0 {
		t.Fatal("go list named no package")
	}
	for _, f := range strangers(deps) {
		t.Errorf("law: the core has few dependencies: %s %s\n\tway out: do without, move it out of the core, or give the reason in coreModules (internal/laws/deps_test.go)", f.where, f.what)
	}
}

func TestStrangersAreFound(t *testing.T) {
	of := func(m string) *struct{ Path string } { return &struct{ Path string }{m} }
	deps := []dependency{
		{"net", nil},
		{module + "/stack", of(module)},
		{"example.org/log/x", of("example.org/log")},
		{gvisor + "/pkg/tcpip", of(gvisor)},
	}
	if got := fmt.Sprint(strangers(deps)); got != "[{example.org/log/x is of module example.org/log}]" {
		t.Errorf("found %s", got)
	}
	if !slices.Contains(core, "stack") {
		t.Error("the stack is not looked at")
	}
}
