package vmtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// object makes a module: an object file with the section .modinfo alone.
func object(t *testing.T, info ...string) []byte {
	t.Helper()
	const header, section = 64, 64 // sizes of the structures of ELF, bytes
	names := "\x00.modinfo\x00.shstrtab\x00"
	body := strings.Join(info, "\x00") + "\x00"
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	at := uint64(header)
	put(elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: at + uint64(len(names)+len(body)), Ehsize: header, Shentsize: section, Shnum: 3, Shstrndx: 2,
	})
	b.WriteString(names + body)
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: at + uint64(len(names)), Size: uint64(len(body))})
	put(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: at, Size: uint64(len(names))})
	return b.Bytes()
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	for name, info := range map[string][]string{
		"igb.ko":              {"license=GPL", "depends=dca,i2c-algo-bit", "name=igb"},
		"dca.ko":              {"depends="},
		"i2c-algo-bit.ko":     {"depends=core"},
		"vfio-pci.ko":         {"depends=vfio_pci_core,vfio"},
		"vfio_pci_core.ko":    {"depends=vfio", "softdep=pre: dca absent post: igb"},
		"vfio.ko":             {"depends="},
		"sub/broken.ko":       {"depends=absent"},
		"sub/circle_one.ko":   {"depends=circle_two"},
		"sub/circle_two.ko":   {"depends=circle_one"},
		"sub/not.a.module.md": nil,
	} {
		file := filepath.Join(dir, "kernel", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, object(t, info...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte("kernel/core.ko\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := (&Image{Modules: dir}).modules()
	if err != nil {
		t.Fatal(err)
	}
	order := func(names ...string) string {
		mods, err := m.resolve(names)
		if err != nil {
			return err.Error()
		}
		var got []string
		for _, m := range mods {
			got = append(got, m.name)
		}
		return strings.Join(got, " ")
	}
	for _, c := range []struct{ names, want string }{
		{"igb", "dca i2c_algo_bit igb"},
		{"vfio-pci igb core", "vfio dca vfio_pci_core vfio_pci i2c_algo_bit igb"},
		{"vfio vfio", "vfio"},
		{"circle_one", "circle_two circle_one"},
		{"absent", "vmtest: the kernel has no module absent"},
		{"broken", "vmtest: the kernel has no module absent, which broken needs"},
	} {
		if got := order(strings.Fields(c.names)...); got != c.want {
			t.Errorf("%s: %s, want %s", c.names, got, c.want)
		}
	}
}

func TestNewest(t *testing.T) {
	for _, c := range []struct{ kernel, names, want string }{
		{"6.12", "linux-image-6.12.9+deb12-amd64 linux-image-6.12.90+deb12-amd64 linux-image-6.12.90+deb12.1-amd64 linux-image-6.12.88+deb12-amd64", "linux-image-6.12.90+deb12.1-amd64"},
		{"6.12", "linux-image-6.12.95+deb12-amd64 linux-image-6.12.99+deb12-rt-amd64 linux-image-6.12.99+deb12-cloud-amd64 linux-image-6.12.99+deb12-amd64-unsigned linux-image-6.12.99+deb12-amd64-dbg", "linux-image-6.12.95+deb12-amd64"},
		{"6.12-rt", "linux-image-6.12.95+deb12-amd64 linux-image-6.12.94+deb12-rt-amd64", "linux-image-6.12.94+deb12-rt-amd64"},
		{"6.1", "linux-image-6.1.0-9-amd64 linux-image-6.1.0-50-amd64 linux-image-6.12.95+deb12-amd64", "linux-image-6.1.0-50-amd64"},
		{"7.2", "linux-image-7.2.6+deb13-amd64 linux-image-7.2.12+deb13-amd64 linux-image-7.3.4+deb13-amd64", "linux-image-7.2.12+deb13-amd64"},
		{"7.2", "linux-image-amd64", ""},
	} {
		k, err := FindKernel(c.kernel)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.newest(strings.Fields(c.names)); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.kernel, got, err, c.want)
		}
	}
	if _, err := FindKernel("2.4"); err == nil || !strings.Contains(err.Error(), "6.12-rt") {
		t.Errorf("an unknown kernel: %v", err)
	}
}

// TestArchive reads what the archive's writer writes, by the format's own
// description: headers of hexadecimal numbers, all padded to four bytes.
func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.device("dev/console", 5, 1)
	a.file("/src/a/b.txt", 0o644, []byte("hello"))
	a.file("src/a/c", 0o755, nil)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"dev 40755 0", "dev/console 20600 5:1 0", "src 40755 0", "src/a 40755 0", "src/a/b.txt 100644 hello", "src/a/c 100755 ", "TRAILER!!! 0 "}
	rest := b.Bytes()
	var names []string
	for len(rest) > 0 {
		var f [13]uint32
		for i := range f {
			for _, c := range rest[6+8*i : 14+8*i] {
				f[i] = f[i]<<4 | uint32(strings.IndexByte("0123456789abcdef", c))
			}
		}
		if string(rest[:6]) != "070701" {
			t.Fatalf("no header at %d", b.Len()-len(rest))
		}
		padded := func(n uint32) uint32 { return (n + 3) &^ 3 }
		names = append(names, string(rest[110:110+f[11]-1]))
		data := padded(110 + f[11])
		if i := len(names) - 1; names[i] == "src/a/b.txt" && string(rest[data:data+f[6]]) != "hello" {
			t.Errorf("%s holds %q", names[i], rest[data:data+f[6]])
		} else if names[i] == "dev/console" && (f[1] != 0o20600 || f[9] != 5 || f[10] != 1) {
			t.Errorf("the console is %o %d:%d", f[1], f[9], f[10])
		} else if names[i] == "src/a/c" && f[1] != 0o100755 {
			t.Errorf("permissions %o", f[1])
		}
		rest = rest[data+padded(f[6]):]
	}
	if len(names) != len(want) {
		t.Fatalf("entries %q", names)
	}
	for i := range want {
		if !strings.HasPrefix(want[i], names[i]+" ") {
			t.Errorf("entry %d is %q, want %q", i, names[i], want[i])
		}
	}
}
