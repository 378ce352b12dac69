/* mstatus and its shadows through traps and returns, the bits that restrict S-mode, and registers that take
 * only legal values. */
#include "bare.h"

static naked void nothing(void)
{
	asm("ret");
}
static naked void do_mret(void)
{
	asm("mret");
}
static naked void do_sret(void)
{
	asm("sret");
}
static naked void do_wfi(void)
{
	asm("wfi; ret");
}
static naked void do_sfence(void)
{
	asm("sfence.vma; ret");
}
static naked void read_satp(void)
{
	asm("csrr a0, satp; ret");
}
static naked void write_satp(void)
{
	asm("csrw satp, zero; ret");
}

static uint64_t status_after(uint64_t set, uint64_t clear, unsigned mode)
{
	csr_clear(mstatus, clear);
	csr_set(mstatus, set);
	return run(mode, nothing, 0, 0).status;
}

/* Privileged 3.1.6.1: a trap moves xIE to xPIE and clears xIE; a return does the reverse and sets xPIE. */
static void trap_and_return(void)
{
	uint64_t status;

	for (unsigned mode = U; mode <= M; mode += mode == S ? 2 : 1) {
		context("mode", mode, 0, 0);
		status = status_after(STATUS_MPIE, STATUS_MIE, mode);
		check(status & STATUS_MPIE, STATUS_MPIE);
		check(status & STATUS_MIE, 0);
		check(status >> 11 & 3, mode);
		status = status_after(STATUS_MIE, STATUS_MPIE, mode);
		check(status & STATUS_MPIE, 0);
		check(status & STATUS_MIE, 0);
	}
}

/* mret to S-mode, and sret from there to U-mode, which traps. */
static void supervisor_return(void)
{
	struct trap t;

	csr_write(sepc, nothing);
	csr_clear(mstatus, STATUS_SPP | STATUS_SIE);
	csr_set(mstatus, STATUS_SPIE);
	t = run(S, do_sret, 0, 0);
	check(t.cause, ECALL_U);
	check(t.status & (STATUS_SIE | STATUS_SPIE | STATUS_SPP), STATUS_SIE | STATUS_SPIE);
	csr_clear(mstatus, STATUS_SPIE);
	csr_set(mstatus, STATUS_SIE | STATUS_SPP);
	t = run(S, do_sret, 0, 0);
	check(t.cause, ECALL_S);
	check(t.status & (STATUS_SIE | STATUS_SPIE | STATUS_SPP), STATUS_SPIE);
	check(run(U, do_sret, 0, 0).cause, ILLEGAL);
	check(run(U, do_mret, 0, 0).cause, ILLEGAL);
	check(run(S, do_mret, 0, 0).cause, ILLEGAL);
	/* A return to a mode below M clears MPRV (Privileged 3.1.6.3); QEMU 7.2 keeps it. */
	csr_clear(mstatus, STATUS_SPP);
	csr_write(sepc, nothing);
	csr_set(mstatus, STATUS_MPRV);
	t = run(S, nothing, 0, 0);
	check(t.cause, ECALL_S);
	check_strictly(t.status & STATUS_MPRV, 0);
	csr_clear(mstatus, STATUS_MPRV);
}

/* A trap delegated to S-mode: SIE, SPIE, SPP; MPP and MPIE stay. */
static void delegated(void)
{
	csr_write(medeleg, BIT(ECALL_U));
	csr_clear(mstatus, STATUS_SPIE);
	csr_set(mstatus, STATUS_SIE | STATUS_SPP | STATUS_MPIE);
	check(run(U, nothing, 0, 0).cause, ECALL_S);
	check(s_trap.taken, 1);
	check(s_trap.cause, ECALL_U);
	check(s_trap.status & (STATUS_SIE | STATUS_SPIE | STATUS_SPP), STATUS_SPIE);
	csr_clear(mstatus, STATUS_SIE | STATUS_SPIE);
	check(run(U, nothing, 0, 0).cause, ECALL_S);
	check(s_trap.status & (STATUS_SIE | STATUS_SPIE | STATUS_SPP), 0);
	csr_write(medeleg, 0);
}

