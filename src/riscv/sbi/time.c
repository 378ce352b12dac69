/* TIME (SBI 2.0, 6) and its legacy form: the timer is the hart's own stimecmp. */
#include "riscv/sbi/sbi.h"

static struct sbi_reply set_timer(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	hart->stimecmp = a[0];
	hart_update_timers(hart, clock_ticks(sbi->cluster->clock));
	return sbi_ok(0);
}

static sbi_function *const functions[] = {set_timer};
SBI_EXTENSION(sbi_time, 0x54494d45);
const struct sbi_extension sbi_legacy_set_timer = {0x00, functions, 1, true};
