/* DBCN and the legacy console, with good and bad ranges; STA and PMU from within. */
#include "supervisor.h"

static const char text[] = "console: through DBCN\n";

static void bad_ranges(unsigned function)
{
	uint64_t good = (uint64_t)text;

	context("DBCN function", function, 0, 0);
	expect(SBI(DBCN, function, 1, good, 1), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, 1, good, -1), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, 1, HOLE, 0), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, 1, UART, 0), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, 1, 0, 0), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, 2, -1, 0), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, -1, good, 0), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, BIT(62), good, 0), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, 0 - good + 1, good, 0), INVALID_PARAM, 0);
	expect(SBI(DBCN, function, 2, 0x7fffffff, 0), INVALID_PARAM, 0);
}

static void console(void)
{
	char got[16] = {0};

	expect(SBI(DBCN, 0, sizeof(text) - 1, text, 0), OK, sizeof(text) - 1);
	expect(SBI(DBCN, 0, 0, text, 0), OK, 0);
	expect(SBI(DBCN, 2, '.'), OK, 0);
	expect(SBI(DBCN, 2, '\n'), OK, 0);
	/* There may be input or not. */
	check(SBI(DBCN, 1, sizeof(got), got, 0).value <= sizeof(got), 1);
	for (unsigned function = 0; function < 2; function++)
		bad_ranges(function);
	expect(SBI(DBCN, 3), NOT_SUPPORTED, 0);
}

static void legacy(void)
{
	context("legacy", 0, 0, 0);
	for (const char *at = "legacy\n"; *at; at++)
		check(SBI(1, 0, *at, 0xa1).error, 0);
	check(SBI(1, 0, '\n', 0xa1).value, 0xa1);
	check(SBI(2, 0).error >= -1, 1);
}

static volatile struct {
	uint32_t sequence, flags;
	uint64_t steal;
	uint8_t rest[48];
} area __attribute__((aligned(64)));

static void steal_time(void)
{
	uint64_t at = (uint64_t)&area;

	context("steal time", 0, 0, 0);
	area.flags = 5;
	area.rest[47] = 1;
	expect(SBI(STA, 0, at, 0, 0), OK, 0);
	check(area.flags, 0);
	check(area.rest[47], 0);
	check(area.sequence & 1, 0);
	expect(SBI(STA, 0, at, 0, 1), INVALID_PARAM, 0);
	expect(SBI(STA, 0, at + 8, 0, 0), INVALID_PARAM, 0);
	expect(SBI(STA, 0, at, 1, 0), INVALID_ADDRESS, 0);
	expect(SBI(STA, 0, HOLE, 0, 0), INVALID_ADDRESS, 0);
	expect(SBI(STA, 0, 0, 0, 0), INVALID_ADDRESS, 0);
	expect(SBI(STA, 0, -64, 0, 0), INVALID_ADDRESS, 0);
	expect(SBI(STA, 0, -1, -1, 0), OK, 0);
}

static void counters(void)
{
	context("counters", 0, 0, 0);
	expect(SBI(PMU, 0), OK, 3);
	expect(SBI(PMU, 1, 0), OK, 0xc00 | 63 << 12);
	expect(SBI(PMU, 1, 1), INVALID_PARAM, 0);
	expect(SBI(PMU, 1, 2), OK, 0xc02 | 63 << 12);
	expect(SBI(PMU, 1, -1), INVALID_PARAM, 0);
	expect(SBI(PMU, 2, 0, 5, 0, 2, 0), OK, 2);
	expect(SBI(PMU, 2, 0, 5, 0, 3, 0), NOT_SUPPORTED, 0);
	expect(SBI(PMU, 2, 0, -1, 0, 2, 0), INVALID_PARAM, 0);
	expect(SBI(PMU, 3, 2, 1, 1, BIT(50)), OK, 0);
	check(csr_read(instret) >> 50, 1);
	expect(SBI(PMU, 3, 2, 1, 0, 0), ALREADY_STARTED, 0);
	expect(SBI(PMU, 4, 2, 1, 0), OK, 0);
	expect(SBI(PMU, 4, 2, 1, 0), ALREADY_STOPPED, 0);
	expect(SBI(PMU, 4, 2, 1, 2), NO_SHMEM, 0);
	expect(SBI(PMU, 5, 0), INVALID_PARAM, 0);
	expect(SBI(PMU, 7, 0), NOT_SUPPORTED, 0);
}

int main(void)
{
	legacy();
	if (has(DBCN))
		console();
	if (has(STA))
		steal_time();
	if (on_doppel())
		counters();
	return 0;
}
