package vfio

import (
	"errors"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/internal/leaktest"
	"github.com/oobnet/oobnet/internal/vmtest/guesttest"
	"github.com/oobnet/oobnet/link"
)

var saidLimit = regexp.MustCompile("`ulimit -l ([0-9]+)`")

// TestVMMemlock sets the limit of locked memory to what the error asks for, and no
// page less: then the device can be attached, whatever part of its memory was the
// first to be refused, and whatever the process has locked beside.
func TestVMMemlock(t *testing.T) {
	card := vfioCard(t)
	leaktest.Check(t)
	beside, err := unix.Mmap(-1, 0, 300<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		err = unix.Mlock(beside)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(beside)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
			t.Error(err)
		}
	}()
	for name, layout := range map[string]link.Layout{
		"whole":     {BufferSize: 2048, RXBuffers: 1024, TXBuffers: 500},
		"resizable": {BufferSize: 2048, RXBuffers: 4096, TXBuffers: 4096, RXPopulated: 1024, TXPopulated: 2048},
	} {
		// Root may lock what it likes, but for this capability.
		withoutCapability(t, unix.CAP_IPC_LOCK, func() {
			need := refusedAt(t, card, layout, 400<<10)
			if again := refusedAt(t, card, layout, need-4096); again != need {
				t.Errorf("%s: %d bytes were said first, and %d with a limit of a page less than that", name, need, again)
			}
			if again := refusedAt(t, card, layout, need); again != 0 {
				t.Errorf("%s: refused with what was said, %d bytes: now it is %d", name, need, again)
			}
		})
	}
}

// refusedAt attaches a device with a limit, and returns what the error says that
// is needed, bytes, or 0 if there is none.
func refusedAt(t *testing.T, card guesttest.Card, layout link.Layout, limit uint64) (need uint64) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &was); err != nil {
		t.Error(err)
		return 0
	}
	l, err := Open(card.Address, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer l.Close()
	layout.Queues = l.Queues()
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: limit, Max: max(was.Max, limit)}); err != nil {
		t.Error(err)
		return 0
	}
	_, err = l.Attach(layout)
	if err == nil {
		return 0
	}
	said := saidLimit.FindStringSubmatch(err.Error())
	if !errors.Is(err, syscall.ENOMEM) || said == nil {
		t.Errorf("%v: want ENOMEM, and what to do", err)
		return 0
	}
	kib, err := strconv.ParseUint(said[1], 10, 40)
	if err != nil {
		t.Error(err)
	}
	return kib << 10
}
