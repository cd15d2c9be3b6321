package check

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/oobnet/oobnet/cmd/oobnet/internal/machine"
	"github.com/oobnet/oobnet/internal/pci"
	"github.com/oobnet/oobnet/link/vfio"
)

// Card is what the system says of the NIC. Fields that it does not tell are empty.
type Card struct {
	Addr      string `json:"address"`
	ID        string `json:"id"`        // vendor:device
	Subsystem string `json:"subsystem"` // vendor:device
	Revision  string `json:"revision"`
	Model     string `json:"model"`
	Driver    string `json:"driver"` // ours
	PCIe      string `json:"pcie"`   // speed and width
	Group     string `json:"iommu_group"`
	NUMA      int    `json:"numa_node"`
}

// Report is what is sent.
type Report struct {
	When    time.Time       `json:"when"`
	Card    Card            `json:"card"`
	Machine machine.Machine `json:"machine"`
	Steps   []Step          `json:"steps"`
}

// Describe looks at a card in a tree of sysfs.
func Describe(tree pci.Tree, addr string) (Card, error) {
	f, err := tree.Read(addr)
	if err != nil {
		return Card{}, err
	}
	word := func(name string) string {
		b, err := os.ReadFile(filepath.Join(tree.Dir(f.Addr), name))
		if err != nil {
			return "" // older kernels, and buses that are no PCI Express, have not all
		}
		return strings.TrimPrefix(strings.TrimSpace(string(b)), "0x")
	}
	c := Card{
		Addr: f.Addr, ID: fmt.Sprintf("%04x:%04x", f.Vendor, f.Device), Revision: word("revision"),
		Subsystem: word("subsystem_vendor") + ":" + word("subsystem_device"), Group: f.Group, NUMA: f.NUMA,
	}
	if speed := word("current_link_speed"); speed != "" {
		c.PCIe = speed + ", x" + word("current_link_width")
	}
	for _, m := range vfio.Models() {
		if m.Vendor == f.Vendor && m.Device == f.Device {
			c.Model, c.Driver = m.Name, m.Driver
		}
	}
	return c, nil
}

// WriteHead writes what the report begins with.
func (r *Report) WriteHead(w io.Writer) error {
	c, m := &r.Card, &r.Machine
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range [][2]string{
		{"oobnet check", c.Addr + ", " + r.When.UTC().Format(time.DateTime) + " UTC"},
		{"card", fmt.Sprintf("%s (%s), revision %s, subsystem %s", c.Model, c.ID, c.Revision, c.Subsystem)},
		{"PCI Express", c.PCIe},
		{"IOMMU group", c.Group},
		{"driver", c.Driver + " of link/vfio, " + revision(m)},
		{"machine", fmt.Sprintf("%s, %d CPUs, %d MiB", m.CPU, m.CPUs, m.MemoryMiB)},
		{"hypervisor", m.Hypervisor},
		{"system", fmt.Sprintf("%s %s, %s", m.OS, m.Kernel, m.Go)},
	} {
		if l[1] == "" {
			l[1] = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\n", l[0], l[1])
	}
	fmt.Fprintln(tw)
	return tw.Flush()
}

// revision is what the program was built of.
func revision(m *machine.Machine) string {
	switch {
	case m.Revision == "":
		return "of no known revision"
	case m.Modified:
		return "revision " + m.Revision + " with changes"
	}
	return "revision " + m.Revision
}

// WriteStep writes a line, and those of the registers.
func WriteStep(w io.Writer, s Step) error {
	if _, err := fmt.Fprintf(w, "%-4s  %-20s  %s\n", s.Result, s.Name, strings.ReplaceAll(s.Found, "\n", "; ")); err != nil {
		return err
	}
	const line = 5 // registers
	for some := range slices.Chunk(s.Registers, line) {
		var words []string
		for _, r := range some {
			words = append(words, fmt.Sprintf("%s %08x", r.Name, r.Value))
		}
		if _, err := fmt.Fprintf(w, "      %s\n", strings.Join(words, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// WriteEnd writes the sum.
func (r *Report) WriteEnd(w io.Writer) error {
	n := map[Result]int{}
	var took time.Duration
	for _, s := range r.Steps {
		n[s.Result]++
		took += s.Took
	}
	_, err := fmt.Fprintf(w, "\n%d passed, %d failed, %d skipped, in %v\n", n[Pass], n[Fail], n[Skip], took.Round(time.Second))
	return err
}
