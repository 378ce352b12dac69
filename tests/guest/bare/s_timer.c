/* TIME, IPI to oneself, fences of oneself, and their refusals. */
#include "supervisor.h"

static void wait_for(uint64_t bit)
{
	csr_set(sie, bit);
	while (!(csr_read(sip) & bit))
		asm volatile("wfi");
	csr_clear(sie, bit);
}

static void timer(uint64_t extension)
{
	uint64_t begin = csr_read(time), before = interrupts[STI], pending;

	context("timer", extension, 0, 0);
	expect_error(SBI(extension, 0, begin + 20000), OK);
	pending = csr_read(sip) & BIT(STI);
	/* Unless the host has taken the time away. */
	if (csr_read(time) < begin + 20000)
		check(pending, 0);
	wait_for(BIT(STI));
	check(csr_read(time) >= begin + 20000, 1);
	/* Setting it anew takes the pending bit away. */
	expect_error(SBI(extension, 0, -1), OK);
	check(csr_read(sip) & BIT(STI), 0);
	/* The past is now. */
	csr_set(sie, BIT(STI));
	expect_error(SBI(extension, 0, 0), OK);
	csr_set(sstatus, STATUS_SIE);
	for (unsigned i = 0; i < 1000000 && interrupts[STI] == before; i++)
		asm volatile("nop");
	csr_clear(sstatus, STATUS_SIE);
	check(interrupts[STI], before + 1);
	expect_error(SBI(extension, 0, -1), OK);
}

static void interrupt_oneself(void)
{
	uint64_t id = boot.hart;

	context(NULL, 0, 0, 0);
	expect(SBI(IPI, 0, 1, id), OK, 0);
	wait_for(BIT(SSI));
	csr_clear(sip, BIT(SSI));
	check(csr_read(sip) & BIT(SSI), 0);
	expect(SBI(IPI, 0, 0, -1), OK, 0);
	wait_for(BIT(SSI));
	csr_clear(sip, BIT(SSI));
	expect(SBI(IPI, 0, 0, id), OK, 0);
	check(csr_read(sip) & BIT(SSI), 0);
	/* Harts that are not there. OpenSBI 1.1 lets some of these pass. */
	if (!on_doppel())
		return;
	expect(SBI(IPI, 0, 1, 32), INVALID_PARAM, 0);
	expect(SBI(IPI, 0, 1, -2), INVALID_PARAM, 0);
	expect(SBI(IPI, 0, BIT(63), id), INVALID_PARAM, 0);
	expect(SBI(IPI, 0, -1, 0), INVALID_PARAM, 0);
	check(csr_read(sip) & BIT(SSI), 0);
}

static void fences(void)
{
	expect(SBI(RFENCE, 0, 1, boot.hart), OK, 0);
	expect(SBI(RFENCE, 0, 0, -1), OK, 0);
	expect(SBI(RFENCE, 1, 1, boot.hart, 0, 0), OK, 0);
	expect(SBI(RFENCE, 1, 1, boot.hart, 0x1000, 0x3000), OK, 0);
	expect(SBI(RFENCE, 1, 0, -1, 0, -1), OK, 0);
	expect(SBI(RFENCE, 2, 1, boot.hart, 0x1000, 0x3000, 5), OK, 0);
	if (!on_doppel())
		return;
	expect(SBI(RFENCE, 1, 1, 32), INVALID_PARAM, 0);
	expect(SBI(RFENCE, 1, 1, boot.hart, -4096, 8192), INVALID_ADDRESS, 0);
	for (unsigned function = 3; function < 8; function++)
		expect(SBI(RFENCE, function, 1, boot.hart), NOT_SUPPORTED, 0);
}

int main(void)
{
	timer(TIME);
	timer(0);
	interrupt_oneself();
	fences();
	return 0;
}
