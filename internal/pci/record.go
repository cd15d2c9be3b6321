package pci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// former is what a function had before it was bound to VFIO.
type former struct {
	Addr     string `json:"address"`
	Driver   string `json:"driver"`   // empty: none
	Override string `json:"override"` // empty: none
}

// record is a file of the Binder's folder, named after the function that was
// asked for: all that were bound with it, in order.
type record struct {
	file    string
	Devices []former `json:"devices"`
}

func (r *record) has(addr string) bool {
	return slices.ContainsFunc(r.Devices, func(d former) bool { return d.Addr == addr })
}

// put adds what a function has now, or replaces what is known of it: the latest
// is what it had when it was taken away.
func (r *record) put(f *Function) {
	r.Devices = slices.DeleteFunc(r.Devices, func(d former) bool { return d.Addr == f.Addr })
	r.Devices = append(r.Devices, former{Addr: f.Addr, Driver: f.Driver, Override: f.Override})
}

// clone copies a record, to put it back.
func (r *record) clone() *record {
	return &record{file: r.file, Devices: slices.Clone(r.Devices)}
}

// records reads all there are; none is no error.
func (b *Binder) records() (list []*record, err error) {
	for _, name := range names(b.Run) {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		r := &record{file: filepath.Join(b.Run, name)}
		text, err := os.ReadFile(r.file)
		if err != nil {
			return nil, fmt.Errorf("read who had which driver: %w", err)
		}
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("%s, which says who had which driver, is damaged: delete it: %w", r.file, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// recordOf finds the record that a function is in, or an empty one to begin.
func (b *Binder) recordOf(addr string) (*record, error) {
	list, err := b.records()
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.has(addr) {
			return r, nil
		}
	}
	r := &record{file: filepath.Join(b.Run, addr+".json")}
	for _, other := range list {
		if other.file == r.file {
			return other, nil
		}
	}
	return r, nil
}

// save writes a record, whole or not at all, and takes one away that is empty.
func (r *record) save() error {
	if len(r.Devices) == 0 {
		if err := os.Remove(r.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget who had which driver: %w", err)
		}
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	draft := r.file + ".new"
	err = os.WriteFile(draft, append(text, '\n'), 0o644)
	if err == nil {
		err = os.Rename(draft, r.file)
	}
	if err != nil {
		return fmt.Errorf("note who had which driver: %w", err)
	}
	return nil
}

// Former tells, by address, which drivers functions had that are bound by a
// Binder now; an empty one is none.
func (b *Binder) Former() (map[string]string, error) {
	list, err := b.records()
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for _, r := range list {
		for _, d := range r.Devices {
			if b.Sys.Driver(d.Addr) == VFIO {
				m[d.Addr] = d.Driver
			}
		}
	}
	return m, nil
}
