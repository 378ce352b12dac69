/*
 * PMU (SBI 2.0, 11): the two fixed counters, cycle and instret, and a clear no to everything else: no
 * programmable or firmware counters, no events but these two, no overflow interrupt, no snapshots.
 *
 * These harts have no mcountinhibit. A stopped counter is one whose value nobody asked for: it goes on
 * counting. Filters by privilege mode are hints in the specification, and not followed.
 */
#include "riscv/csr.h"
#include "riscv/sbi/sbi.h"

/* A counter's index is its CSR's distance from `cycle`; index 1, `time`, is no performance counter. */
#define COUNTERS       3
#define COUNTERS_VALID UINT64_C(0x5)
#define COUNTER_WIDTH  64

enum { EVENT_NONE = 0, EVENT_CYCLES = 1, EVENT_INSTRUCTIONS = 2 };
enum { CONFIG_SKIP_MATCH = 1, CONFIG_CLEAR_VALUE = 2, CONFIG_AUTO_START = 4, CONFIG_FLAGS = 0xff };
enum { START_SET_VALUE = 1, START_SNAPSHOT = 2 };
enum { STOP_RESET = 1, STOP_SNAPSHOT = 2 };

/* The mask of counters that base and mask name. */
static enum sbi_error counter_set(uint64_t base, uint64_t mask, uint32_t *set)
{
	if (base >= COUNTERS || (mask & ~(COUNTERS_VALID >> base)))
		return SBI_INVALID_PARAM;
	*set = (uint32_t)(mask << base);
	return SBI_SUCCESS;
}

static void set_value(struct hart *hart, unsigned counter, uint64_t value)
{
	uint64_t *offset = counter == 0 ? &hart->mcycle_offset : &hart->minstret_offset;

	*offset = value - hart->instret;
}

static struct sbi_reply num_counters(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)sbi;
	(void)hart;
	(void)a;
	return sbi_ok(COUNTERS);
}

static struct sbi_reply counter_get_info(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)sbi;
	(void)hart;
	if (a[0] >= COUNTERS || !(COUNTERS_VALID >> a[0] & 1))
		return sbi_fail(SBI_INVALID_PARAM);
	return sbi_ok((CSR_CYCLE + a[0]) | (COUNTER_WIDTH - 1) << 12);
}

/* The counters that can count an event. */
static uint32_t counters_for(uint64_t event, uint64_t data)
{
	if (data)
		return 0;
	return event == EVENT_CYCLES ? 1 << 0 : event == EVENT_INSTRUCTIONS ? 1 << 2 : 0;
}

static struct sbi_reply counter_config_matching(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint64_t flags = a[2];
	uint32_t set = 0;
	unsigned counter;

	(void)sbi;
	if (flags & ~(uint64_t)CONFIG_FLAGS || counter_set(a[0], a[1], &set))
		return sbi_fail(SBI_INVALID_PARAM);
	if (!(flags & CONFIG_SKIP_MATCH))
		set &= counters_for(a[3], a[4]) & ~hart->sbi_pmu_started;
	if (!set)
		return sbi_fail(SBI_NOT_SUPPORTED);
	counter = (unsigned)__builtin_ctz(set);
	if (flags & CONFIG_CLEAR_VALUE)
		set_value(hart, counter, 0);
	if (flags & CONFIG_AUTO_START)
		hart->sbi_pmu_started |= UINT32_C(1) << counter;
	return sbi_ok(counter);
}

static struct sbi_reply counter_start(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint64_t flags = a[2];
	uint32_t set = 0, fresh;

	(void)sbi;
	if (flags & ~(uint64_t)(START_SET_VALUE | START_SNAPSHOT) || counter_set(a[0], a[1], &set))
		return sbi_fail(SBI_INVALID_PARAM);
	if (flags & START_SNAPSHOT)
		return sbi_fail(SBI_NO_SHMEM);
	fresh = set & ~hart->sbi_pmu_started;
	for (unsigned i = 0; i < COUNTERS; i++)
		if ((fresh >> i & 1) && (flags & START_SET_VALUE))
			set_value(hart, i, a[3]);
	hart->sbi_pmu_started |= fresh;
	return fresh == set ? sbi_ok(0) : sbi_fail(SBI_ALREADY_STARTED);
}

static struct sbi_reply counter_stop(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint64_t flags = a[2];
	uint32_t set = 0, running;

	(void)sbi;
	if (flags & ~(uint64_t)(STOP_RESET | STOP_SNAPSHOT) || counter_set(a[0], a[1], &set))
		return sbi_fail(SBI_INVALID_PARAM);
	if (flags & STOP_SNAPSHOT)
		return sbi_fail(SBI_NO_SHMEM);
	running = set & hart->sbi_pmu_started;
	hart->sbi_pmu_started &= ~set;
	return running == set ? sbi_ok(0) : sbi_fail(SBI_ALREADY_STOPPED);
}

/* No index names a firmware counter. */
static struct sbi_reply counter_fw_read(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)sbi;
	(void)hart;
	(void)a;
	return sbi_fail(SBI_INVALID_PARAM);
}

/* FID 7, snapshot_set_shmem, is beyond the table: not supported. */
static sbi_function *const functions[] = {
	num_counters, counter_get_info, counter_config_matching, counter_start,
	counter_stop, counter_fw_read,  counter_fw_read,
};
SBI_EXTENSION(sbi_pmu, 0x504d55);
