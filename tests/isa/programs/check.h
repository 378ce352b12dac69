/* Self-checking tests in assembly: each states operands and the value that the specification asks for. main returns 0, or
 * the number of the test that failed. */
	.altmacro
	.macro begin
	.globl	main
main:
	li	gp, 0
	.endm
	.macro finish
	li	gp, 0
fail:
	mv	a0, gp
	ret
	.endm
	.macro expect reg, value
	addi	gp, gp, 1
	li	t3, \value
	bne	\reg, t3, fail
	.endm
/* insn rd, rs1, rs2 */
	.macro rr insn, a, b, value
	li	t0, \a
	li	t1, \b
	\insn	t2, t0, t1
	expect	t2, \value
	.endm
/* insn rd, rs1 */
	.macro r1 insn, a, value
	li	t0, \a
	\insn	t2, t0
	expect	t2, \value
	.endm
/* insn rd, rs1, immediate; the destination is the source */
	.macro ri insn, a, b, value
	li	t0, \a
	\insn	t0, t0, \b
	expect	t0, \value
	.endm
