//go:build !linux

package bench

// vethSuite needs network namespaces.
func vethSuite() ([]contest, func(), error) {
	return nil, nil, errSkip{"the veth suite needs Linux"}
}
