/* The engine kvm: output that waits in a ring comes whole, in order, and without anyone's help; time that a quota took is told to
 * the guest. */
#include "kvm_bench.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "kvm_guests.h"

static void pause_ms(unsigned ms)
{
	const struct timespec time = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&time, NULL);
}

static void *run_first(void *arg)
{
	struct engine_exit out = bench_run_one(arg, 0);

	return out.reason == ENGINE_EXIT_KICKED ? NULL : arg;
}

static void check_told(struct bench *b, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(b->told[first + i], count - i);
}

#define BYTES 60

GUEST(writes, ".code64\n"
	      "mov $60, %ecx\n"
	      "1: mov %cl, %al\n"
	      "out %al, $0xe9\n"
	      "dec %ecx\n"
	      "jnz 1b\n"
	      "hlt");

/* Then it halts for good: no exit brings them. */
static void write_and_halt(unsigned slow_from)
{
	struct engine_statistics statistics;
	pthread_t thread;
	struct bench b;
	void *failed;

	bench_init(&b, 1, 0);
	b.slow_from = slow_from;
	bench_code(&b, guest_writes, guest_writes_end);
	bench_long(&b);
	bench_load(&b);
	assert_int_equal(pthread_create(&thread, NULL, run_first, &b), 0);
	while (atomic_load(&b.told_count) < BYTES)
		pause_ms(1);
	engine_kvm.statistics(b.vcpus[0], &statistics);
	print_message("# %u bytes by %llu exits for ports\n", BYTES,
		      (unsigned long long)statistics.causes[ENGINE_CAUSE_PORT]);
	engine_kvm.stop(b.vcpus[0]);
	pthread_join(thread, &failed);
	assert_null(failed);
	assert_int_equal(atomic_load(&b.told_count), BYTES);
	check_told(&b, 0, BYTES);
	bench_finish(&b);
}

static void test_nobody_waits(void **state)
{
	(void)state;
	write_and_halt(0);
}

/* The host is so busy that the timer's signal comes while the thread is no longer, or not yet, where the guest runs. */
static void test_late_thread(void **state)
{
	(void)state;
	for (unsigned at = 7; at <= 9; at++)
		write_and_halt(at);
}

GUEST(ends, ".code64\n"
	    "mov $60, %ecx\n"
	    "1: mov %cl, %al\n"
	    "out %al, $0xe9\n"
	    "dec %ecx\n"
	    "jnz 1b\n"
	    "mov $1, %al\n"
	    "out %al, $0xf4");

/* By any other access all are there, and so they are at a run's end: which is how a machine is saved. */
static void test_before_the_end(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_ends, guest_ends_end);
	bench_long(&b);
	bench_load(&b);
	bench_run(&b);
	assert_int_equal(atomic_load(&b.told_count), BYTES);
	check_told(&b, 0, BYTES);
	bench_finish(&b);
}

GUEST(endless, ".code64\n1: out %al, $0xe9\ninc %al\njmp 1b");

/* Whenever it is stopped: one byte after the other, none twice. */
static void test_stopped_amid(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	bench_code(&b, guest_endless, guest_endless_end);
	bench_long(&b);
	b.cpus[0]->registers[X86_RAX] = 0;
	bench_load(&b);
	for (unsigned i = 0; i < 10; i++) {
		unsigned before = atomic_load(&b.told_count), after;
		pthread_t thread;
		struct error e;
		void *failed;

		assert_int_equal(pthread_create(&thread, NULL, run_first, &b), 0);
		while (atomic_load(&b.told_count) < before + 20)
			pause_ms(1);
		engine_kvm.stop(b.vcpus[0]);
		pthread_join(thread, &failed);
		assert_null(failed);
		after = atomic_load(&b.told_count);
		assert_int_equal(engine_kvm.store_state(b.vcpus[0], &e), 0);
		/* All but what the next instructions will write. */
		assert_in_range((uint8_t)(after - (b.cpus[0]->registers[X86_RAX] & 0xff)), 0, 1);
		for (unsigned at = 0; at < 64 && at < after; at++)
			assert_int_equal(b.told[at], at);
	}
	bench_finish(&b);
}

GUEST(asks, ".code64\n"
	    "mov $0x4b564d03, %ecx\n"
	    "mov $0x100001, %eax\n"
	    "xor %edx, %edx\n"
	    "wrmsr\n"
	    "out %al, $0xf4");

static uint64_t stolen_so_far(struct bench *b)
{
	uint64_t value;
	uint32_t version;

	assert_int_equal(memory_read(&b->memory, gpa(DATA_AT), &value, sizeof value), 0);
	assert_int_equal(memory_read(&b->memory, gpa(DATA_AT + 8), &version, sizeof version), 0);
	assert_int_equal(version & 1, 0);
	return value;
}

#define CPUID_KVM_FEATURES 0x40000001u
#define FEATURE_STEAL      (1u << 5)

static void test_stolen(void **state)
{
	const struct x86_cpuid_entry *features;
	uint64_t before;
	struct bench b;

	(void)state;
	bench_init(&b, 1, 0);
	features = x86_cpuid_find(&b.platform->cpuid, CPUID_KVM_FEATURES, 0);
	if (!features || !(features->registers[0] & FEATURE_STEAL)) {
		bench_finish(&b);
		skip();
	}
	assert_false(x86_cpu_type.stolen(&b.cpus[0]->cpu, 1000));
	bench_code(&b, guest_asks, guest_asks_end);
	bench_long(&b);
	bench_load(&b);
	bench_run(&b);
	before = stolen_so_far(&b);
	assert_true(x86_cpu_type.stolen(&b.cpus[0]->cpu, 5000000));
	assert_int_equal(stolen_so_far(&b), before + 5000000);
	bench_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_waits),
		cmocka_unit_test(test_late_thread),
		cmocka_unit_test(test_before_the_end),
		cmocka_unit_test(test_stopped_amid),
		cmocka_unit_test(test_stolen),
	};

	if (!bench_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
