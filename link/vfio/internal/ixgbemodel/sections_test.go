package ixgbemodel

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSections holds what the driver, its notes and the comparison of traces cite of
// the registers' chapter to the one table of sections, which is rules: a line that
// begins with a register has that register's section, any other one that there is.
func TestSections(t *testing.T) {
	sections, known := map[string]string{}, map[string]bool{}
	for _, r := range rules {
		sections[r.name], known[r.section] = r.section, true
	}
	files := []string{"../../ixgbe/NOTES.md", "../ixgbetrace/order.go"}
	sources, err := filepath.Glob("../../ixgbe/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("the driver's files: %v, %v", sources, err)
	}
	cited := regexp.MustCompile(`8\.2\.3\.\d+\.\d+`)
	subject := regexp.MustCompile(`^(?:\| |\t\{")([A-Z][A-Z0-9_]+)`) // of a row, or of an order
	of, all := 0, 0
	for _, file := range slices.Concat(files, sources) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			for _, section := range cited.FindAllString(line, -1) {
				all++
				if !known[section] {
					t.Errorf("%s:%d: %s is no section of a register that the model knows", file, i+1, section)
				}
				m := subject.FindStringSubmatch(line)
				if m == nil || sections[m[1]] == "" {
					continue
				}
				if of++; section != sections[m[1]] {
					t.Errorf("%s:%d: %s is in %s, and the model says %s", file, i+1, m[1], section, sections[m[1]])
				}
			}
		}
	}
	if of < 4 || all < 9 {
		t.Errorf("%d citations, of them %d of a register: were they written in another way?", all, of)
	}
}
