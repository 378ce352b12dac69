# Zba, Zbb, Zbc and Zbs.
#include "check.h"
	begin
	rr	add.uw, -1, 1, 0x100000000
	rr	sh1add, -1, 3, 1
	rr	sh3add.uw, 0x1ffffffff, 1, 0x7fffffff9
	ri	slli.uw, -1, 4, 0xffffffff0
	rr	andn, 0xff, 0x0f, 0xf0
	rr	orn, 0, 0, -1
	rr	xnor, 5, 5, -1
	r1	clz, 0, 64
	r1	clz, 1, 63
	r1	clzw, 0x100000000, 32
	r1	clzw, 0x1ffff, 15
	r1	ctz, 0, 64
	r1	ctz, -0x8000000000000000, 63
	r1	ctzw, 0x80000000, 31
	r1	cpop, -1, 64
	r1	cpopw, -1, 32
	r1	sext.b, 0x80, -128
	r1	sext.h, 0x18000, -0x8000
	r1	zext.h, -1, 0xffff
	rr	min, -1, 1, -1
	rr	minu, -1, 1, 1
	rr	max, -1, 1, 1
	rr	maxu, -1, 1, -1
	rr	rol, 1, 63, -0x8000000000000000
	rr	rol, 0x1234, 64, 0x1234
	rr	ror, 1, 1, -0x8000000000000000
	rr	rolw, 1, 31, -0x80000000
	rr	rolw, 0x80000000, 0, -0x80000000
	rr	rorw, 0x100000001, 1, -0x80000000
	ri	rori, 1, 63, 2
	ri	roriw, 2, 2, -0x80000000
	r1	orc.b, 0x0001008000000010, 0x00ff00ff000000ff
	r1	rev8, 0x0102030405060708, 0x0807060504030201
	rr	clmul, 3, 3, 5
	rr	clmul, -1, 2, -2
	rr	clmulh, -1, -1, 0x5555555555555555
	rr	clmulr, -0x8000000000000000, -0x8000000000000000, -0x8000000000000000
	rr	clmulh, -0x8000000000000000, 2, 1
	rr	bclr, -1, 64, -2
	rr	bset, 0, 63, -0x8000000000000000
	rr	binv, 1, 128, 0
	rr	bext, -0x8000000000000000, 63, 1
	ri	bclri, -1, 63, 0x7fffffffffffffff
	ri	bseti, 0, 40, 0x10000000000
	ri	binvi, 2, 1, 0
	ri	bexti, 4, 2, 1
	finish
