//go:build !linux

package vfio

import (
	"fmt"

	"github.com/oobnet/oobnet/link"
)

// Link is a NIC of this process. Only Linux has VFIO: no value of this type
// exists elsewhere.
type Link struct{ link.Link }

var (
	_ link.Link     = (*Link)(nil)
	_ link.Selector = (*Link)(nil)
	_ link.TXTimer  = (*Link)(nil)
)

// Open returns link.ErrNotSupported.
func Open(pciAddr string, _ *Config) (*Link, error) {
	return nil, fmt.Errorf("vfio: %s: only Linux has VFIO: %w", pciAddr, link.ErrNotSupported)
}

// OpenFree returns link.ErrNotSupported.
func OpenFree(name string, _ *Config) (*Link, *FreeDevice, error) {
	return nil, nil, fmt.Errorf("vfio: %s: only Linux has what the link waits with: %w", name, link.ErrNotSupported)
}

// Select returns link.ErrNotSupported, as all methods beside link.Link's do.
func (l *Link) Select(*link.Claims) error { return link.ErrNotSupported }

// SentAt knows no times.
func (l *Link) SentAt(_ []uint32, times []int64) { clear(times) }

// Populate returns link.ErrNotSupported.
func (l *Link) Populate(int, int) error { return link.ErrNotSupported }

// Release returns link.ErrNotSupported.
func (l *Link) Release(int, int) error { return link.ErrNotSupported }

// SetPromiscuous returns link.ErrNotSupported.
func (l *Link) SetPromiscuous(bool) error { return link.ErrNotSupported }

// SetAllMulticast returns link.ErrNotSupported.
func (l *Link) SetAllMulticast(bool) error { return link.ErrNotSupported }

// SetUnicast returns link.ErrNotSupported.
func (l *Link) SetUnicast([]link.MAC) error { return link.ErrNotSupported }

// SetMAC returns link.ErrNotSupported.
func (l *Link) SetMAC(link.MAC) error { return link.ErrNotSupported }

// SetFeatures returns link.ErrNotSupported.
func (l *Link) SetFeatures(Features) error { return link.ErrNotSupported }

// Registers returns none.
func (l *Link) Registers() []Register { return nil }

// RSS returns link.ErrNotSupported.
func (l *Link) RSS() (RSSConfig, error) { return RSSConfig{}, link.ErrNotSupported }

// SetRSS returns link.ErrNotSupported.
func (l *Link) SetRSS(RSSConfig) error { return link.ErrNotSupported }

// Features returns none.
func (l *Link) Features() (supported, on Features) { return 0, 0 }

// Speed returns 0: not known.
func (l *Link) Speed() (mbits int, fullDuplex bool) { return 0, false }

// SetSpeed returns link.ErrNotSupported.
func (l *Link) SetSpeed(int) error { return link.ErrNotSupported }

// Depths returns zeros.
func (l *Link) Depths() (rx, tx int) { return 0, 0 }

// Statistics returns zeros.
func (l *Link) Statistics() Statistics { return Statistics{} }

// ResetStatistics does nothing.
func (l *Link) ResetStatistics() {}

// Fault returns nil.
func (l *Link) Fault() error { return nil }
