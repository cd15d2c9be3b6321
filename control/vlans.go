package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/stack"
)

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
	ids, err := ParseVLANs(in.IDs)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	before := s.vlans
	s.vlans = ids
	s.mu.Unlock()
	if err := s.applyVLANs(nil); err != nil {
		s.mu.Lock()
		s.vlans = before
		s.mu.Unlock()
		return nil, errors.Join(err, s.applyVLANs(nil))
	}
	return s.getVLANs(ctx, nil)
}

// applyVLANs puts the list of VLANs in force on each device that has no filter
// of its own, and no untagged port: for those the default is right, which
// takes what is for the ports' addresses on any VLAN. A port that is leaving
// counts for nothing; nil: none is. On an error the same call without the cause
// undoes what was done.
func (s *Server) applyVLANs(leaving *stack.Port) error {
	for _, d := range s.stack.Devices() {
		r := s.record(d)
		ports := slices.DeleteFunc(d.Ports(), func(p *stack.Port) bool { return p == leaving })
		wanted := r.filter.Kind == "" && s.takesVLANs(ports)
		if d.Closed() || !wanted && !r.byVLANs {
			continue
		}
		var f filter.Filter
		var err error
		if wanted {
			f, err = s.vlanRules()
		}
		if err == nil {
			err = d.SetFilter(f)
		}
		if err != nil {
			return fmt.Errorf("control: VLANs on %s: %w", d.Name(), err)
		}
		s.remember(d, func(r *device) { r.byVLANs = wanted })
	}
	return nil
}

// takesVLANs says whether the list of VLANs is for a device with these ports.
func (s *Server) takesVLANs(ports []*stack.Port) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.vlans) > 0 && len(ports) > 0 && ports[0].VLAN() != 0
}

// vlanRules are the list of VLANs as a filter. ARP is taken with IPv4: in EVL it
// stays with the host, whose address a port has there.
func (s *Server) vlanRules() (filter.Filter, error) {
	rule := filter.Rule{EtherTypes: []uint16{0x0800, 0x0806}, Verdict: filter.Accept}
	s.mu.Lock()
	for _, id := range s.vlans {
		rule.VLANs = append(rule.VLANs, filter.Only(id))
	}
	s.mu.Unlock()
	rules, err := filter.NewRules(filter.Skip, rule)
	if err != nil {
		return nil, err // not rules, which would be a filter
	}
	return rules, nil
}

// ParseVLANs reads a list of VLAN ids as [VLANs] has it and the kernel writes
// bitmaps: 42-45,100; "": none. They come in order, each once. Errors are an *Error
// and wrap EINVAL.
func ParseVLANs(text string) (ids []uint16, err error) {
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

// formatIDs is the reverse of ParseVLANs.
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
