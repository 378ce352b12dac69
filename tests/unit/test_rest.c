/* When a machine is idle enough to give back what its engine can make again, on a clock of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "machine/rest.h"

#define SECOND UINT64_C(1000000000)

struct world {
	struct rest rest;
	uint64_t now, used;
};

static struct world begin(void)
{
	struct world world = {.now = 5 * SECOND, .used = SECOND};

	rest_begin(&world.rest, world.now, world.used);
	return world;
}

/* So many seconds, a tick in each, of which one part in `parts` is used (0: nothing). Returns how often it was due. */
static unsigned pass(struct world *world, unsigned seconds, unsigned parts)
{
	unsigned due = 0;

	for (unsigned i = 0; i < seconds; i++) {
		world->now += SECOND;
		world->used += parts ? SECOND / parts : 0;
		due += rest_is_due(&world->rest, world->now, world->used);
	}
	return due;
}

static void an_idle_machine_rests_ever_more_rarely(void **state)
{
	struct world world = begin();

	(void)state;
	assert_int_equal(pass(&world, 29, 0), 0);
	assert_int_equal(pass(&world, 1, 0), 1);
	assert_int_equal(pass(&world, 59, 200), 0);
	assert_int_equal(pass(&world, 1, 200), 1);
	assert_int_equal(pass(&world, 119, 0), 0);
	assert_int_equal(pass(&world, 1, 0), 1);
	/* In the end once in 32 minutes. */
	(void)pass(&world, 10000, 0);
	assert_int_equal(pass(&world, 10 * 1920, 0), 10);
}

static void a_busy_machine_does_not(void **state)
{
	struct world world = begin();

	(void)state;
	assert_int_equal(pass(&world, 1000, 90), 0);
	assert_int_equal(pass(&world, 1000, 1), 0);
	/* Work amid a span makes all of it busy. */
	assert_int_equal(pass(&world, 10 * 60, 0) > 1, 1);
	world = begin();
	assert_int_equal(pass(&world, 20, 0) + pass(&world, 1, 1) + pass(&world, 9, 0), 0);
}

static void work_makes_the_next_rest_come_soon(void **state)
{
	struct world world = begin();

	(void)state;
	(void)pass(&world, 10000, 0);
	(void)pass(&world, 2000, 2);
	assert_int_equal(pass(&world, 61, 0) >= 1, 1);
}

static void going_on_begins_a_span(void **state)
{
	struct world world = begin();

	(void)state;
	(void)pass(&world, 29, 0);
	rest_begin(&world.rest, world.now, world.used);
	assert_int_equal(pass(&world, 29, 0), 0);
	assert_int_equal(pass(&world, 1, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_machine_rests_ever_more_rarely),
		cmocka_unit_test(a_busy_machine_does_not),
		cmocka_unit_test(work_makes_the_next_rest_come_soon),
		cmocka_unit_test(going_on_begins_a_span),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
