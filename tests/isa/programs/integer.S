# RV64I, and division as Unprivileged 7.2 has it.
#include "check.h"
	.section .rodata
	.align	3
bytes:	.byte	0x80, 0x7f, 0xff, 0x01, 0x23, 0x45, 0x67, 0x89
	.text
	.option	norvc
	begin
	rr	add, -1, 1, 0
	rr	addw, 0x7fffffff, 1, -0x80000000
	rr	subw, -0x80000000, 1, 0x7fffffff
	rr	sub, 0, 1, -1
	rr	sll, 1, 127, -0x8000000000000000
	rr	sllw, 1, 63, -0x80000000
	rr	srl, -1, 63, 1
	rr	srlw, -1, 33, 0x7fffffff
	rr	sra, -0x8000000000000000, 64, -0x8000000000000000
	rr	sraw, 0x80000000, 31, -1
	rr	slt, -1, 0, 1
	rr	sltu, -1, 0, 0
	ri	sltiu, 5, -1, 1
	ri	slti, -1, 0, 1
	ri	srliw, 0x180000000, 31, 1
	ri	sraiw, 0x80000000, 31, -1
	ri	slliw, 0x40000000, 1, -0x80000000
	ri	addiw, 0x17fffffff, 1, -0x80000000
	rr	div, 7, 0, -1
	rr	div, -0x8000000000000000, -1, -0x8000000000000000
	rr	div, -7, 2, -3
	rr	divu, 7, 0, -1
	rr	rem, -7, 2, -1
	rr	rem, 7, 0, 7
	rr	rem, -0x8000000000000000, -1, 0
	rr	remu, -1, 0, -1
	rr	divw, 0x80000000, -1, -0x80000000
	rr	divw, 0x100000007, 0, -1
	rr	remw, 0x80000000, -1, 0
	rr	remw, 0x17fffffff, 0, 0x7fffffff
	rr	divuw, 0x1ffffffff, 1, -1
	rr	divuw, 0x1ffffffff, 0, -1
	rr	remuw, 0x180000000, 0, -0x80000000
	rr	mulh, -1, -1, 0
	rr	mulhu, -1, -1, -2
	rr	mulhsu, -1, -1, -1
	rr	mulh, -0x8000000000000000, -0x8000000000000000, 0x4000000000000000
	rr	mulw, 0x10000, 0x8000, -0x80000000
	la	a1, bytes
	lb	a0, 0(a1)
	expect	a0, -128
	lbu	a0, 0(a1)
	expect	a0, 128
	lh	a0, 1(a1)
	expect	a0, -129
	lhu	a0, 1(a1)
	expect	a0, 0xff7f
	lw	a0, 4(a1)
	expect	a0, -0x7698badd
	lwu	a0, 4(a1)
	expect	a0, 0x89674523
	ld	a0, 0(a1)
	expect	a0, 0x8967452301ff7f80
	# jalr clears the lowest bit, and takes its base before it writes rd
	la	t0, 1f + 1
	jalr	t0, 0(t0)
	j	fail
1:	la	t1, 1b
	sub	t0, t0, t1
	addi	t0, t0, 4
	expect	t0, 0
	# hints change nothing
	li	a0, 5
	lui	x0, 0x12345
	addi	x0, a0, 1
	slt	x0, a0, a0
	expect	a0, 5
	expect	x0, 0
	finish
