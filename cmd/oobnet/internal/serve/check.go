package serve

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/oobnet/oobnet/control"
)

// Kinds of links.
const (
	kindAFXDP = "afxdp"
	kindVFIO  = "vfio"
)

// invalid is an EINVAL in words.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, syscall.EINVAL)...)
}

// pciAddress is the name of a device that VFIO has.
var pciAddress = regexp.MustCompile(`^[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$`)

// check checks what one can without opening anything, and reads values.
func (c *Config) check() error {
	if c.Timeout < 0 || c.Timeout > control.MaxTimeout {
		return c.file.wrong(invalid("%v: want at most %v", c.Timeout, control.MaxTimeout), "timeout")
	}
	// Paths are seen from the config file's folder.
	for _, path := range []*string{&c.Objects, &c.NeighborTable} {
		*path = c.within(*path)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Devices)) {
		d := c.Devices[name]
		if key, err := c.checkDevice(name, &d); err != nil {
			return c.file.wrong(err, append([]any{"devices", name}, key...)...)
		}
		c.Devices[name] = d
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ports)) {
		p := c.Ports[name]
		if key, err := c.checkPort(name, &p); err != nil {
			return c.file.wrong(err, append([]any{"ports", name}, key...)...)
		}
		c.Ports[name] = p
	}
	for i := range c.Routes {
		if key, err := c.checkRoute(i, &c.Routes[i]); err != nil {
			return c.file.wrong(err, "routes", i, key)
		}
	}
	for i := range c.Neighbors {
		if key, err := c.checkNeighbor(&c.Neighbors[i]); err != nil {
			return c.file.wrong(err, "neighbors", i, key)
		}
	}
	if _, err := control.ParseVLANs(c.VLANs); err != nil {
		return c.file.wrong(err, "vlans")
	}
	return c.checkServices()
}

// within is a path as seen from the config file's folder.
func (c *Config) within(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.file.name), path)
}

// objectPath is the path of an object, as seen from the folder for objects, or the
// config file's without one.
func (c *Config) objectPath(path string) (string, error) {
	if c.Objects == "" {
		return c.within(path), nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.Objects, path)
	}
	if local, err := filepath.Rel(c.Objects, path); err != nil || !filepath.IsLocal(local) {
		return "", fmt.Errorf("%s is not in %s, the folder for objects: %w: put it there, or change objects", path, c.Objects, syscall.EACCES)
	}
	return path, nil
}

func (c *Config) checkServices() error {
	s := c.Services
	if s.Echo != 0 && s.Echo == s.Discard || s.Echo != 0 && s.Echo == s.Latmus || s.Discard != 0 && s.Discard == s.Latmus {
		return c.file.wrong(invalid("two of them have the same UDP port"), "services")
	}
	return nil
}
