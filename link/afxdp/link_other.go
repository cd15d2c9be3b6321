//go:build !linux

package afxdp

import (
	"fmt"

	"github.com/oobnet/oobnet/filter"
	"github.com/oobnet/oobnet/link"
)

// Link is an AF_XDP link. Only Linux has them: no value of this type exists
// elsewhere.
type Link struct{ link.Link }

var (
	_ link.Link     = (*Link)(nil)
	_ link.Selector = (*Link)(nil)
	_ link.Filterer = (*Link)(nil)
	_ link.TXTimer  = (*Link)(nil)
)

// Open returns link.ErrNotSupported.
func Open(ifname string, _ *Config) (*Link, error) {
	return nil, fmt.Errorf("afxdp: %s: only Linux has AF_XDP: %w", ifname, link.ErrNotSupported)
}

// Select returns link.ErrNotSupported.
func (l *Link) Select(*link.Claims) error { return link.ErrNotSupported }

// SetFilter returns link.ErrNotSupported.
func (l *Link) SetFilter(filter.Filter) error { return link.ErrNotSupported }

// Divert returns link.ErrNotSupported.
func (l *Link) Divert(bool) error { return link.ErrNotSupported }

// FilterStats returns zeros.
func (l *Link) FilterStats() filter.Stats { return filter.Stats{} }

// FilterMap returns link.ErrNotSupported.
func (l *Link) FilterMap(string) (filter.Map, error) { return nil, link.ErrNotSupported }

// SentAt knows no times.
func (l *Link) SentAt(_ []uint32, times []int64) { clear(times) }
