/* Samples of harts become places, by mode and address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "machine/profile.h"

static struct hart harts[2];
static struct hart_cluster cluster;

static void at(unsigned index, uint64_t pc, enum riscv_privilege priv, uint64_t instructions)
{
	harts[index].pc = pc;
	harts[index].priv = (uint8_t)priv;
	hart_sample(&harts[index], instructions);
}

static struct profile *begin(void)
{
	struct profile *profile = NULL;

	cluster = (struct hart_cluster){.count = 2};
	for (unsigned i = 0; i < 2; i++)
		harts[i] = (struct hart){.cpu = {.id = i}, .cluster = &cluster};
	assert_int_equal(profile_new(&profile, &cluster, NULL), 0);
	return profile;
}

static void test_places_are_merged(void **state)
{
	struct profile *profile = begin();
	struct profile_spot *spots;
	uint64_t elsewhere;
	size_t count;
	(void)state;

	at(0, 0x1002, PRIV_S, 5);
	at(0, 0x100e, PRIV_S, 7);
	at(1, 0x1000, PRIV_S, 11);
	at(1, 0x1000, PRIV_U, 13);
	at(1, 0x1010, PRIV_S, 17);
	spots = profile_spots(profile, &count, &elsewhere);
	assert_non_null(spots);
	assert_int_equal(count, 3);
	assert_int_equal(elsewhere, 0);
	assert_int_equal(spots[0].priv, PRIV_U);
	assert_int_equal(spots[0].instructions, 13);
	assert_int_equal(spots[1].pc, 0x1000);
	assert_int_equal(spots[1].instructions, 23);
	assert_int_equal(spots[2].pc, 0x1010);
	assert_int_equal(spots[2].instructions, 17);
	free(spots);
	profile_free(profile);
}

/* More places than there is room for: none is lost from the sum. */
static void test_nothing_is_lost(void **state)
{
	struct profile *profile = begin();
	uint64_t elsewhere, sum = 0;
	struct profile_spot *spots;
	size_t count;
	(void)state;

	for (uint64_t i = 0; i < 100000; i++)
		at(0, i * 64, PRIV_M, 3);
	spots = profile_spots(profile, &count, &elsewhere);
	assert_non_null(spots);
	for (size_t i = 0; i < count; i++)
		sum += spots[i].instructions;
	assert_true(elsewhere > 0);
	assert_int_equal(sum + elsewhere, 300000);
	free(spots);
	profile_free(profile);
	assert_null(cluster.sample);
	profile_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_places_are_merged),
					   cmocka_unit_test(test_nothing_is_lost)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
