//go:build !(s390x || ppc64 || mips || mips64)

package bus

const bigEndian = false
