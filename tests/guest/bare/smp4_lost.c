/*
 * Harts that are lost for ever: one whose trap handler can not be fetched, one whose handler faults at its
 * first load, one that jumps to itself with interrupts off. The fourth goes on undisturbed, and ends the
 * machine.
 */
#include "paging.h"

static volatile uint64_t lost;

static naked void no_handler(void)
{
	asm("li t0, 0x8000000; csrw mtvec, t0; .word 0xffffffff");
}
/* Faults once more in the handler, for ever. */
static naked void bad_handler(void)
{
	asm("la t0, 1f; csrw mtvec, t0; .balign 4; 1: li t1, 0x8000000; ld t1, 0(t1)");
}
static naked void itself(void)
{
	asm("csrw mie, zero; 1: j 1b");
}

static void other(uint64_t id)
{
	asm volatile("amoadd.d zero, %0, (%1)" ::"r"(1), "r"(&lost) : "memory");
	if (id == 1)
		no_handler();
	else if (id == 2)
		bad_handler();
	else
		itself();
}

int main(void)
{
	volatile uint64_t *mtime = (volatile uint64_t *)(CLINT + 0xbff8);
	uint64_t begin, count = 0;

	start_others(other);
	while (lost != 3)
		continue;
	begin = *mtime;
	/* A tenth of a second, with an interrupt sent to each of them now and then. */
	while (*mtime < begin + 1000000) {
		for (unsigned i = 1; i < 4; i++)
			*(volatile uint32_t *)(CLINT + 4 * i) = count & 1;
		fence_vma();
		asm volatile("fence.i" ::: "memory");
		count++;
	}
	check(count > 10, 1);
	check(lost, 3);
	return 0;
}
