package vmtest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
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
// has models of all cards.
func emulator(cache string, cards []Card) ([]string, error) {
	for _, c := range cards {
		if !c.served() {
			continue
		}
		root, err := vfioUser.Cached(cache)
		if err != nil {
			return nil, fmt.Errorf("%w: card %s needs QEMU 11.1", err, c.Model)
		}
		return append(vfioUser.Command(root, filepath.Join("usr/bin", program)),
			"-L", filepath.Join(root, "usr/share/qemu"), "-L", filepath.Join(root, "usr/share/seabios")), nil
	}
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("vmtest: %w: run hack/deps.sh as root, or install QEMU 8 or newer", err)
	}
	return []string{program}, nil
}
