/* cycle, time and instret: who may read them, that they count, and what instret counts. */
#include "bare.h"

static naked void read_cycle(void)
{
	asm("csrr a0, cycle; ret");
}
static naked void read_time(void)
{
	asm("csrr a0, time; ret");
}
static naked void read_instret(void)
{
	asm("csrr a0, instret; ret");
}

static const void *const reads[] = {read_cycle, read_time, read_instret};

static void enables(void)
{
	for (uint64_t machine = 0; machine < 8; machine++)
		for (uint64_t supervisor = 0; supervisor < 8; supervisor++)
			for (unsigned i = 0; i < 3; i++) {
				context("counter, mcounteren, scounteren", i, machine, supervisor);
				csr_write(mcounteren, machine);
				csr_write(scounteren, supervisor);
				check(run(M, reads[i], 0, 0).cause, ECALL_M);
				check(run(S, reads[i], 0, 0).cause, machine >> i & 1 ? ECALL_S : ILLEGAL);
				check(run(U, reads[i], 0, 0).cause,
				      machine >> i & supervisor >> i & 1 ? ECALL_U : ILLEGAL);
			}
	csr_write(mcounteren, 7);
	csr_write(scounteren, 7);
}

static void time_is_the_clints(void)
{
	volatile uint64_t *mtime = (volatile uint64_t *)(CLINT + 0xbff8);

	context(NULL, 0, 0, 0);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t before = *mtime, now = run(U, read_time, 0, 0).a0, after = *mtime;

		check(before <= now && now <= after, 1);
	}
}

/* The difference between two reads, and the instructions between them. */
static naked void counted(void)
{
	asm("csrr t0, instret; nop; nop; nop; nop; nop; csrr a0, instret; sub a0, a0, t0; ret");
}
static naked void counted_loop(void)
{
	asm("li t1, 1000; csrr t0, instret; 1: addi t1, t1, -1; bnez t1, 1b; csrr a0, instret; sub a0, a0, t0; ret");
}
/* Three rounds in four leave twelve instructions out; a1 rounds. Plus 0, if they were as many. */
static naked void counted_ways(void)
{
	asm("mv t1, a1; li t3, 0; csrr t0, instret; 1: beqz t1, 3f; andi t2, t1, 3; bnez t2, 2f; addi t4, t3, 1; addi t4, t4, 1;"
	    "addi t4, t4, 1; addi t4, t4, 1; addi t4, t4, 1; addi t4, t4, 1; addi t4, t4, 1; addi t4, t4, 1; addi t4, t4, 1;"
	    "addi t4, t4, 1; addi t4, t4, 1; addi t4, t4, 1; 2: addi t3, t3, 1; addi t1, t1, -1; j 1b;"
	    "3: csrr a0, instret; sub a0, a0, t0; xor t3, t3, a1; add a0, a0, t3; ret");
}
static naked void written(void)
{
	asm("li t0, 1000; csrw minstret, t0; csrr a0, minstret; ret");
}
static naked void written_later(void)
{
	asm("li t0, -2; csrw minstret, t0; nop; nop; nop; csrr a0, minstret; ret");
}

static void instructions(void)
{
	/* QEMU 7.2 counts host time instead, unless told otherwise. */
	if (on_qemu())
		return;
	for (unsigned mode = U; mode <= M; mode += mode == S ? 2 : 1) {
		context("instret in mode", mode, 0, 0);
		check(run(mode, counted, 0, 0).a0, 6);
		check(run(mode, counted_loop, 0, 0).a0, 2001);
		check(run(mode, counted_ways, 0, 40000).a0, 40000 * 6 + 10000 * 12 + 2);
	}
	/* A write takes effect after its own instruction has been counted (Privileged 3.1.11). */
	check(run(M, written, 0, 0).a0, 1000);
	check(run(M, written_later, 0, 0).a0, 1);
}

static void cycles(void)
{
	uint64_t before = csr_read(mcycle);

	context(NULL, 0, 0, 0);
	for (volatile unsigned i = 0; i < 100; i++)
		continue;
	check(csr_read(mcycle) > before, 1);
	csr_write(mcycle, UINT64_C(1) << 40);
	check(csr_read(mcycle) >> 40, 1);
	check(csr_read(cycle) >> 40, 1);
}

int main(void)
{
	enables();
	time_is_the_clints();
	instructions();
	cycles();
	return 0;
}
