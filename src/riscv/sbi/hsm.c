/* HSM (SBI 2.0, 9) and SUSP (SBI 2.0, 13): harts started, stopped and suspended. */
#include "riscv/sbi/sbi.h"

enum { A0 = 10, A1 = 11 };

#define SUSPEND_RETENTIVE     0
#define SUSPEND_NON_RETENTIVE UINT32_C(0x80000000)
#define SUSPEND_TO_RAM        0

static struct sbi_reply hart_start(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	struct hart *target = sbi_hart(sbi, a[0]);
	uint32_t stopped = HART_STOPPED;

	(void)hart;
	if (!target)
		return sbi_fail(SBI_INVALID_PARAM);
	if (!sbi_can_start_at(sbi, a[1]))
		return sbi_fail(SBI_INVALID_ADDRESS);
	/* Of two harts that start a third, the one that wins this exchange writes the arguments. */
	if (!atomic_compare_exchange_strong(&target->power, &stopped, HART_START_PENDING))
		return sbi_fail(SBI_ALREADY_AVAILABLE);
	target->start_pc = a[1];
	target->start_opaque = a[2];
	atomic_fetch_or(&target->requests, HART_REQUEST_START);
	hart_kick(target);
	return sbi_ok(0);
}

static struct sbi_reply hart_stop(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)a;
	hart->stimecmp = UINT64_MAX;
	hart_update_timers(hart, clock_ticks(sbi->cluster->clock));
	hart_set_pending(hart, IRQ_BIT(IRQ_SSI), false);
	hart->sbi_sta_address = 0;
	hart->sbi_pmu_started = 0;
	atomic_store(&hart->power, HART_STOPPED);
	return sbi_ok(0);
}

static struct sbi_reply hart_get_status(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	struct hart *target = sbi_hart(sbi, a[0]);

	(void)hart;
	return target ? sbi_ok(atomic_load(&target->power)) : sbi_fail(SBI_INVALID_PARAM);
}

void sbi_suspend(struct hart *hart, uint64_t resume_pc, uint64_t opaque)
{
	hart->start_pc = resume_pc;
	hart->start_opaque = opaque;
	hart->waiting = true;
	atomic_store(&hart->power, HART_SUSPENDED);
}

static struct sbi_reply hart_suspend(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	switch ((uint32_t)a[0]) {
	case SUSPEND_RETENTIVE:
		sbi_suspend(hart, 0, 0);
		return sbi_ok(0);
	case SUSPEND_NON_RETENTIVE:
		if (!sbi_can_start_at(sbi, a[1]))
			return sbi_fail(SBI_INVALID_ADDRESS);
		sbi_suspend(hart, a[1], a[2]);
		return sbi_ok(0);
	default:
		return sbi_fail(SBI_INVALID_PARAM);
	}
}

static void resume_cold(struct hart *hart)
{
	uint64_t timer = hart->stimecmp;

	sbi_boot_state(hart);
	hart->stimecmp = timer;
	hart_update_timers(hart, clock_ticks(hart->cluster->clock));
	hart->pc = hart->start_pc;
	hart->x[A0] = hart->cpu.id;
	hart->x[A1] = hart->start_opaque;
}

bool sbi_resume(struct hart *hart)
{
	if (atomic_load_explicit(&hart->power, memory_order_relaxed) != HART_SUSPENDED)
		return true;
	if (!hart_wake(hart))
		return false;
	hart->waiting = false;
	if (hart->start_pc)
		resume_cold(hart);
	atomic_store(&hart->power, HART_STARTED);
	return true;
}

static sbi_function *const functions[] = {hart_start, hart_stop, hart_get_status, hart_suspend};
SBI_EXTENSION(sbi_hsm, 0x48534d);

static bool others_stopped(const struct sbi *sbi, const struct hart *hart)
{
	for (unsigned i = 0; i < sbi->cluster->count; i++) {
		struct hart *other = sbi->cluster->harts[i];

		if (other != hart && atomic_load(&other->power) != HART_STOPPED)
			return false;
	}
	return true;
}

static struct sbi_reply system_suspend(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	if ((uint32_t)a[0] != SUSPEND_TO_RAM)
		return sbi_fail(SBI_INVALID_PARAM);
	if (!sbi_can_start_at(sbi, a[1]))
		return sbi_fail(SBI_INVALID_ADDRESS);
	if (!others_stopped(sbi, hart))
		return sbi_fail(SBI_DENIED);
	sbi_suspend(hart, a[1], a[2]);
	return sbi_ok(0);
}

static sbi_function *const susp_functions[] = {system_suspend};
const struct sbi_extension sbi_susp = {0x53555350, susp_functions, ARRAY_SIZE(susp_functions), false};
