#include "crowd.h"

unsigned crowd_harts;
uint64_t crowd_boot;
static volatile uint64_t arrived __attribute__((aligned(64))), phase __attribute__((aligned(64)));

void crowd_barrier(void)
{
	uint64_t current = phase, before;

	asm volatile("fence; amoadd.d.aqrl %0, %1, (%2)" : "=r"(before) : "r"(1), "r"(&arrived) : "memory");
	if (before + 1 == crowd_harts) {
		arrived = 0;
		asm volatile("fence" ::: "memory");
		phase = current + 1;
	}
	while (phase == current)
		continue;
	asm volatile("fence" ::: "memory");
}
