# Reset to main in S-mode, above an SBI: a0 is the hart id, a1 the device tree.
	.section .text.start, "ax"
	.globl _start
_start:
	la	t0, bss_start
	la	t1, bss_end
1:	sd	zero, 0(t0)
	addi	t0, t0, 8
	bltu	t0, t1, 1b
	la	sp, stack_end
	la	t0, s_trap_entry
	csrw	stvec, t0
	la	t0, boot
	sd	a0, 0(t0)
	sd	a1, 8(t0)
	call	main
	call	verdict

# Where a hart begins that HSM starts or resumes: a0 is its id, a1 the address of a struct begin (supervisor.h).
	.text
	.balign	4
	.globl	hart_begin
hart_begin:
	la	t0, s_trap_entry
	csrw	stvec, t0
	ld	sp, 0(a1)
	ld	t0, 8(a1)
	jalr	t0
1:	wfi
	j	1b

# Interrupts are counted and disabled; an exception ends the machine.
	.balign	4
	.globl	s_trap_entry
s_trap_entry:
	addi	sp, sp, -144
	sd	ra, 0(sp)
	sd	t0, 8(sp)
	sd	t1, 16(sp)
	sd	t2, 24(sp)
	sd	t3, 32(sp)
	sd	t4, 40(sp)
	sd	t5, 48(sp)
	sd	t6, 56(sp)
	sd	a0, 64(sp)
	sd	a1, 72(sp)
	sd	a2, 80(sp)
	sd	a3, 88(sp)
	sd	a4, 96(sp)
	sd	a5, 104(sp)
	sd	a6, 112(sp)
	sd	a7, 120(sp)
	csrr	a0, scause
	csrr	a1, sepc
	csrr	a2, stval
	call	s_trapped
	ld	ra, 0(sp)
	ld	t0, 8(sp)
	ld	t1, 16(sp)
	ld	t2, 24(sp)
	ld	t3, 32(sp)
	ld	t4, 40(sp)
	ld	t5, 48(sp)
	ld	t6, 56(sp)
	ld	a0, 64(sp)
	ld	a1, 72(sp)
	ld	a2, 80(sp)
	ld	a3, 88(sp)
	ld	a4, 96(sp)
	ld	a5, 104(sp)
	ld	a6, 112(sp)
	ld	a7, 120(sp)
	addi	sp, sp, 144
	sret

	.bss
	.balign	16
	.space	16384
stack_end:
