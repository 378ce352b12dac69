/* HSM and SUSP on one hart: its own status, both kinds of suspend, ended by the timer; hostile arguments. */
#include "supervisor.h"

static volatile uint64_t resumed, resumed_hart, resumed_opaque, resumed_satp, resumed_status;
static uint64_t kept[14] __attribute__((used));

/* The call's error when it came back, 0 when the hart has resumed at the address given to it. */
static naked int64_t suspend_cold(uint64_t extension __attribute__((unused)),
				  uint64_t function __attribute__((unused)), uint64_t type __attribute__((unused)))
{
	asm("la t0, kept; sd ra, 0(t0); sd sp, 8(t0); sd s0, 16(t0); sd s1, 24(t0); sd s2, 32(t0); sd s3, 40(t0);"
	    "sd s4, 48(t0); sd s5, 56(t0); sd s6, 64(t0); sd s7, 72(t0); sd s8, 80(t0); sd s9, 88(t0);"
	    "sd s10, 96(t0); sd s11, 104(t0);"
	    "mv a7, a0; mv a6, a1; mv a0, a2; la a1, 1f; li a2, 0x5eed; li sp, 0; ecall;"
	    "la t0, kept; ld sp, 8(t0); ret;"
	    ".balign 4; 1: la t0, kept; ld ra, 0(t0); ld sp, 8(t0); ld s0, 16(t0); ld s1, 24(t0); ld s2, 32(t0);"
	    "ld s3, 40(t0); ld s4, 48(t0); ld s5, 56(t0); ld s6, 64(t0); ld s7, 72(t0); ld s8, 80(t0); ld s9, 88(t0);"
	    "ld s10, 96(t0); ld s11, 104(t0);"
	    "la t0, resumed_hart; sd a0, 0(t0); la t0, resumed_opaque; sd a1, 0(t0);"
	    "csrr t1, satp; la t0, resumed_satp; sd t1, 0(t0); csrr t1, sstatus; la t0, resumed_status; sd t1, 0(t0);"
	    "la t0, resumed; li t1, 1; sd t1, 0(t0); la t0, s_trap_entry; csrw stvec, t0; li a0, 0; ret");
}

/* Translation by a table that maps the devices' and the RAM's gigabyte to themselves. */
static void translate(void)
{
	static uint64_t root[512] __attribute__((aligned(4096)));

	root[0] = 0xc7;
	root[2] = UINT64_C(0x80000000) >> 2 | 0xcf;
	csr_write(satp, UINT64_C(8) << 60 | (uint64_t)root >> 12);
	fence_vma();
}

static void alarm(void)
{
	SBI(TIME, 0, csr_read(time) + 20000);
	csr_write(sie, BIT(STI));
}

static void status(void)
{
	expect(SBI(HSM, 2, boot.hart), OK, STARTED);
	expect_error(SBI(HSM, 2, 64), INVALID_PARAM);
	expect_error(SBI(HSM, 2, -1), INVALID_PARAM);
	expect_error(SBI(HSM, 0, boot.hart, hart_begin, 0), ALREADY_AVAILABLE);
	expect_error(SBI(HSM, 0, -1, hart_begin, 0), INVALID_PARAM);
}

static void retentive(void)
{
	uint64_t begin = csr_read(time);

	alarm();
	expect_error(SBI(HSM, 3, 0, 1, 2), OK);
	check(csr_read(time) >= begin + 20000, 1);
	check(csr_read(sip) & BIT(STI), BIT(STI));
	check(csr_read(sie), BIT(STI));
	SBI(TIME, 0, -1);
}

static void cold(uint64_t extension, uint64_t function, uint64_t type)
{
	uint64_t begin = csr_read(time);

	context("cold", extension, type, 0);
	resumed = 0;
	csr_set(sstatus, STATUS_SIE);
	csr_write(sie, 0);
	csr_clear(sstatus, STATUS_SIE);
	alarm();
	translate();
	check(suspend_cold(extension, function, type), 0);
	check(resumed, 1);
	check(resumed_hart, boot.hart);
	check(resumed_opaque, 0x5eed);
	check(resumed_satp, 0);
	check(resumed_status & STATUS_SIE, 0);
	check(csr_read(satp), 0);
	check(csr_read(time) >= begin + 20000, 1);
	/* What has woken the hart is still to be seen. */
	if (on_doppel())
		check(csr_read(sip) & BIT(STI), BIT(STI));
	SBI(TIME, 0, -1);
	csr_write(sie, 0);
}

static void refused(void)
{
	static const uint64_t types[] = {1, 0x0fffffff, 0x7fffffff, 0x80000001, 0x8fffffff, 0xffffffff};

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		context("type", types[i], 0, 0);
		expect_error(SBI(HSM, 3, types[i], hart_begin, 0), INVALID_PARAM);
		if (types[i] != 0)
			expect_error(SBI(SUSP, 0, types[i], hart_begin, 0), INVALID_PARAM);
	}
	context("address", 0, 0, 0);
	expect_error(SBI(HSM, 3, 0x80000000, HOLE, 0), INVALID_ADDRESS);
	expect_error(SBI(HSM, 3, 0x80000000, hart_begin + 1, 0), INVALID_ADDRESS);
	expect_error(SBI(HSM, 3, 0x80000000, -2, 0), INVALID_ADDRESS);
	expect_error(SBI(SUSP, 0, 0, HOLE, 0), INVALID_ADDRESS);
	expect(SBI(HSM, 2, boot.hart), OK, STARTED);
}

static void bad_resets(void)
{
	context("reset", 0, 0, 0);
	expect_error(SBI(SRST, 0, 3, 0), INVALID_PARAM);
	expect_error(SBI(SRST, 0, -1, 0), INVALID_PARAM);
	expect_error(SBI(SRST, 0, 0, 2), INVALID_PARAM);
	expect_error(SBI(SRST, 0, 0, 0xe0000000), INVALID_PARAM);
}

int main(void)
{
	status();
	retentive();
	cold(HSM, 3, 0x80000000);
	if (has(SUSP))
		cold(SUSP, 0, 0);
	/* OpenSBI 1.1 answers some of these otherwise. */
	if (on_doppel()) {
		refused();
		bad_resets();
	}
	return 0;
}
