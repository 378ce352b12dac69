/* Two harts by HSM: start, status, interrupts between them, remote fences, stop and start again. */
#include "supervisor.h"

static volatile uint64_t began, began_id, began_satp, began_status, order, done, answer;
static struct begin begin;
static uint32_t code[2] __attribute__((aligned(64))) = {0x00000513, 0x00008067};

enum { WAIT, RUN_CODE, WAIT_IPI, SUSPEND, STOP };

/* The other hart does what it is told, without a fence of its own. */
static void other(uint64_t id)
{
	began_satp = csr_read(satp);
	began_status = csr_read(sstatus);
	began_id = id;
	asm volatile("fence" ::: "memory");
	began = began + 1;
	for (;;) {
		while (order == WAIT)
			asm volatile("fence" ::: "memory");
		switch (order) {
		case RUN_CODE:
			answer = ((uint64_t(*)(void))(uint64_t)code)();
			break;
		case WAIT_IPI:
			csr_write(sie, BIT(SSI));
			while (!(csr_read(sip) & BIT(SSI)))
				asm volatile("wfi");
			csr_clear(sip, BIT(SSI));
			break;
		case SUSPEND:
			csr_write(sie, BIT(SSI));
			answer = (uint64_t)SBI(HSM, 3, 0).error;
			csr_clear(sip, BIT(SSI));
			break;
		default:
			order = WAIT;
			done = 1;
			SBI(HSM, 1);
			answer = 0xdead;
		}
		order = WAIT;
		asm volatile("fence" ::: "memory");
		done = 1;
	}
}

static void tell(uint64_t what)
{
	done = 0;
	asm volatile("fence" ::: "memory");
	order = what;
}

static void finished(void)
{
	while (!done)
		asm volatile("fence" ::: "memory");
}

static void status_becomes(uint64_t id, uint64_t status)
{
	while (SBI(HSM, 2, id).value != status)
		continue;
	expect(SBI(HSM, 2, id), OK, status);
}

static void start(uint64_t id, uint64_t times)
{
	expect(SBI(HSM, 2, id), OK, STOPPED);
	begin = (struct begin){stack_of(1), other};
	expect_error(SBI(HSM, 0, id, hart_begin, &begin), OK);
	while (began != times)
		asm volatile("fence" ::: "memory");
	check(began_id, id);
	check(began_satp, 0);
	check(began_status & STATUS_SIE, 0);
	status_becomes(id, STARTED);
	expect_error(SBI(HSM, 0, id, hart_begin, &begin), ALREADY_AVAILABLE);
}

static void remote_fences(uint64_t id)
{
	for (uint64_t i = 1; i <= 200; i++) {
		context("remote fence.i", i, 0, 0);
		*(volatile uint32_t *)code = (uint32_t)i << 20 | 0x513;
		expect(SBI(RFENCE, 0, 1, id), OK, 0);
		tell(RUN_CODE);
		finished();
		check(answer, i);
		expect(SBI(RFENCE, 1, i & 1 ? 3 : 1, i & 1 ? 0 : id, 0, -1), OK, 0);
	}
}

static void remote_interrupts(uint64_t id)
{
	for (uint64_t i = 0; i < 200; i++) {
		tell(WAIT_IPI);
		expect(SBI(IPI, 0, 1, id), OK, 0);
		finished();
	}
}

static void suspended(uint64_t id)
{
	context("suspend", 0, 0, 0);
	answer = 1;
	tell(SUSPEND);
	status_becomes(id, SUSPENDED);
	expect_error(SBI(HSM, 0, id, hart_begin, &begin), on_doppel() ? ALREADY_AVAILABLE : INVALID_PARAM);
	expect(SBI(IPI, 0, 1, id), OK, 0);
	finished();
	check(answer, 0);
	status_becomes(id, STARTED);
}

int main(void)
{
	uint64_t id = other_hart(0);

	if (on_doppel()) {
		expect_error(SBI(HSM, 0, id, hart_begin + 1, 0), INVALID_ADDRESS);
		expect_error(SBI(HSM, 0, id, HOLE, 0), INVALID_ADDRESS);
		expect_error(SBI(HSM, 0, 2, hart_begin, 0), INVALID_PARAM);
	}
	start(id, 1);
	remote_fences(id);
	remote_interrupts(id);
	suspended(id);
	if (has(SUSP))
		expect_error(SBI(SUSP, 0, 0, hart_begin, 0), DENIED);
	tell(STOP);
	finished();
	status_becomes(id, STOPPED);
	check(answer, 0);
	/* An interrupt for a stopped hart is nobody's. */
	expect(SBI(IPI, 0, 1, id), OK, 0);
	start(id, 2);
	tell(RUN_CODE);
	finished();
	check(answer, 200);
	return 0;
}
