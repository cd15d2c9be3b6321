package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/stack"
)

// device is what the server remembers of a device.
type device struct {
	opened  bool // by the server, for a port
	left    bool // frames are left to the host: diversion is off
	filter  Filter
	byVLANs bool // the list of VLANs is in force
}

// remembered returns the record of a device. Under mu.
func (s *Server) remembered(d *stack.Device) *device {
	for known := range s.devices {
		if known.Closed() {
			delete(s.devices, known)
		}
	}
	r := s.devices[d]
	if r == nil {
		r = &device{}
		s.devices[d] = r
	}
	return r
}

// record is a copy of what the server remembers of a device.
func (s *Server) record(d *stack.Device) device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.remembered(d)
}

// remember changes the record of a device.
func (s *Server) remember(d *stack.Device, change func(*device)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.remembered(d))
}

// device returns the attached device of a name, or nil.
func (s *Server) device(name string) *stack.Device {
	for _, d := range s.stack.Devices() {
		if d.Name() == name && !d.Closed() {
			return d
		}
	}
	return nil
}

// deviceOf is the device of a request, which may name a port on it.
func (s *Server) deviceOf(name string) (*stack.Device, error) {
	t, err := s.parseTarget(name)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if d := s.device(t.device); d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("control: device %s: %w: none of this name is attached: enable a port on it", t.device, syscall.ENODEV)
}

// deviceFor returns the device for a port, and opens it if need be.
func (s *Server) deviceFor(ctx context.Context, t target, in *EnableRequest) (d *stack.Device, opened bool, err error) {
	if d := s.device(t.device); d != nil {
		return d, false, nil
	}
	for _, d := range s.stack.Devices() {
		// Closed by force, while the application held buffers of it.
		if d.Name() == t.device {
			if err := d.Close(); err != nil {
				return nil, false, err
			}
		}
	}
	open, kind, err := s.opener(t)
	if err != nil {
		return nil, false, err
	}
	l, err := open(t.device)
	if err != nil {
		return nil, false, fmt.Errorf("open %s:%s: %w", kind, t.device, err)
	}
	var cfg stack.DeviceConfig
	if s.cfg.Device != nil {
		cfg = s.cfg.Device(t.device)
	}
	if in.PoolSize != 0 {
		cfg.PoolSize = in.PoolSize
	}
	if in.BufferSize != 0 {
		cfg.BufferSize = in.BufferSize
	}
	if err = ctx.Err(); err == nil {
		d, err = s.stack.Attach(l, &cfg)
	}
	if err != nil {
		if closing := l.Close(); closing != nil {
			err = fmt.Errorf("%w (and to close the link again: %w)", err, closing)
		}
		return nil, false, err
	}
	s.remember(d, func(r *device) { r.opened = true })
	if s.cfg.Filter != nil {
		if err := s.begin(d, s.cfg.Filter(t.device)); err != nil {
			return nil, false, errors.Join(err, d.Close())
		}
	}
	return d, true, nil
}

// begin gives a device that was just opened its filter.
func (s *Server) begin(d *stack.Device, f Filter) error {
	if f == (Filter{}) {
		return nil
	}
	if err := s.exchange(d, &f); err != nil {
		return fmt.Errorf("filter of %s: %w", d.Name(), err)
	}
	return nil
}

func (s *Server) status(context.Context, *struct{}) (*Status, error) {
	out := &Status{
		PID: os.Getpid(), Version: version(), UptimeMS: time.Since(s.started).Milliseconds(),
		Openers: s.openers(), Devices: []string{}, Ports: portNames(s.stack.Ports()),
	}
	for _, d := range s.stack.Devices() {
		out.Devices = append(out.Devices, d.Name())
	}
	return out, nil
}

// version of the module in this program.
func version() string {
	const module = "github.com/oobnet/oobnet"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" {
			return m.Version
		}
	}
	return "unknown"
}

func portNames(ports []*stack.Port) []string {
	names := []string{}
	for _, p := range ports {
		names = append(names, p.Name())
	}
	return names
}