static void restrictions(void)
{
	csr_set(mstatus, STATUS_TVM | STATUS_TSR);
	check(run(S, do_sfence, 0, 0).cause, ILLEGAL);
	check(run(S, read_satp, 0, 0).cause, ILLEGAL);
	check(run(S, write_satp, 0, 0).cause, ILLEGAL);
	check(run(S, do_sret, 0, 0).cause, ILLEGAL);
	check(run(M, do_sfence, 0, 0).cause, ECALL_M);
	check(run(M, read_satp, 0, 0).cause, ECALL_M);
	csr_clear(mstatus, STATUS_TVM | STATUS_TSR);
	check(run(S, do_sfence, 0, 0).cause, ECALL_S);
	check(run(S, read_satp, 0, 0).cause, ECALL_S);
	check(run(S, write_satp, 0, 0).cause, ECALL_S);
	check(run(U, do_sfence, 0, 0).cause, ILLEGAL);
	check(run(U, read_satp, 0, 0).cause, ILLEGAL);
}

/* An interrupt that is pending and enabled, but masked, lets WFI go on at once. */
static void wait(void)
{
	csr_set(mie, BIT(SSI));
	csr_set(mip, BIT(SSI));
	csr_write(mideleg, BIT(SSI));
	csr_clear(mstatus, STATUS_SIE | STATUS_MPIE | STATUS_TW);
	check(run(M, do_wfi, 0, 0).cause, ECALL_M);
	check(run(S, do_wfi, 0, 0).cause, ECALL_S);
	csr_write(mideleg, 0);
	csr_write(mie, 0);
	csr_write(mip, 0);
	/* With nothing to come, TW makes it trap (Privileged 3.1.6.5); M-mode is not concerned. */
	csr_set(mstatus, STATUS_TW);
	check(run(S, do_wfi, 0, 0).cause, ILLEGAL);
	check(run(U, do_wfi, 0, 0).cause, ILLEGAL);
	csr_clear(mstatus, STATUS_TW);
}

static void legal_status(void)
{
	uint64_t before;

	csr_clear(mstatus, STATUS_MPP);
	csr_set(mstatus, UINT64_C(2) << 11);
	/* There is no mode 2; QEMU 7.2 takes it. */
	check_strictly((csr_read(mstatus) >> 11 & 3) == 2, 0);
	csr_set(mstatus, STATUS_MPP);
	check(csr_read(mstatus) >> 11 & 3, 3);
	/* UXL and SXL say 64, and stay. */
	check(csr_read(mstatus) >> 32 & 15, 10);
	before = csr_read(mstatus);
	csr_set(sstatus, STATUS_SUM | STATUS_MXR | STATUS_SIE);
	check(csr_read(mstatus) & ~before, STATUS_SUM | STATUS_MXR | STATUS_SIE);
	csr_clear(sstatus, STATUS_SUM | STATUS_MXR | STATUS_SIE);
	/* What sstatus does not show, it does not change. */
	before = csr_read(mstatus);
	csr_set(sstatus, STATUS_MPP | STATUS_MIE | STATUS_TVM | STATUS_TW | STATUS_TSR | STATUS_MPRV);
	check(csr_read(mstatus), before);
	csr_set(mstatus, STATUS_TVM | STATUS_MPIE);
	check(csr_read(sstatus) & (STATUS_TVM | STATUS_MPIE | STATUS_MPP), 0);
	csr_clear(mstatus, STATUS_TVM | STATUS_MPIE);
	/* FS dirty shows in SD. */
	csr_set(mstatus, STATUS_FS);
	check(csr_read(mstatus) >> 63, 1);
	check(csr_read(sstatus) >> 63, 1);
	csr_clear(mstatus, STATUS_FS);
	check(csr_read(mstatus) >> 63, 0);
}

