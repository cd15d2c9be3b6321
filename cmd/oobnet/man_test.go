package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command has its page, with its flags, and the same each time.
func TestManPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	first, second := filepath.Join(t.TempDir(), "new", "man1"), t.TempDir()
	for _, dir := range []string{first, second} {
		if out, stderr, err := command(t.Context(), "man", dir); err != nil || out+stderr != "" {
			t.Fatalf("%v, %q, %q", err, out, stderr)
		}
	}
	pages := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Error(err)
			return
		}
		pages++
		if again, err := os.ReadFile(filepath.Join(second, name)); err != nil || string(again) != string(page) {
			t.Errorf("%s is another one the second time: %v", name, err)
		}
		if !strings.Contains(string(page), ".TH ") || !strings.Contains(string(page), c.Short[1:]) {
			t.Errorf("%s: no head in %.200s", name, page)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(rootCommand())
	if pages < 15 {
		t.Errorf("%d pages", pages)
	}
	if page, err := os.ReadFile(filepath.Join(first, "oobnet-ping.1")); err != nil || !strings.Contains(string(page), "\\-\\-interval") && !strings.Contains(string(page), "--interval") {
		t.Errorf("no --interval in the page of ping: %v", err)
	}
}

func TestManBadInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(t.Context(), "man", file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file for a folder: %v", err)
	}
	if _, _, err := command(t.Context(), "man"); err == nil || !strings.Contains(err.Error(), "1 arg") {
		t.Errorf("no folder: %v", err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, _, err := command(t.Context(), "man", t.TempDir()); err == nil || !strings.Contains(err.Error(), "SOURCE_DATE_EPOCH") {
		t.Errorf("a date that is none: %v", err)
	}
}