type deviceIn struct {
	Device string `path:"device" json:"-" doc:"its name, or that of a port on it"`
}

func (s *Server) listDevices(context.Context, *struct{}) (*Devices, error) {
	out := &Devices{Devices: []Device{}}
	for _, d := range s.stack.Devices() {
		out.Devices = append(out.Devices, s.describe(d))
	}
	return out, nil
}

func (s *Server) getDevice(_ context.Context, in *deviceIn) (*Device, error) {
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	out := s.describe(d)
	return &out, nil
}

func (s *Server) describe(d *stack.Device) Device {
	caps, cfg, pool, r := d.Link().Capabilities(), d.Config(), d.Stats().Pool, s.record(d)
	// As they are: ResizeRX changes them, and not what the device was attached with.
	// An application that has changed one queue alone sees the mean.
	rxBuffers := pool.RXSize / d.Link().Queues()
	out := Device{
		Name: d.Name(), Managed: r.opened, Driver: caps.Driver, Mode: caps.Mode, ZeroCopy: caps.ZeroCopy,
		MAC: macText(d.Link().MAC()), MTU: d.MTU(), State: d.Link().State().String(), Diverted: !r.left,
		PoolSize: pool.Size, PoolFree: pool.Free, BufferSize: pool.BufferSize, RXBuffers: rxBuffers, RXHeld: pool.RXHeld,
		Poll: cfg.Poll.String(), Priority: cfg.Priority, Ports: portNames(d.Ports()), Filter: s.filterOf(r),
	}
	if err := d.Fault(); err != nil {
		out.Fault = err.Error()
	}
	return out
}

func macText(m link.MAC) string { return net.HardwareAddr(m[:]).String() }

// hostFirst says that the kernel makes packets of a link's frames before the
// stack sees them.
func hostFirst(l link.Link) bool { return strings.HasPrefix(l.Capabilities().Mode, "generic") }

func (s *Server) deviceState(_ context.Context, in *deviceIn) (*DeviceState, error) {
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	st := d.Stats()
	out := &DeviceState{Threads: []Thread{}, RXQueues: []RXQueue{}, TXQueues: []TXQueue{}}
	for _, t := range d.Threads() {
		thread := Thread{Name: t.Name, Own: t.Own}
		if t.Refused != nil {
			thread.Refused = t.Refused.Error()
		}
		for _, seen := range st.Threads {
			if seen.Name == t.Name {
				thread.Steps = steps(seen.Steps)
			}
		}
		out.Threads = append(out.Threads, thread)
	}
	for i, q := range st.Queues {
		out.RXQueues = append(out.RXQueues, RXQueue{i, q.RXNoBuffer, q.RXRingFull, q.RXInvalid, q.TXInvalid, q.TXDropped, q.Wakeups})
	}
	for i, q := range st.TX.Queues {
		out.TXQueues = append(out.TXQueues, TXQueue{i, q.Discipline, q.Limit, q.Length, q.Peak, q.Dropped})
	}
	return out, nil
}

func steps(list []stack.StepStats) (out []Step) {
	for _, st := range list {
		out = append(out, Step{st.Name, st.Count, st.Total.Nanoseconds(), st.Longest.Nanoseconds(), st.Over, st.Running.Nanoseconds()})
	}
	return out
}

type divertIn struct {
	Device string `path:"device" json:"-"`
	Diversion
}

// Diversion of a device's frames.
type Diversion struct {
	On bool `json:"on" doc:"true: the stack takes frames; false: all are left to the host"`
}

func (s *Server) divert(ctx context.Context, in *divertIn) (*Diversion, error) {
	done, err := s.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := s.deviceOf(in.Device)
	if err != nil {
		return nil, err
	}
	if err := d.Divert(in.On); err != nil {
		return nil, err
	}
	s.remember(d, func(r *device) { r.left = !in.On })
	return &in.Diversion, nil
}
