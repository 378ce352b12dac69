/* Shares of processor time, on a clock of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/types.h"
#include "machine/budget.h"

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define LOOKS  200000

/* A worker that uses `speed` processors whenever the budget is not spent, looked at as late as `late_ns`. */
struct world {
	struct budget budget;
	uint64_t now, used;
	double speed;
	uint64_t late_ns;
	uint64_t at[LOOKS], sum[LOOKS]; /* use over time */
	unsigned count;
};

static void pass(struct world *world, uint64_t ns)
{
	if (!world->budget.spent)
		world->used += (uint64_t)((double)ns * world->speed);
	world->now += ns;
	world->at[world->count] = world->now;
	world->sum[world->count++] = world->used;
	budget_look(&world->budget, world->now, world->used);
}

static void run_for(struct world *world, uint64_t ns)
{
	uint64_t end = world->now + ns;

	while (world->now < end) {
		uint64_t next = budget_next(&world->budget, world->speed);

		assert_true(world->count < LOOKS);
		pass(world, next + (world->late_ns ? (uint64_t)rand() % world->late_ns : 0));
	}
}

/* The most that was used in any window of a second that begins and ends at looks, as a share. */
static double worst_second(const struct world *world)
{
	double worst = 0;
	unsigned from = 0;

	for (unsigned to = 0; to < world->count; to++) {
		while (world->at[to] - world->at[from] > SECOND)
			from++;
		if ((double)(world->sum[to] - world->sum[from]) > worst * (double)SECOND)
			worst = (double)(world->sum[to] - world->sum[from]) / (double)SECOND;
	}
	return worst;
}

static void any_second_has_its_share(void **state)
{
	static const double shares[] = {0.01, 0.05, 0.4, 0.99, 1.5, 3};
	struct world *world = malloc(sizeof *world);

	(void)state;
	assert_non_null(world);
	for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
		double most = shares[i] + 0.02, mean;

		*world = (struct world){.now = SECOND, .speed = 4, .late_ns = MS};
		budget_init(&world->budget, shares[i], world->now, 0);
		run_for(world, 10 * SECOND);
		mean = (double)world->used / (double)(world->now - SECOND);
		if (worst_second(world) > most || mean < shares[i] * 0.98)
			fail_msg("share %g: worst second %g, at most %g; mean %g", shares[i], worst_second(world), most,
				 mean);
	}
	free(world);
}

/* Use that comes and goes gains nothing by resting. */
static void rest_is_not_saved_up(void **state)
{
	struct world *world = malloc(sizeof *world);

	(void)state;
	assert_non_null(world);
	*world = (struct world){.now = SECOND, .speed = 1};
	budget_init(&world->budget, 0.4, world->now, 0);
	for (unsigned i = 0; i < 20; i++) {
		world->speed = 0;
		pass(world, SECOND / 3);
		world->speed = 1;
		run_for(world, SECOND / 2);
	}
	if (worst_second(world) > 0.42)
		fail_msg("worst second %g, at most 0.42", worst_second(world));
	free(world);
}

static void what_was_used_beyond_is_owed(void **state)
{
	struct budget budget;

	(void)state;
	budget_init(&budget, 0.5, SECOND, 0);
	budget_look(&budget, SECOND, 108 * MS);
	assert_true(budget.spent);
	assert_int_equal(budget_next(&budget, 1), 208 * MS + 1);
	budget_look(&budget, SECOND + 207 * MS, 108 * MS);
	assert_true(budget.spent);
	budget_look(&budget, SECOND + 208 * MS, 108 * MS);
	assert_false(budget.spent);
}

static void a_debt_is_paid_in_time(void **state)
{
	struct budget budget;

	(void)state;
	budget_init(&budget, 0.1, SECOND, 0);
	budget_look(&budget, SECOND, 1000 * SECOND);
	budget_look(&budget, SECOND + BUDGET_DEBT_NS / 2, 1000 * SECOND);
	assert_true(budget.spent);
	budget_look(&budget, SECOND + BUDGET_DEBT_NS + SECOND / 10, 1000 * SECOND);
	assert_false(budget.spent);
}

static void without_a_share_it_is_never_spent(void **state)
{
	struct budget budget;

	(void)state;
	budget_init(&budget, 0, SECOND, 0);
	budget_look(&budget, 2 * SECOND, 100 * SECOND);
	assert_false(budget.spent);
	budget_set(&budget, 0.5, 2 * SECOND, 100 * SECOND);
	assert_false(budget.spent);
	budget_look(&budget, 3 * SECOND, 102 * SECOND);
	assert_true(budget.spent);
	budget_set(&budget, 0, 3 * SECOND, 102 * SECOND);
	assert_false(budget.spent);
}

static void another_share_keeps_the_debt(void **state)
{
	struct budget budget;

	(void)state;
	budget_init(&budget, 0.5, SECOND, 0);
	budget_look(&budget, SECOND, SECOND);
	assert_true(budget.spent);
	budget_set(&budget, 0.9, SECOND, SECOND);
	assert_true(budget.spent);
	budget_look(&budget, 2 * SECOND, SECOND);
	assert_true(budget.spent);
	budget_look(&budget, 2 * SECOND + 200 * MS, SECOND);
	assert_false(budget.spent);
}

/* The clock of a thread that ended reads 0. */
static void a_reading_that_falls_counts_nothing(void **state)
{
	struct budget budget;

	(void)state;
	budget_init(&budget, 0.5, SECOND, 10 * SECOND);
	budget_look(&budget, SECOND + MS, 0);
	assert_false(budget.spent);
	budget_look(&budget, SECOND + 2 * MS, MS);
	assert_false(budget.spent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_second_has_its_share),
		cmocka_unit_test(rest_is_not_saved_up),
		cmocka_unit_test(what_was_used_beyond_is_owed),
		cmocka_unit_test(a_debt_is_paid_in_time),
		cmocka_unit_test(without_a_share_it_is_never_spent),
		cmocka_unit_test(another_share_keeps_the_debt),
		cmocka_unit_test(a_reading_that_falls_counts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
