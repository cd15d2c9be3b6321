#include "textflag.h"

// amd64 orders loads with loads and stores with stores (Intel SDM volume 3,
// 9.2), memory that is not cached included: a move is enough.

// func load32(p unsafe.Pointer) uint32
TEXT ·load32(SB), NOSPLIT|NOFRAME, $0-12
	MOVQ p+0(FP), AX
	MOVL (AX), AX
	MOVL AX, ret+8(FP)
	RET

// func store32(p unsafe.Pointer, v uint32)
TEXT ·store32(SB), NOSPLIT|NOFRAME, $0-12
	MOVQ p+0(FP), AX
	MOVL v+8(FP), CX
	MOVL CX, (AX)
	RET
