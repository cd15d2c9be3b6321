#include "textflag.h"

// The device is outside of the processors' inner domain, so the barriers name
// the outer shareable one (Arm ARM, B2.3): 0x1 is OSHLD, 0x2 is OSHST.

// func load32(p unsafe.Pointer) uint32
TEXT ·load32(SB), NOSPLIT|NOFRAME, $0-12
	MOVD  p+0(FP), R0
	MOVWU (R0), R1
	DMB   $0x1                // what is read next is read after the register
	MOVW  R1, ret+8(FP)
	RET

// func store32(p unsafe.Pointer, v uint32)
TEXT ·store32(SB), NOSPLIT|NOFRAME, $0-12
	MOVD p+0(FP), R0
	MOVW v+8(FP), R1
	DMB  $0x2                 // descriptors are there before the doorbell is
	MOVW R1, (R0)
	RET
