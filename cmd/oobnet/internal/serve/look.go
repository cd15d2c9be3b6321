package serve

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/oobnet/oobnet/arp"
	"github.com/oobnet/oobnet/filter"
)

// look checks what the config names on this machine, and reads the static table.
func (c *Config) look() error {
	if c.Group != "" {
		if _, err := user.LookupGroup(c.Group); err != nil {
			return c.file.wrong(fmt.Errorf("%w: create it, or leave the group out: %w", err, syscall.EINVAL), "group")
		}
	}
	if c.Objects != "" {
		if info, err := os.Stat(c.Objects); err != nil {
			return c.file.wrong(err, "objects")
		} else if !info.IsDir() {
			return c.file.wrong(fmt.Errorf("%s: %w", c.Objects, syscall.ENOTDIR), "objects")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Devices)) {
		f := c.Devices[name].Filter
		if f == nil || f.Object == "" {
			continue
		}
		if err := c.lookAt(f); err != nil {
			return c.file.wrong(err, "devices", name, "filter", "object")
		}
	}
	return c.readTable()
}

// lookAt reads an object as the control server will, which goes where links lead,
// but not out of the folder. The kernel sees it when the device is opened.
func (c *Config) lookAt(f *Filter) error {
	info, err := c.stat(f.Object)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: %w", f.Object, syscall.EINVAL)
	}
	var options []filter.LoadOption
	if f.Section != "" {
		options = append(options, filter.Section(f.Section))
	}
	if f.Function != "" {
		options = append(options, filter.Function(f.Function))
	}
	_, err = filter.LoadFile(f.Object, options...)
	return err
}

func (c *Config) stat(object string) (fs.FileInfo, error) {
	if c.Objects == "" {
		return os.Stat(object)
	}
	root, err := os.OpenRoot(c.Objects)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Objects are below it: check has seen to that.
	local, err := filepath.Rel(c.Objects, object)
	if err != nil {
		return nil, err
	}
	return root.Stat(local)
}

// readTable reads the static table.
func (c *Config) readTable() error {
	if c.NeighborTable == "" {
		return nil
	}
	f, err := os.Open(c.NeighborTable)
	if err != nil {
		return c.file.wrong(err, "neighbor_table")
	}
	defer f.Close()
	if c.table, err = arp.ReadTable(f); err != nil {
		return c.file.wrong(err, "neighbor_table")
	}
	for _, n := range c.table {
		if _, err := c.checkStatic(n); err != nil {
			return c.file.wrong(fmt.Errorf("line %d: %w", n.Line, err), "neighbor_table")
		}
	}
	return nil
}
