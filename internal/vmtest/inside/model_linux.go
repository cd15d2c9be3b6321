package inside

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oobnet/oobnet/internal/pci"
)

// Words of the configuration space of a card that we model ourselves, where no
// card has any: see link/vfio/internal/ixgbemodel/serve.
const (
	modelCable = 0xf8 // 1: the cable is in
	modelMark  = 0xfc // the number of a task, for the trace
)

// setModelCable plugs the cable of such a card in or pulls it.
func setModelCable(address string, in bool) error {
	var v uint32
	if in {
		v = 1
	}
	return writeConfig(address, modelCable, v)
}

// Mark begins a task, by its number, in the trace of such a card.
func Mark(address string, task uint32) error { return writeConfig(address, modelMark, task) }

func writeConfig(address string, offset int64, v uint32) error {
	f, err := os.OpenFile(filepath.Join(pci.Sys.Dir(address), "config"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint32(nil, v), offset); err != nil {
		return fmt.Errorf("write %#x to %#x of the configuration space of %s: %w", v, offset, address, err)
	}
	return nil
}
