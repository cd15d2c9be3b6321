package control

import (
	"fmt"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// DefaultTimeout bounds a request: a link that is opened may wait 5 s for its
// carrier, twice, and a device that closes 1 s for its buffers.
const DefaultTimeout = 30 * time.Second

// MaxTimeout of a Config: a client that waits for longer has been forgotten.
const MaxTimeout = 10 * time.Minute

// Opener opens a link by the name that a client gave, without its kind:
// "eth0", "0000:02:00.0".
type Opener func(name string) (link.Link, error)

// Config of a server. The zero value and nil are a server that opens no links.
type Config struct {
	// Openers open links, by their kind: "afxdp", "vfio", or the application's
	// own, small letters and digits. Names that are PCI addresses are "vfio"'s.
	Openers map[string]Opener
	// Default is the kind of a name that has none; "": such names are those of
	// attached devices only.
	Default string
	// Device and Port say what a device is attached with, and a port enabled
	// with, where the request leaves it open; nil: with the stack's defaults.
	// They, Filter and Enabled are called for each request, one at a time, and must
	// not make requests of their own: those would wait for this one.
	Device func(name string) stack.DeviceConfig
	Port   func(name string) stack.PortConfig
	// Filter says which filter a device that the server opens begins with, before
	// it has a port; nil, and the zero Filter: the default one. Requests for other
	// filters change it, until the device is opened again.
	Filter func(name string) Filter
	// Enabled is told of each port that a client has enabled, before the client is:
	// for routes and neighbours that come with a port, and went with it before. On an
	// error the port is disabled again, and what hung on it goes, too.
	Enabled func(p *stack.Port) error
	// Group may connect, beside the process's own user and root; "": nobody.
	Group string
	// Objects is the folder that eBPF objects have to be in, symbolic links
	// followed; "": any file that the process may read.
	Objects string
	// Timeout of a request; 0: DefaultTimeout, MaxTimeout at most.
	Timeout time.Duration

	bodyTime time.Duration // 0: bodyTime; tests have less
}

// complete checks the config, and returns the group's number, -1 for none.
func (c *Config) complete() (gid int, err error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.bodyTime == 0 {
		c.bodyTime = bodyTime
	}
	if c.Timeout < 0 || c.Timeout > MaxTimeout {
		return -1, fmt.Errorf("timeout %v: %w: want at most %v", c.Timeout, syscall.EINVAL, MaxTimeout)
	}
	if _, ok := c.Openers[c.Default]; !ok && c.Default != "" {
		return -1, fmt.Errorf("default kind of links %q: %w: there is no such opener", c.Default, syscall.EINVAL)
	}
	if c.Objects != "" {
		if c.Objects, err = filepath.Abs(c.Objects); err != nil {
			return -1, err
		}
	}
	if c.Group == "" {
		return -1, nil
	}
	g, err := user.LookupGroup(c.Group)
	if err != nil {
		return -1, fmt.Errorf("%w: create it, or leave the group out: %w", err, syscall.EINVAL)
	}
	return strconv.Atoi(g.Gid)
}

// target is what a name of an interface stands for.
type target struct {
	kind   string // of the link; "": not said
	device string
	vlan   uint16
}

func (t target) String() string {
	if t.vlan == 0 {
		return t.device
	}
	return fmt.Sprintf("%s.%d", t.device, t.vlan)
}

// kindPCI is the kind of links whose names are PCI addresses.
const kindPCI = "vfio"

// kindPrefix tells a kind of links from the beginning of a PCI address.
var kindPrefix = regexp.MustCompile(`^[a-z][a-z0-9_-]*:`)

// pciAddress ends in a dot and a number that are no VLAN.
var pciAddress = regexp.MustCompile(`^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$`)

// parseTarget reads [KIND:]DEVICE[.VLAN]. Names of attached devices win: one
// of them may have a dot in it.
func (s *Server) parseTarget(name string) (target, error) {
	var t target
	t.device = name
	if m := kindPrefix.FindString(name); m != "" && s.device(name) == nil {
		t.kind, t.device = strings.TrimSuffix(m, ":"), name[len(m):]
	}
	if t.device == "" {
		return t, fmt.Errorf("interface %q: %w: want a name such as eth0, or eth0.42 for VLAN 42", name, syscall.EINVAL)
	}
	if s.device(t.device) != nil || pciAddress.MatchString(t.device) {
		return t, nil
	}
	dot := strings.LastIndexByte(t.device, '.')
	if dot < 0 {
		return t, nil
	}
	id, err := strconv.ParseUint(t.device[dot+1:], 10, 16)
	if err != nil {
		return t, nil // a dot in the name
	}
	if dot == 0 || id < 2 || id > 4094 {
		return t, fmt.Errorf("interface %q: VLAN id %d: %w: want 2 to 4094", name, id, syscall.EINVAL)
	}
	t.device, t.vlan = t.device[:dot], uint16(id)
	return t, nil
}

// opener of a target's link, and its kind.
func (s *Server) opener(t target) (Opener, string, error) {
	kind := t.kind
	switch {
	case kind == "" && pciAddress.MatchString(t.device) && s.cfg.Openers[kindPCI] != nil:
		kind = kindPCI
	case kind == "":
		kind = s.cfg.Default
	}
	if open := s.cfg.Openers[kind]; open != nil {
		return open, kind, nil
	}
	return nil, "", fmt.Errorf("interface %s: %w: no device of this name is attached, and the application opens %s", t.device, syscall.ENODEV, s.kinds())
}

// kinds of links that can be opened, in words.
func (s *Server) kinds() string {
	names := s.openers()
	if len(names) == 0 {
		return "no links"
	}
	for i := range names {
		names[i] += ":NAME"
	}
	return "only " + strings.Join(names, ", ")
}

func (s *Server) openers() (names []string) {
	names = []string{}
	for kind := range s.cfg.Openers {
		names = append(names, kind)
	}
	slices.Sort(names)
	return names
}
