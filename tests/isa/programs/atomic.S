# A (Unprivileged 8): what memory and register hold after each operation, at both widths.
#include "check.h"
	.bss
	.align	3
cell:	.skip	16
	.text
	.macro amo insn, store, load, memory, operand, old, new
	la	a1, cell
	li	t0, \memory
	\store	t0, 0(a1)
	li	t1, \operand
	\insn	t2, t1, (a1)
	expect	t2, \old
	\load	t2, 0(a1)
	expect	t2, \new
	.endm
	begin
	amo	amoswap.w, sd, ld, 0x1122334480000000, 7, -0x80000000, 0x1122334400000007
	amo	amoadd.w, sw, lw, 0x7fffffff, 1, 0x7fffffff, -0x80000000
	amo	amoxor.w, sw, lw, 0x0f, 0xff, 0x0f, 0xf0
	amo	amoand.w, sw, lw, -1, 0x1f0000000f, -1, 0x0f
	amo	amoor.w, sw, lw, 1, 6, 1, 7
	amo	amomin.w, sw, lw, 1, 0x80000000, 1, -0x80000000
	amo	amomax.w, sw, lw, -1, 0x100000000, -1, 0
	amo	amominu.w, sw, lw, -1, 0x100000001, -1, 1
	amo	amomaxu.w, sw, lw, 1, 0x80000000, 1, -0x80000000
	amo	amoswap.d, sd, ld, -5, 9, -5, 9
	amo	amoadd.d, sd, ld, -1, 1, -1, 0
	amo	amomin.d, sd, ld, 0x80000000, -1, 0x80000000, -1
	amo	amomax.d, sd, ld, -1, 0x80000000, -1, 0x80000000
	amo	amominu.d, sd, ld, -1, 0x80000000, -1, 0x80000000
	amo	amomaxu.d, sd, ld, 1, -1, 1, -1
	la	a1, cell
	# an SC after its LR succeeds, a second one does not
	li	t0, 3
	lr.d	t1, (a1)
	sc.d	t2, t0, (a1)
	expect	t2, 0
	sc.d	t2, t0, (a1)
	sltu	t2, x0, t2
	expect	t2, 1
	# not to another address
	addi	a2, a1, 8
	lr.w	t1, (a1)
	sc.w	t2, t0, (a2)
	sltu	t2, x0, t2
	expect	t2, 1
	# LR sign-extends
	li	t0, 0x80000001
	sw	t0, 0(a1)
	lr.w.aqrl	t1, (a1)
	expect	t1, -0x7fffffff
	sc.w.rl	t2, x0, (a1)
	expect	t2, 0
	lw	t1, 0(a1)
	expect	t1, 0
	finish
