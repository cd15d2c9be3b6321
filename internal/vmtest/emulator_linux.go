package vmtest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
)

const program = "qemu-system-x86_64"

// vfioUser is the QEMU with the device vfio-user-pci, which QEMU has since 11.1
// and Debian 12 has not.
var vfioUser = closure{Name: "qemu", Suites: []string{"trixie", "trixie-backports"}, Packages: []string{"qemu-system-x86"}}

// NeedsModels says whether a card of this model needs FetchModels before Boot.
func NeedsModels(model string) bool { return Card{Model: model}.served() }

// FetchModels fetches what cards of ours need that QEMU has no model of: another QEMU, into the cache folder, as kernels are. They need it
// before Boot, which downloads nothing.
func FetchModels(ctx context.Context, cache string) error {
	_, err := vfioUser.Fetch(ctx, cache)
	return err
}

// emulator is the beginning of QEMU's command line: the machine's own, where it
// has models of all cards and nobody wants the newer one.
func emulator(cache string, cards []Card, newer bool) ([]string, error) {
	if newer || slices.ContainsFunc(cards, Card.served) {
		root, err := vfioUser.Cached(cache)
		if err != nil {
			return nil, fmt.Errorf("%w: it takes QEMU 11.1: %w", err, ErrUnavailable)
		}
		return append(vfioUser.Command(root, filepath.Join("usr/bin", program)),
			"-L", filepath.Join(root, "usr/share/qemu"), "-L", filepath.Join(root, "usr/share/seabios")), nil
	}
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("vmtest: %w: run hack/deps.sh as root, or install QEMU 8 or newer: %w", err, ErrUnavailable)
	}
	return []string{program}, nil
}
