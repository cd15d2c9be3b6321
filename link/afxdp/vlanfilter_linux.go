package afxdp

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/oobnet/oobnet/link"
)

// Network cards drop the frames of VLANs that nobody has asked for. The kernel
// asks for those of its own VLAN interfaces, and lets no program ask for others;
// and not every card can be told to stop filtering. In promiscuous mode all do.

const (
	// featureSet is ETH_SS_FEATURES of linux/ethtool.h, vlanFilter the kernel's
	// name of the feature.
	featureSet = 4
	vlanFilter = "rx-vlan-filter"
	// A struct ethtool_gfeatures has two numbers and, for each 32 features, a
	// struct ethtool_get_features_block, bytes: four words, of which the third
	// has the bits of what is on.
	featuresSize, featureBlock, featureActive = 8, 16, 8
	featuresPerBlock                          = 32
)

// filtersVLANs asks the device. One that does not say has no filter.
func (d *device) filtersVLANs() bool {
	names := d.names(featureSet)
	i := slices.Index(names, vlanFilter)
	if i < 0 {
		return false
	}
	blocks := (len(names) + featuresPerBlock - 1) / featuresPerBlock
	b := make([]byte, featuresSize+featureBlock*blocks)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GFEATURES)
	binary.NativeEndian.PutUint32(b[4:], uint32(blocks))
	if d.ethtool(unsafe.Pointer(&b[0])) != nil {
		return false
	}
	active := binary.NativeEndian.Uint32(b[featuresSize+featureBlock*(i/featuresPerBlock)+featureActive:])
	return active>>(i%featuresPerBlock)&1 != 0
}

// namesVLAN says whether frames with a VLAN's tag are among the claims.
func namesVLAN(c *link.Claims) bool {
	return len(c.VLANs) > 0 ||
		slices.ContainsFunc(c.IPv4, func(i link.ClaimIPv4) bool { return i.VLAN != 0 }) ||
		slices.ContainsFunc(c.EtherTypes, func(e link.ClaimEtherType) bool { return e.VLAN != 0 })
}
