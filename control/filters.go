package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/stack"
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
	if err := s.exchange(d, &what); err != nil {
		return nil, fmt.Errorf("control: filter of %s: %w", d.Name(), err)
	}
	return &what, nil
}

// exchange puts the filter that is described in the place of a device's, and
// completes the description.
func (s *Server) exchange(d *stack.Device, what *Filter) error {
	f, err := s.load(what)
	if err == nil {
		err = d.SetFilter(f)
	}
	if err != nil {
		return err
	}
	s.remember(d, func(r *device) { r.filter, r.byVLANs = *what, false })
	return nil
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
	// The list of VLANs, if it is to be in force then, comes in the filter's place
	// at once: there is no half of the change that could fail.
	var instead filter.Filter
	byVLANs := s.takesVLANs(d.Ports())
	if byVLANs {
		instead, err = s.vlanRules()
	}
	if err == nil {
		err = d.SetFilter(instead)
	}
	if err != nil {
		return nil, fmt.Errorf("control: filter of %s: %w", d.Name(), err)
	}
	s.remember(d, func(r *device) { r.filter, r.byVLANs = Filter{}, byVLANs })
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
