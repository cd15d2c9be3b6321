package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oobnet/oobnet/internal/leaktest"
)

func TestRun(t *testing.T) {
	leaktest.Check(t)
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	raw, folded, none := file("raw", "# task 2\nw 0x05080 0x400\n"), file("folded", "# folded\n# task up\nw FCTRL 0x00000402\n"), file("none", "nothing")
	for _, c := range []struct {
		fold  bool
		files []string
		want  string // "": an error
	}{
		{true, []string{raw}, "# folded\n# task up\nw FCTRL 0x00000400\n"},
		{true, []string{folded}, "# folded\n# task up\nw FCTRL 0x00000402\n"},
		{false, []string{raw, folded}, "task  register  first  second\nup    FCTRL     0x400  0x402 (SBP)\n"},
		{true, []string{raw, raw}, ""},
		{false, []string{raw}, ""},
		{true, []string{none}, ""},
		{true, []string{none + "x"}, ""},
	} {
		var b strings.Builder
		err := run(&b, c.fold, c.files)
		if (err == nil) != (c.want != "") || err == nil && b.String() != c.want {
			t.Errorf("%v %v: %q, %v, want %q", c.fold, c.files, b.String(), err, c.want)
		}
	}
}
