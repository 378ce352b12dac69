/* Interrupts: their order, masks, delegation and vectors; the CLINT's lines, the stimecmp of Sstc, WFI. */
#include "bare.h"

#define ALL_M (BIT(MSI) | BIT(MTI) | BIT(MEI))
#define ALL_S (BIT(SSI) | BIT(STI) | BIT(SEI))

static volatile uint32_t *const msip = (volatile uint32_t *)CLINT;
static volatile uint64_t *const mtimecmp = (volatile uint64_t *)(CLINT + 0x4000);
static volatile uint64_t *const mtime = (volatile uint64_t *)(CLINT + 0xbff8);

/* A while in which an interrupt can come; then the mode's ecall. */
static naked void spin(void)
{
	asm("li t0, 20000; 1: addi t0, t0, -1; bnez t0, 1b; ret");
}
static naked void do_wfi(void)
{
	asm("wfi; ret");
}

static void quiet(void)
{
	csr_write(mie, 0);
	csr_write(mideleg, 0);
	*msip = 0;
	*mtimecmp = UINT64_MAX;
	csr_clear(mip, ALL_S);
	csr_clear(mstatus, STATUS_MIE | STATUS_MPIE | STATUS_SIE | STATUS_SPIE);
}

/* Raises those of MSI, MTI, SSI, STI, SEI that are named. MEI needs a device. */
static void raise(uint64_t bits)
{
	*msip = (bits & BIT(MSI)) != 0;
	*mtimecmp = bits & BIT(MTI) ? 0 : UINT64_MAX;
	csr_clear(mip, ALL_S);
	csr_set(mip, bits & ALL_S);
}

static uint64_t taken(unsigned mode, uint64_t status)
{
	csr_clear(mstatus, STATUS_MPIE | STATUS_SIE);
	csr_set(mstatus, status);
	last = run(mode, spin, 0, 0);
	return last.cause;
}

/* Privileged 3.1.9: MSI, MTI, SEI, SSI, STI, highest first. QEMU 7.2 takes the lowest number first. */
static void priorities(void)
{
	static const unsigned order[] = {MSI, MTI, SEI, SSI, STI};
	uint64_t bits = 0;

	quiet();
	csr_write(mie, ALL_M | ALL_S);
	for (unsigned i = 5; i-- > 0;) {
		bits |= BIT(order[i]);
		raise(bits);
		context("pending", bits, csr_read(mip), 0);
		check(csr_read(mip) & bits, bits);
		check_strictly(taken(M, STATUS_MPIE), INTERRUPT | order[i]);
		/* Lower modes can not mask those of M-mode. */
		check_strictly(taken(S, 0), INTERRUPT | order[i]);
		check_strictly(taken(U, 0), INTERRUPT | order[i]);
		check((taken(U, 0) & INTERRUPT) != 0, 1);
		check(taken(M, 0), ECALL_M);
	}
	quiet();
}

static void delegated(void)
{
	static const unsigned order[] = {SEI, SSI, STI};
	uint64_t bits = 0;

	csr_write(mideleg, ALL_S);
	csr_write(mie, ALL_S);
	for (unsigned i = 3; i-- > 0;) {
		bits |= BIT(order[i]);
		raise(bits);
		context("delegated", bits, csr_read(sip), 0);
		check(csr_read(sip) & ALL_S, bits);
		check(taken(S, STATUS_SIE), ECALL_S);
		check(s_trap.taken, 1);
		check_strictly(s_trap.cause, INTERRUPT | order[i]);
		check(s_trap.tval, 0);
		check(taken(U, 0), ECALL_S);
		check(s_trap.taken, 1);
		check_strictly(s_trap.cause, INTERRUPT | order[i]);
		check(taken(S, 0), ECALL_S);
		check(s_trap.taken, 0);
		/* M-mode never takes a delegated interrupt. */
		check(taken(M, STATUS_MPIE | STATUS_SIE), ECALL_M);
		check(s_trap.taken, 0);
	}
	/* One for M-mode goes first, whatever its number. */
	csr_write(mie, ALL_S | ALL_M);
	csr_write(mideleg, BIT(SSI) | BIT(SEI));
	raise(BIT(STI) | BIT(SSI) | BIT(SEI));
	check(taken(S, STATUS_SIE), INTERRUPT | STI);
	check(s_trap.taken, 0);
	quiet();
}

static void enables(void)
{
	raise(BIT(MSI) | BIT(SSI));
	context("mip", csr_read(mip), 0, 0);
	check(taken(M, STATUS_MPIE), ECALL_M);
	csr_write(mie, BIT(SSI));
	check(taken(M, STATUS_MPIE), INTERRUPT | SSI);
	csr_write(mie, BIT(MSI));
	check(taken(M, STATUS_MPIE), INTERRUPT | MSI);
	/* The lines are not software's to write. */
	csr_clear(mip, -1);
	check(csr_read(mip) & BIT(MSI), BIT(MSI));
	*msip = 0;
	csr_set(mip, ALL_M);
	check(csr_read(mip) & ALL_M, 0);
	quiet();
}

