/*
 * Guests that do nothing good, an entry point each; the linker chooses one. All run for ever.
 *
 * Those called m_* take the place of firmware, s_* run above the monitor's SBI.
 */
	.text

	/* Nothing is at 0x40000000, nor at 0 where the trap leads. */
	.globl m_nowhere
m_nowhere:
	li t0, 0x40000000
	jr t0

	/* The trap handler itself is an illegal instruction. */
	.globl m_trap
m_trap:
	la t0, 1f
	csrw mtvec, t0
	.balign 4
1:	.word 0

	/* The trap handler stores to where nothing is, misaligned, with every interrupt enabled and pending. */
	.globl m_interrupts
m_interrupts:
	la t0, 1f
	csrw mtvec, t0
	li t0, -1
	csrw mie, t0
	csrw mip, t0
	csrw mideleg, zero
	csrsi mstatus, 8
	.balign 4
1:	li t0, 0x40000001
	csrsi mstatus, 8
	sd t0, 0(t0)

	/* Random values to random registers of all devices, the finisher's included, from every hart, for ever. Traps
	 * are stepped over. What would end or reset the machine is left out of the values for the finisher. */
	.globl m_devices
m_devices:
	la t0, 9f
	csrw mtvec, t0
	li s0, 0x9e3779b97f4a7c15
	add s0, s0, a0
	la s1, windows
1:	slli t0, s0, 13
	xor s0, s0, t0
	srli t0, s0, 7
	xor s0, s0, t0
	slli t0, s0, 17
	xor s0, s0, t0
	andi t0, s0, 7 << 4
	add t0, t0, s1
	ld t1, 0(t0)
	ld t2, 8(t0)
	srli t3, s0, 8
	and t3, t3, t2
	add t1, t1, t3
	srli t2, s0, 30
	la t0, windows
	ld t0, 0(t0)
	sub t0, t1, t0
	srli t0, t0, 12
	bnez t0, 2f
	li t0, 0xffffff0000
	and t2, t2, t0
2:	sb t2, 0(t1)
	sh t2, 0(t1)
	sw t2, 0(t1)
	sd t2, 0(t1)
	lb t2, 0(t1)
	lw t2, 0(t1)
	ld t2, 0(t1)
	amoswap.w t2, t2, (t1)
	j 1b
	.balign 4
9:	csrw mscratch, t0
	csrr t0, mepc
	addi t0, t0, 4
	csrw mepc, t0
	csrr t0, mscratch
	mret
	.balign 128
	/* Base and mask of each window: finisher, RTC, mswi and mtimer, sswi, two of the PLIC, UART, virtio. */
windows:
	.dword 0x100000, 0xfff, 0x101000, 0xfff, 0x2000000, 0xffff, 0x2f00000, 0x3fff
	.dword 0xc000000, 0x3fff, 0xc200000, 0x3ffff, 0x10000000, 0xff, 0x10001000, 0x7fff

	/* Asleep with nothing to wake it up. */
	.globl m_sleep
m_sleep:
	csrw mie, zero
1:	wfi
	j 1b

	/* Every SBI extension and function that a random number names, with random arguments, but those that end or
	 * reset the machine. */
	.globl s_calls
s_calls:
	li s0, 0x2545f4914f6cdd1d
	la s1, extensions
1:	slli t0, s0, 13
	xor s0, s0, t0
	srli t0, s0, 7
	xor s0, s0, t0
	slli t0, s0, 17
	xor s0, s0, t0
	andi t0, s0, 7 << 3
	add t0, t0, s1
	ld a7, 0(t0)
	srli a6, s0, 8
	andi a6, a6, 15
	mv a0, s0
	srai a1, s0, 20
	srli a2, s0, 40
	srai a3, s0, 50
	not a4, s0
	ecall
	j 1b
	.balign 8
	/* BASE, TIME, IPI, RFENCE, DBCN, PMU, STA, and one that does not exist. */
extensions:
	.dword 0x10, 0x54494d45, 0x735049, 0x52464e43, 0x4442434e, 0x504d55, 0x535441, 0x1234567

	/* satp names page tables that are no tables, and stvec is not mapped: faults without end. */
	.globl s_unmapped
s_unmapped:
	csrw stvec, zero
	la t0, s_unmapped
	srli t0, t0, 12
	li t1, 10 << 60
	or t0, t0, t1
	csrw satp, t0
	sfence.vma
	.word 0

	/* A trap handler that faults. */
	.globl s_trap
s_trap:
	la t0, 1f
	csrw stvec, t0
	.balign 4
1:	ld t0, -1(zero)

	/* In a loop without interrupts. */
	.globl s_loop
s_loop:
	csrw sie, zero
	j s_loop
