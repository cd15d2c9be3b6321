package vfiouser

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"syscall"
)

// Commands.
const (
	cmdVersion = iota + 1
	cmdDMAMap
	cmdDMAUnmap
	cmdGetInfo
	cmdGetRegionInfo
	cmdGetRegionIOFDs
	cmdGetIRQInfo
	cmdSetIRQs
	cmdRegionRead
	cmdRegionWrite
	cmdDMARead
	cmdDMAWrite
	cmdReset
	cmdDirtyPages
	cmdWriteMulti
)

// Flags of the header.
const (
	typeMask    = 0xf
	typeCommand = 0
	typeReply   = 1
	flagNoReply = 1 << 4
	flagError   = 1 << 5
)

const (
	headerSize = 16
	// maxData is the most that one read or write moves: the protocol's default.
	maxData = 1 << 20
	// maxMessage fits a write of maxData with its 16 bytes of description.
	maxMessage = headerSize + 16 + maxData
	// maxFDs is how many descriptors a message may carry; QEMU sends up to 8.
	maxFDs = 16
)

// native is the byte order of messages: both ends run on one host.
var native = binary.NativeEndian

// header is what each message begins with.
type header struct {
	id, command        uint16
	size, flags, errno uint32 // size: of the whole message, bytes
}

// parseHeader reads a header of a command; b has headerSize bytes. What it
// refuses leaves the stream without a known place to go on.
func parseHeader(b []byte) (header, error) {
	h := header{native.Uint16(b), native.Uint16(b[2:]), native.Uint32(b[4:]), native.Uint32(b[8:]), native.Uint32(b[12:])}
	switch {
	case h.size < headerSize || h.size > maxMessage:
		return h, fmt.Errorf("vfiouser: a message of %d bytes: %w", h.size, syscall.EPROTO)
	case h.flags&typeMask != typeCommand:
		return h, fmt.Errorf("vfiouser: a message of type %d where a command belongs: %w", h.flags&typeMask, syscall.EPROTO)
	}
	return h, nil
}

// reply appends a message that answers h.
func (h header) reply(b, payload []byte) []byte {
	b = native.AppendUint16(native.AppendUint16(b, h.id), h.command)
	b = native.AppendUint32(b, uint32(headerSize+len(payload)))
	b = native.AppendUint32(native.AppendUint32(b, typeReply), 0)
	return append(b, payload...)
}

// fail appends one that says an error, which has no payload.
func (h header) fail(b []byte, errno syscall.Errno) []byte {
	b = native.AppendUint16(native.AppendUint16(b, h.id), h.command)
	b = native.AppendUint32(b, headerSize)
	return native.AppendUint32(native.AppendUint32(b, typeReply|flagError), uint32(errno))
}

// capabilities are the ones of the version's JSON that matter to a server.
type capabilities struct {
	MaxFDs        int    `json:"max_msg_fds,omitempty"`
	MaxData       int    `json:"max_data_xfer_size,omitempty"`
	MaxMappings   int    `json:"max_dma_maps,omitempty"`
	PageSizes     uint64 `json:"pgsizes,omitempty"`
	WriteMultiple bool   `json:"write_multiple,omitempty"`
}

// versionData is the text behind the version numbers.
type versionData struct {
	Capabilities capabilities `json:"capabilities"`
}

// negotiate answers a proposed version with the payload of the reply and what
// the client can do. Only major version 0 exists.
func negotiate(p []byte, maxMappings int) (reply []byte, client capabilities, err error) {
	if len(p) < 4 {
		return nil, client, fmt.Errorf("vfiouser: a version of %d bytes: %w", len(p), syscall.EINVAL)
	}
	if major := native.Uint16(p); major != 0 {
		return nil, client, fmt.Errorf("vfiouser: the client speaks version %d, not 0: %w", major, syscall.ENOTSUP)
	}
	text := p[4:]
	if n := len(text); n > 0 && text[n-1] == 0 {
		text = text[:n-1]
	}
	proposed := versionData{capabilities{MaxFDs: 1, MaxData: maxData}}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &proposed); err != nil {
			return nil, client, fmt.Errorf("vfiouser: capabilities: %w: %w", err, syscall.EINVAL)
		}
	}
	client = proposed.Capabilities
	if client.MaxFDs < 0 || client.MaxData < 0 {
		return nil, client, fmt.Errorf("vfiouser: negative capabilities: %w", syscall.EINVAL)
	}
	ours, err := json.Marshal(versionData{capabilities{
		MaxFDs: maxFDs, MaxData: maxData, MaxMappings: maxMappings, PageSizes: 4096, WriteMultiple: client.WriteMultiple,
	}})
	if err != nil {
		return nil, client, fmt.Errorf("vfiouser: capabilities: %w", err)
	}
	reply = append(make([]byte, 4), ours...) // minor 0 is the least, so never above what was proposed
	return append(reply, 0), client, nil
}
