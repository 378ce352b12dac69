# Reset to main, and the way into a mode and back (bare.h, run).
	.section .text.start, "ax"
	.globl _start
_start:
	csrw	mie, zero
	la	t0, trap_entry
	csrw	mtvec, t0
	csrw	mscratch, zero
	la	t0, s_entry
	csrw	stvec, t0
	csrr	a0, mhartid
	bnez	a0, other
	la	t0, bss_start
	la	t1, bss_end
1:	sd	zero, 0(t0)
	addi	t0, t0, 8
	bltu	t0, t1, 1b
	la	sp, stack_end
	call	open_memory
	call	main
	call	verdict

# The stacks of other harts: 4 KiB each, below 8 harts.
other:
	li	t0, 8
	bgeu	a0, t0, 3f
	slli	t1, a0, 12
	la	sp, other_stacks
	add	sp, sp, t1
	call	open_memory
	fence
2:	la	t0, others_ready
	ld	t1, 0(t0)
	beqz	t1, 2b
	fence
	csrr	a0, mhartid
	jalr	t1
3:	wfi
	j	3b

	.text
	.globl	run_in
# run_in(mode, code, a0, a1): see bare.h
run_in:
	addi	sp, sp, -128
	sd	ra, 0(sp)
	sd	s0, 8(sp)
	sd	s1, 16(sp)
	sd	s2, 24(sp)
	sd	s3, 32(sp)
	sd	s4, 40(sp)
	sd	s5, 48(sp)
	sd	s6, 56(sp)
	sd	s7, 64(sp)
	sd	s8, 72(sp)
	sd	s9, 80(sp)
	sd	s10, 88(sp)
	sd	s11, 96(sp)
	csrw	mscratch, sp
	li	t0, 0x1800
	csrc	mstatus, t0
	slli	a0, a0, 11
	csrs	mstatus, a0
	csrw	mepc, a1
	la	t0, run_offset
	ld	t0, 0(t0)
	la	ra, run_back
	add	ra, ra, t0
	la	sp, run_stack_end
	add	sp, sp, t0
	mv	a0, a2
	mv	a1, a3
	mret

	.balign	4
	.globl	run_back
run_back:
	ecall

# The first trap after run_in ends it; one outside it ends the machine. Vectored entries land on the table below.
	.balign	256
	.globl	trap_entry
trap_entry:
	.rept	16
	j	trap_common
	.balign	4
	.endr
trap_common:
	csrrw	sp, mscratch, sp
	bnez	sp, 1f
	la	sp, stack_end
	csrr	a0, mcause
	csrr	a1, mepc
	csrr	a2, mtval
	call	unexpected
1:	sd	a0, 104(sp)
	sd	t0, 112(sp)
	la	t0, trap_record
	csrr	a0, mcause
	sd	a0, 0(t0)
	csrr	a0, mepc
	sd	a0, 8(t0)
	csrr	a0, mtval
	sd	a0, 16(t0)
	csrr	a0, mstatus
	sd	a0, 24(t0)
	ld	a0, 104(sp)
	sd	a0, 32(t0)
	li	a0, 0x20000		# MPRV
	csrc	mstatus, a0
	csrw	mscratch, zero
	ld	ra, 0(sp)
	ld	s0, 8(sp)
	ld	s1, 16(sp)
	ld	s2, 24(sp)
	ld	s3, 32(sp)
	ld	s4, 40(sp)
	ld	s5, 48(sp)
	ld	s6, 56(sp)
	ld	s7, 64(sp)
	ld	s8, 72(sp)
	ld	s9, 80(sp)
	ld	s10, 88(sp)
	ld	s11, 96(sp)
	addi	sp, sp, 128
	ret

# Delegated traps: noted, then handed to M-mode by an ecall.
	.balign	256
	.globl	s_entry
s_entry:
	.rept	16
	j	s_common
	.balign	4
	.endr
s_common:
	la	t0, s_trap
	csrr	t1, scause
	sd	t1, 0(t0)
	csrr	t1, sepc
	sd	t1, 8(t0)
	csrr	t1, stval
	sd	t1, 16(t0)
	csrr	t1, sstatus
	sd	t1, 24(t0)
	sd	a0, 32(t0)
	li	t1, 1
	sd	t1, 40(t0)
	ecall

	.bss
	.balign	16
	.space	16384
stack_end:
	.space	8192
run_stack_end:
	.space	4096
other_stacks:
	.space	8 * 4096
