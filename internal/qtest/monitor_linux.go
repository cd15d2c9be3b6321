package qtest

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// monitor speaks QMP, QEMU's control protocol: a JSON object for each command
// and one for each answer, with events between them, which nobody here wants.
type monitor struct {
	mu    sync.Mutex
	conn  *net.UnixConn
	dec   *json.Decoder
	ready bool
}

func newMonitor(conn *net.UnixConn) *monitor {
	return &monitor{conn: conn, dec: json.NewDecoder(conn)}
}

type command struct {
	Execute   string         `json:"execute"`
	Arguments map[string]any `json:"arguments,omitempty"`
}

func (q *monitor) do(name string, arguments map[string]any) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if !q.ready {
		// QEMU greets by itself; until capabilities are agreed on it takes
		// nothing else.
		if err := q.exchange(command{Execute: "qmp_capabilities"}); err != nil {
			return err
		}
		q.ready = true
	}
	return q.exchange(command{name, arguments})
}

func (q *monitor) exchange(c command) error {
	if err := json.NewEncoder(q.conn).Encode(c); err != nil {
		return fmt.Errorf("qtest: %s: %w", c.Execute, err)
	}
	for {
		var answer struct {
			Return *json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := q.dec.Decode(&answer); err != nil {
			return fmt.Errorf("qtest: %s: %w", c.Execute, err)
		}
		if answer.Error != nil {
			return fmt.Errorf("qtest: %s: %s", c.Execute, answer.Error.Desc)
		}
		if answer.Return != nil {
			return nil
		}
	}
}

// SetLink plugs the cable in or pulls it: the card sees its link change, and
// says so by an interrupt. When it is plugged in again, igb needs its PHY told
// to negotiate, and all cards take half a second.
func (m *Machine) SetLink(up bool) error {
	return m.monitor.do("set_link", map[string]any{"name": "n0", "up": up})
}
