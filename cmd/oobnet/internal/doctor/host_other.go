//go:build !linux

package doctor

import "github.com/oobnet/oobnet/link"

func trySocket() error { return link.ErrNotSupported }

func capabilities() map[string]bool { return nil }
