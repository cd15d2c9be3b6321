//go:build !linux

package bench

// vfioSuite needs the links of link/vfio.
func vfioSuite() ([]contest, func(), error) {
	return nil, nil, errSkip{"the vfio suite needs Linux"}
}