static void supervisor_writes(void)
{
	csr_write(mideleg, ALL_S);
	csr_write(sip, ALL_S);
	check(csr_read(sip) & ALL_S, BIT(SSI));
	csr_write(sip, 0);
	check(csr_read(mip) & ALL_S, 0);
	csr_set(mip, BIT(STI));
	csr_write(sip, 0);
	check(csr_read(sip) & ALL_S, BIT(STI));
	csr_write(mideleg, 0);
	csr_set(mip, BIT(SSI));
	check(csr_read(sip), 0);
	csr_write(sip, 0);
	check(csr_read(mip) & BIT(SSI), BIT(SSI));
	quiet();
}

/* A table of its own: each entry leaves its number in a0, then an ecall goes to the common handler. */
asm(".text; .balign 256; vector_table:"
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11; c.li a0, \\n; c.j 1f; .endr;"
    "1: la t0, trap_entry; csrw mtvec, t0; ecall");
extern const char vector_table[];

static void vectored(void)
{
	uint64_t table = (uint64_t)vector_table;
	static const unsigned lines[] = {SSI, MSI, STI, MTI, SEI};

	for (unsigned i = 0; i < 5; i++) {
		csr_write(mie, BIT(lines[i]));
		raise(BIT(lines[i]));
		csr_write(mtvec, table | 1);
		context("vector", lines[i], 0, 0);
		check(taken(S, 0), ECALL_M);
		check(last.a0, lines[i]);
		csr_write(mtvec, table);
		check(taken(S, 0), ECALL_M);
		check(last.a0, 0);
	}
	quiet();
	/* Exceptions go to the base. */
	csr_write(mtvec, table | 1);
	check(taken(S, 0), ECALL_M);
	check(last.a0, 0);
}

static void timer(void)
{
	uint64_t begin = *mtime, pending;

	csr_write(mie, BIT(MTI));
	*mtimecmp = begin + 20000;
	pending = csr_read(mip) & BIT(MTI);
	/* Unless the host has taken the time away. */
	if (*mtime < begin + 20000)
		check(pending, 0);
	check(run(M, do_wfi, 0, 0).cause, ECALL_M);
	context("mtime, begin", *mtime, begin, 0);
	check(*mtime >= begin + 20000, 1);
	check(csr_read(mip) & BIT(MTI), BIT(MTI));
	*mtimecmp = UINT64_MAX;
	check(csr_read(mip) & BIT(MTI), 0);
	/* A wait that is ended by the trap: epc is past the WFI. */
	*mtimecmp = *mtime + 20000;
	csr_set(mstatus, STATUS_MPIE);
	last = run(M, do_wfi, 0, 0);
	check(last.cause, INTERRUPT | MTI);
	check(last.epc, (uint64_t)do_wfi + 4);
	quiet();
}

static naked void set_stimecmp(void)
{
	asm("csrw 0x14d, a0; ret");
}

static void supervisor_timer(void)
{
	uint64_t begin = *mtime;

	csr_write(menvcfg, ENVCFG_STCE);
	csr_write(stimecmp, -1);
	csr_write(mcounteren, -1);
	csr_write(mideleg, BIT(STI));
	csr_write(mie, BIT(STI));
	check(csr_read(mip) & BIT(STI), 0);
	/* STIP is the comparator's now, and nobody else's. */
	csr_set(mip, BIT(STI));
	check(csr_read(mip) & BIT(STI), 0);
	check(run(S, set_stimecmp, begin + 20000, 0).cause, ECALL_S);
	check(run(S, do_wfi, 0, 0).cause, ECALL_S);
	check(*mtime >= begin + 20000, 1);
	check(csr_read(sip) & BIT(STI), BIT(STI));
	check(taken(S, STATUS_SIE), ECALL_S);
	check(s_trap.cause, INTERRUPT | STI);
	csr_write(stimecmp, -1);
	check(csr_read(sip) & BIT(STI), 0);
	check(run(U, set_stimecmp, 0, 0).cause, ILLEGAL);
	/* S-mode needs both menvcfg.STCE and mcounteren.TM. */
	csr_write(mcounteren, 5);
	check(run(S, set_stimecmp, 0, 0).cause, ILLEGAL);
	csr_write(mcounteren, 7);
	csr_write(menvcfg, 0);
	check(run(S, set_stimecmp, 0, 0).cause, ILLEGAL);
	quiet();
}

int main(void)
{
	priorities();
	delegated();
	enables();
	supervisor_writes();
	context(NULL, 0, 0, 0);
	vectored();
	context(NULL, 0, 0, 0);
	timer();
	context(NULL, 0, 0, 0);
	supervisor_timer();
	return 0;
}