static void legal_addresses(void)
{
	uint64_t kept = csr_read(mtvec);

	/* Bit 0 of the exception pc is always 0 (Privileged 3.1.14); QEMU 7.2 keeps it. */
	csr_write(mepc, -1);
	check_strictly(csr_read(mepc), ~UINT64_C(1));
	csr_write(sepc, 0x1235);
	check_strictly(csr_read(sepc), 0x1234);
	csr_write(mtvec, 0x80001001);
	check(csr_read(mtvec), 0x80001001);
	csr_write(mtvec, 0x80001000);
	check(csr_read(mtvec), 0x80001000);
	/* Modes 2 and 3 are reserved: whatever is kept, it is neither. */
	csr_write(mtvec, 0x80001003);
	check(csr_read(mtvec) & 2, 0);
	csr_write(mtvec, kept);
	csr_write(stvec, csr_read(stvec) | 2);
	check(csr_read(stvec) & 2, 0);
	csr_write(mscratch, 0x123456789abcdef0);
	check(csr_read(mscratch), 0x123456789abcdef0);
	csr_write(mscratch, 0);
}

/* A write of satp with a mode that is not there changes nothing (Privileged 4.1.11). */
static void legal_satp(void)
{
	static const unsigned modes[] = {8, 9, 10};
	uint64_t kept;

	for (unsigned i = 0; i < 3; i++) {
		uint64_t value = (uint64_t)modes[i] << 60 | UINT64_C(0x5a) << 44 | 0x80123;

		csr_write(satp, value);
		context("satp", value, 0, 0);
		check(csr_read(satp), value);
	}
	kept = csr_read(satp);
	for (uint64_t mode = 1; mode < 16; mode++) {
		if (mode >= 8 && mode <= 10)
			continue;
		context("satp mode", mode, 0, 0);
		csr_write(satp, mode << 60 | 0x80456);
		check(csr_read(satp), kept);
	}
	context(NULL, 0, 0, 0);
	/* All sixteen bits of ASID. */
	csr_write(satp, UINT64_C(8) << 60 | UINT64_C(0xffff) << 44);
	check(csr_read(satp) >> 44 & 0xffff, 0xffff);
	csr_write(satp, 0);
	check(csr_read(satp), 0);
}

static void legal_delegation(void)
{
	uint64_t m = BIT(MSI) | BIT(MTI) | BIT(MEI), s = BIT(SSI) | BIT(STI) | BIT(SEI);

	csr_write(medeleg, -1);
	/* An ecall from M-mode can not be delegated (Privileged 3.1.8); in QEMU 7.2 the bit can be set. */
	check_strictly(csr_read(medeleg) & BIT(ECALL_M), 0);
	check(csr_read(medeleg) & 0xb1ff & ~BIT(0), 0xb1fe);
	csr_write(medeleg, 0);
	csr_write(mideleg, -1);
	check(csr_read(mideleg) & m, 0);
	check(csr_read(mideleg) & s, s);
	/* sie and sip show what is delegated, and only that. */
	csr_write(mie, s | m);
	check(csr_read(sie) & (s | m), s);
	csr_write(mideleg, BIT(SSI));
	check(csr_read(sie) & (s | m), BIT(SSI));
	csr_write(sie, 0);
	check(csr_read(mie) & (s | m), (s | m) & ~BIT(SSI));
	csr_write(sie, -1);
	check(csr_read(mie) & (s | m), s | m);
	csr_write(mie, 0);
	csr_write(mideleg, 0);
}

static void identity(void)
{
	uint64_t isa = csr_read(misa);

	check(isa >> 62, 2);
	for (const char *letter = "ACDFIMSU"; *letter; letter++)
		check(isa >> (*letter - 'A') & 1, 1);
	check(isa >> ('E' - 'A') & 1, 0);
	csr_write(misa, isa);
	check(csr_read(misa), isa);
	check(csr_read(mhartid), 0);
}

int main(void)
{
	trap_and_return();
	context(NULL, 0, 0, 0);
	supervisor_return();
	delegated();
	restrictions();
	wait();
	legal_status();
	legal_addresses();
	legal_satp();
	legal_delegation();
	identity();
	return 0;
}
