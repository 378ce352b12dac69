/* Two harts: interrupts by the CLINT's msip, a ping-pong of them, and each hart's own timer. */
#include "bare.h"

#define ROUNDS 2000

static volatile uint32_t *const msip = (volatile uint32_t *)CLINT;
static volatile uint64_t *const mtimecmp = (volatile uint64_t *)(CLINT + 0x4000);
static volatile uint64_t *const mtime = (volatile uint64_t *)(CLINT + 0xbff8);
static volatile uint64_t received[2], timer_seen, early;

/* Waits for a machine interrupt that is enabled, with interrupts off, so that WFI ends without a trap. */
static void wait_for(uint64_t bit)
{
	csr_write(mie, bit);
	while (!(csr_read(mip) & bit))
		asm volatile("wfi");
	csr_write(mie, 0);
}

static void pong(uint64_t id)
{
	uint64_t deadline;

	for (unsigned i = 0; i < ROUNDS; i++) {
		wait_for(BIT(MSI));
		msip[id] = 0;
		received[id] = received[id] + 1;
		asm volatile("fence" ::: "memory");
		msip[0] = 1;
	}
	/* A timer of this hart only. */
	deadline = *mtime + 10000;
	mtimecmp[id] = deadline;
	early = (csr_read(mip) & BIT(MTI)) != 0 && *mtime < deadline;
	wait_for(BIT(MTI));
	timer_seen = 1;
	asm volatile("fence" ::: "memory");
	msip[0] = 1;
	for (;;)
		asm volatile("wfi");
}

int main(void)
{
	mtimecmp[0] = mtimecmp[1] = UINT64_MAX;
	start_others(pong);
	for (unsigned i = 0; i < ROUNDS; i++) {
		msip[1] = 1;
		wait_for(BIT(MSI));
		msip[0] = 0;
		asm volatile("fence" ::: "memory");
		received[0] = received[0] + 1;
		if (received[1] != i + 1)
			check(received[1], i + 1);
	}
	check(received[1], ROUNDS);
	wait_for(BIT(MSI));
	check(timer_seen, 1);
	check(early, 0);
	check(csr_read(mip) & BIT(MTI), 0);
	return 0;
}
