/* The measurement of /dev/kvm: bounded in time, coherent in what it tells, whatever this host is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/kvm/probe.h"

/* Making and removing a virtual machine comes on top of the limit, and the test's host may be busy. */
#define SLACK_MS 20000

static void test_bounded(void **state)
{
	uint64_t start = clock_host_ns();
	struct kvm_probe probe;

	(void)state;
	kvm_probe(&probe);
	assert_in_range((clock_host_ns() - start) / 1000000, 0, KVM_PROBE_LIMIT_MS + SLACK_MS);
}

static void test_coherent(void **state)
{
	struct kvm_probe probe;
	bool slow = false;

	(void)state;
	kvm_probe(&probe);
	for (unsigned mode = 0; mode < KVM_PROBE_MODES; mode++)
		slow |= probe.rate[mode] < KVM_PROBE_REAL_RATE;
	switch (probe.verdict) {
	case KVM_WORKS:
		assert_false(slow);
		assert_int_equal(probe.error, 0);
		break;
	case KVM_EMULATES:
		assert_true(slow);
		assert_int_equal(probe.error, 0);
		for (unsigned mode = 0; mode < KVM_PROBE_MODES; mode++)
			assert_in_range(probe.rate[mode], 1000, UINT64_MAX);
		break;
	default:
		assert_true(slow);
		assert_in_range(-probe.error, 1, 4095);
		assert_non_null(probe.step);
	}
}

/* No child and no descriptor outlives the probe. */
static void test_leaves_nothing(void **state)
{
	struct kvm_probe probe;
	int before = dup(0), after;

	(void)state;
	close(before);
	kvm_probe(&probe);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_coherent),
		cmocka_unit_test(test_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
