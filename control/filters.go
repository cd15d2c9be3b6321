package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/oobnet/oobnet/filter"
)

// Kinds of filters.
const (
	kindDefault = "default"
	kindRules   = "rules"
	kindObject  = "object"
	kindVLANs   = "vlans"
)

type filterIn struct {
	Device string `path:"device" json:"-" doc:"its name, or that of a port on it"`
	Filter
}

// filterOf is what is in force on a device, as far as the server set it.
func (s *Server) filterOf(r device) Filter {
	switch {
	case r.filter.Kind != "":
		return r.filter
	case r.byVLANs:
		return Filter{Kind: kindVLANs}
	}
	return Filter{Kind: kindDefault}
}

func (s *Server) getFilter(_ context.Context, in *deviceIn) (*Filter, error) {
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	f := s.filterOf(s.record(d))
	return &f, nil
}

func (s *Server) setFilter(ctx context.Context, in *filterIn) (*Filter, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	what := in.Filter
	f, err := s.load(&what)
	if err == nil {
		err = d.SetFilter(f)
	}
	if err != nil {
		return nil, fmt.Errorf("control: filter of %s: %w", d.Name(), err)
	}
	s.remember(d, func(r *device) { r.filter, r.byVLANs = what, false })
	return &what, nil
}

func (s *Server) removeFilter(ctx context.Context, in *deviceIn) (*Filter, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	if err := d.SetFilter(nil); err != nil {
		return nil, fmt.Errorf("control: filter of %s: %w", d.Name(), err)
	}
	s.remember(d, func(r *device) { r.filter, r.byVLANs = Filter{}, false })
	if err := s.applyVLANs(); err != nil {
		return nil, err
	}
	f := s.filterOf(s.record(d))
	return &f, nil
}

// load makes the filter that a client describes, and says what kind it is.
func (s *Server) load(in *Filter) (filter.Filter, error) {
	switch {
	case (in.Object == "") == (in.Rules == ""):
		return nil, badRequest("want either \"object\" or \"rules\"")
	case in.Rules != "" && (in.Section != "" || in.Function != ""):
		return nil, badRequest("\"section\" and \"function\" are of objects")
	case in.Rules != "":
		in.Kind = kindRules
		return filter.ParseRules(in.Rules)
	}
	in.Kind = kindObject
	f, err := s.openObject(in.Object)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var options []filter.LoadOption
	if in.Section != "" {
		options = append(options, filter.Section(in.Section))
	}
	if in.Function != "" {
		options = append(options, filter.Function(in.Function))
	}
	p, err := filter.LoadProgram(f, options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.Object, err)
	}
	return p, nil
}

// openObject opens a file with the server's rights, in its folder if it has
// one. It does not wait for the other end of a pipe.
func (s *Server) openObject(path string) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	var f *os.File
	var err error
	if s.cfg.Objects == "" {
		if !filepath.IsAbs(path) {
			return nil, badRequest("object %q: want an absolute path: the application has no folder for objects", path)
		}
		f, err = os.OpenFile(path, flags, 0)
	} else {
		f, err = openWithin(s.cfg.Objects, path, flags)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s: %w: it is no regular file", path, filter.ErrNotObject)
	case info.Size() > filter.MaxObjectSize:
		err = fmt.Errorf("%s: %w: want at most %d bytes", path, syscall.EFBIG, filter.MaxObjectSize)
	default:
		return f, nil
	}
	f.Close()
	return nil, err
}

// openWithin opens a file that has to be in a folder, wherever links lead.
func openWithin(folder, path string, flags int) (*os.File, error) {
	if filepath.IsAbs(path) {
		within, err := filepath.Rel(folder, path)
		if err != nil {
			return nil, err
		}
		path = within
	}
	if !filepath.IsLocal(path) {
		return nil, fmt.Errorf("object %s is not in %s: %w: the application opens no other", path, folder, syscall.EACCES)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(path, flags, 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		// os.Root has no error of its own for a link that leads out.
		err = fmt.Errorf("%w: %w: the application opens objects in %s only", err, syscall.EACCES, folder)
	}
	return f, err
}

func (s *Server) getVLANs(context.Context, *struct{}) (*VLANs, error) {
	out := &VLANs{}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.IDs = formatIDs(s.vlans)
	for d, r := range s.devices {
		if r.byVLANs && !d.Closed() {
			out.Devices = append(out.Devices, d.Name())
		}
	}
	slices.Sort(out.Devices)
	return out, nil
}

func (s *Server) setVLANs(ctx context.Context, in *VLANs) (*VLANs, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	ids, err := parseIDs(in.IDs)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	before := s.vlans
	s.vlans = ids
	s.mu.Unlock()
	if err := s.applyVLANs(); err != nil {
		s.mu.Lock()
		s.vlans = before
		s.mu.Unlock()
		return nil, errors.Join(err, s.applyVLANs())
	}
	return s.getVLANs(ctx, nil)
}

// applyVLANs puts the list of VLANs in force on each device that has no filter
// of its own, and no untagged port: for those the default is right, which
// takes what is for the ports' addresses on any VLAN. ARP is taken with IPv4:
// in EVL it stays with the host, whose address a port has there.
func (s *Server) applyVLANs() error {
	s.mu.Lock()
	ids := s.vlans
	s.mu.Unlock()
	for _, d := range s.stack.Devices() {
		r := s.record(d)
		ports := d.Ports()
		wanted := len(ids) > 0 && r.filter.Kind == "" && len(ports) > 0 && ports[0].VLAN() != 0
		if d.Closed() || !wanted && !r.byVLANs {
			continue
		}
		var f filter.Filter
		if wanted {
			rule := filter.Rule{EtherTypes: []uint16{0x0800, 0x0806}, Verdict: filter.Accept}
			for _, id := range ids {
				rule.VLANs = append(rule.VLANs, filter.Only(id))
			}
			rules, err := filter.NewRules(filter.Skip, rule)
			if err != nil {
				return fmt.Errorf("control: VLANs on %s: %w", d.Name(), err)
			}
			f = rules
		}
		if err := d.SetFilter(f); err != nil {
			return fmt.Errorf("control: VLANs on %s: %w", d.Name(), err)
		}
		s.remember(d, func(r *device) { r.byVLANs = wanted })
	}
	return nil
}

// parseIDs reads a list of VLAN ids as the kernel writes bitmaps: 42-45,100.
func parseIDs(text string) (ids []uint16, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		lo, err1 := strconv.ParseUint(from, 10, 16)
		hi, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || lo < 2 || hi > 4094 || lo > hi {
			return nil, badRequest("VLANs %q: want ids from 2 to 4094, like 42-45,100", part)
		}
		for id := lo; id <= hi; id++ {
			ids = append(ids, uint16(id))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// formatIDs is the reverse of parseIDs.
func formatIDs(ids []uint16) string {
	var parts []string
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		part := strconv.Itoa(int(ids[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(ids[j]))
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
