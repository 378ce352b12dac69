/* How the machine hands over to a supervisor without firmware, and what BASE says. */
#include "supervisor.h"

static uint32_t big_endian(uint64_t address)
{
	const uint8_t *at = (const uint8_t *)address;

	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void state(void)
{
	uint64_t before;

	check(csr_read(satp), 0);
	check(csr_read(sstatus) & STATUS_SIE, 0);
	check(csr_read(sie), 0);
	check(boot.tree & 7, 0);
	check(big_endian(boot.tree), 0xd00dfeed);
	/* Counters are readable, so is time; stimecmp is this mode's where the platform has Sstc. */
	before = csr_read(time);
	check(csr_read(time) >= before, 1);
	before = csr_read(cycle);
	check(csr_read(cycle) > before, 1);
	before = csr_read(instret);
	check(csr_read(instret) > before, 1);
	if (on_doppel()) {
		csr_write(stimecmp, -1);
		check(csr_read(stimecmp), -1);
	}
	/* All three interrupts are delegated. */
	csr_write(sie, -1);
	check(csr_read(sie) & 0xfff, BIT(SSI) | BIT(STI) | BIT(SEI));
	csr_write(sie, 0);
}

static void base(void)
{
	struct answer version = SBI(BASE, 0);

	check(version.error, OK);
	if (on_doppel())
		check(version.value, 0x02000000);
	check(version.value >> 31, 0);
	for (uint64_t function = 1; function < 7; function++)
		expect_error(SBI(BASE, function), OK);
	expect(SBI(BASE, 7), NOT_SUPPORTED, 0);
	expect(SBI(BASE, 3, 0x12345678), OK, 0);
	expect(SBI(BASE, 3, -1), OK, 0);
	check(has(BASE), 1);
	check(has(TIME), 1);
	check(has(IPI), 1);
	check(has(RFENCE), 1);
	check(has(HSM), 1);
	check(has(SRST), 1);
	has(DBCN);
	has(SUSP);
	has(STA);
	has(PMU);
}

/* A call answers in a0 and a1 and leaves all else alone: the OR of what other registers have changed by. */
static naked uint64_t changed_registers(void)
{
	asm("li a7, 0x10; li a6, 0; li a5, 5; li a4, 4; li a3, 3; li a2, 2; li t0, 10; li t1, 11; li t2, 12;"
	    "li t3, 13; li t4, 14; li t5, 15; li t6, 16; ecall;"
	    "addi a2, a2, -2; addi a3, a3, -3; or a2, a2, a3; addi a4, a4, -4; or a2, a2, a4; addi a5, a5, -5;"
	    "or a2, a2, a5; or a2, a2, a6; addi a7, a7, -0x10; or a2, a2, a7; addi t0, t0, -10; or a2, a2, t0;"
	    "addi t1, t1, -11; or a2, a2, t1; addi t2, t2, -12; or a2, a2, t2; addi t3, t3, -13; or a2, a2, t3;"
	    "addi t4, t4, -14; or a2, a2, t4; addi t5, t5, -15; or a2, a2, t5; addi t6, t6, -16; or a0, a2, t6;"
	    "ret");
}

static void nothing_there(void)
{
	expect_error(SBI(0x12345678, 0), NOT_SUPPORTED);
	expect_error(SBI(UINT64_MAX, 0), NOT_SUPPORTED);
	expect_error(SBI(TIME, 1), NOT_SUPPORTED);
	expect_error(SBI(HSM, UINT64_MAX), NOT_SUPPORTED);
	check(changed_registers(), 0);
}

int main(void)
{
	state();
	base();
	nothing_there();
	return 0;
}
