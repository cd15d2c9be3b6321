package ixgbetest

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// Station is a far end of a port's wire that is no NIC: frames in, frames out. It
// has the methods of linktest.Peer.
type Station struct {
	port   *Port
	frames chan []byte
}

// stationRoom is how many frames a station keeps that nobody has taken: those
// beyond are lost.
const stationRoom = 4096

// NewStation joins a port and a station.
func NewStation(p *Port) *Station {
	s := &Station{port: p, frames: make(chan []byte, stationRoom)}
	p.OnTransmit(func(frame []byte) {
		select {
		case s.frames <- slices.Clone(frame):
		default:
		}
	})
	return s
}

// Send puts a frame on the wire. What the port does not take is lost, as on a real
// wire.
func (s *Station) Send(frame []byte) error {
	s.port.Receive(frame)
	return nil
}

// Receive returns the next frame from the wire.
func (s *Station) Receive(timeout time.Duration) ([]byte, error) {
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case f := <-s.frames:
		return f, nil
	case <-limit.C:
		return nil, fmt.Errorf("ixgbetest: no frame: %w", os.ErrDeadlineExceeded)
	}
}

// SetLink plugs the cable in or out.
func (s *Station) SetLink(up bool) error {
	s.port.SetLink(up)
	return nil
}

// Vanish pulls the port out of its bus.
func (s *Station) Vanish() { s.port.pullOut() }
