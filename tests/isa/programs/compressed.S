# C: one of every kind, at the ends of its immediates.
#include "check.h"
	.option	rvc
	.option	norelax
	.bss
	.align	4
area:	.skip	1024
	.text
	begin
	mv	s11, ra
	mv	s10, sp
	la	sp, area
	la	s0, area
	c.addi4spn	a0, sp, 1020
	sub	a0, a0, sp
	expect	a0, 1020
	c.li	a1, -32
	expect	a1, -32
	c.sw	a1, 124(s0)
	c.lw	a2, 124(s0)
	expect	a2, -32
	c.sd	a1, 248(s0)
	c.ld	a2, 248(s0)
	expect	a2, -32
	c.fld	fa0, 248(s0)
	c.fsd	fa0, 240(s0)
	c.ld	a2, 240(s0)
	expect	a2, -32
	c.swsp	a1, 252(sp)
	c.lwsp	a3, 252(sp)
	expect	a3, -32
	c.sdsp	a1, 504(sp)
	c.ldsp	a3, 504(sp)
	expect	a3, -32
	c.fldsp	fs2, 504(sp)
	c.fsdsp	fs2, 496(sp)
	c.ldsp	a3, 496(sp)
	expect	a3, -32
	c.addi16sp	sp, -512
	c.addi16sp	sp, 496
	sub	a0, s0, sp
	expect	a0, 16
	c.lui	a0, 31
	expect	a0, 0x1f000
	c.lui	a0, 0xfffe0
	expect	a0, -0x20000
	li	a0, 0x7fffffff
	c.addiw	a0, 1
	expect	a0, -0x80000000
	c.addi	a0, -32
	expect	a0, -0x80000020
	c.srli	a0, 63
	expect	a0, 1
	c.slli	a0, 63
	expect	a0, -0x8000000000000000
	c.srai	a0, 63
	expect	a0, -1
	c.andi	a0, 31
	expect	a0, 31
	li	a1, 33
	c.sub	a0, a1
	expect	a0, -2
	c.xor	a0, a1
	expect	a0, -33
	c.or	a0, a1
	expect	a0, -1
	c.and	a0, a1
	expect	a0, 33
	li	a1, 0x7fffffff
	c.addw	a0, a1
	expect	a0, -0x7fffffe0
	c.subw	a0, a1
	expect	a0, 33
	c.mv	a2, a0
	c.add	a2, a0
	expect	a2, 66
	c.li	a0, 0
	c.beqz	a0, 1f
	c.j	2f
1:	c.bnez	a0, 2f
	la	t0, 3f
	c.jalr	t0
2:	c.j	4f
3:	la	t1, 2b
	sub	t1, t1, ra
	expect	t1, 0
	la	t0, 5f
	c.jr	t0
4:	mv	ra, s11
	mv	sp, s10
	j	fail
5:	c.nop
	mv	ra, s11
	mv	sp, s10
	finish
