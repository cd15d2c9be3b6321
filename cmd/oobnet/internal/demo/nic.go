package demo

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/oobnet/oobnet/link"
	"github.com/oobnet/oobnet/link/afxdp"
	"github.com/oobnet/oobnet/link/vfio"
)

// openNIC opens the link that the options name. What it has to say later goes
// to the notes.
func openNIC(o *Options, n *notes) (link.Link, error) {
	if o.VFIO != "" {
		l, err := vfio.Open(o.VFIO, &vfio.Config{OnEvent: func(e vfio.Event) { n.add(e.Err) }})
		if err != nil {
			return nil, explainOpen(err, "--vfio")
		}
		return l, nil
	}
	l, err := afxdp.Open(o.Interface, &afxdp.Config{})
	if err != nil {
		return nil, explainOpen(err, "-i")
	}
	return l, nil
}

// explainOpen adds the way out where the link's own words end.
func explainOpen(err error, flag string) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w, or leave %s out for the demo in memory", err, flag)
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%w: leave %s out for the demo in memory", err, flag)
	}
	return err
}

// maxNotes of a run: the first tell what went wrong.
const maxNotes = 16

// notes are what a device told while it ran. It may be called by any thread of
// the stack.
type notes struct {
	mu   sync.Mutex
	list []string
}

// add keeps an error; nil is none, and what was said before is not said again.
func (n *notes) add(err error) {
	if err == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, said := range n.list {
		if said == err.Error() {
			return
		}
	}
	if len(n.list) < maxNotes {
		n.list = append(n.list, err.Error())
	}
}

func (n *notes) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.list...)
}
