/* What a machine may use, on an engine whose guest is a function of the test. */
#include "boot_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_engine.h"
#include "machine/ceiling.h"
#include "machine/machine.h"

#define CPUS      2
#define MS        UINT64_C(1000000)
#define SECOND    (1000 * MS)
/* What is promised; code under the thread sanitizer may be away for longer between two looks. */
#ifdef __SANITIZE_THREAD__
#define TOLERANCE 0.06
#else
#define TOLERANCE 0.02
#endif

static struct boot_directory directory;
static struct machine_config config;
static struct block_options disk = {.format = BLOCK_RAW};
static struct machine_nic nics[] = {{.options = {.kind = NET_NONE}}, {.options = {.kind = NET_USER}}};
static char disk_path[96];

static int make_files(void **state)
{
	struct blob image = make_image(100000, 0x200000, 200000), sectors = {.bytes = calloc(1, 65536), .length = 65536};

	(void)state;
	directory_init(&directory);
	snprintf(disk_path, sizeof disk_path, "%s", directory_add(&directory, "disk.raw", &sectors));
	disk.path = disk_path;
	config = (struct machine_config){
		.name = "test",
		.memory_bytes = 16 * MIB,
		.cpus = CPUS,
		.engine = &fake_engine,
		.kernel = directory_add(&directory, "Image", &image),
		.console = CONSOLE_NONE,
		.disks = &disk,
		.disk_count = 1,
		.nics = nics,
		.nic_count = ARRAY_SIZE(nics),
	};
	return 0;
}

static int remove_files(void **state)
{
	(void)state;
	directory_finish(&directory);
	return 0;
}

static void ok(int r, const struct error *e)
{
	if (r < 0)
		fail_msg("%s", e->message);
}

static struct machine *make(unsigned machine_percent, unsigned vcpu_percent)
{
	struct machine *machine;
	struct error e;

	config.quota = (struct machine_quota){machine_percent, vcpu_percent};
	ok(machine_new(&machine, &config, &e), &e);
	return machine;
}

static bool spins(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)out;
	for (unsigned i = 0; i < 1000; i++)
		vcpu->hart->x[5] = vcpu->hart->x[5] * 3 + 1;
	return false;
}

/* Asks to wait until a moment that is there already. */
static bool naps(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	return fake_exit(out, ENGINE_EXIT_IDLE, clock_ticks(vcpu->hart->cluster->clock) + 10);
}

static bool sleeps(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)vcpu;
	return fake_exit(out, ENGINE_EXIT_IDLE, UINT64_MAX);
}

static void start(struct machine *machine, fake_program *guest)
{
	struct error e;

	fake_guest = guest;
	ok(machine_start(machine, &e), &e);
}

static void rest(uint64_t ns)
{
	const struct timespec time = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};

	nanosleep(&time, NULL);
}

static uint64_t machine_ns(struct machine *machine)
{
	struct machine_use use;

	machine_use(machine, &use);
	return use.cpu_ns;
}

static uint64_t most_vcpu_ns(struct machine *machine)
{
	struct machine_use use;

	machine_use(machine, &use);
	return use.vcpu_ns[0] > use.vcpu_ns[1] ? use.vcpu_ns[0] : use.vcpu_ns[1];
}

/* No second of the next few has more than the share. A sample is taken between two looks at the clock, since the
 * host may stop us anywhere. */
static void expect_share(struct machine *machine, uint64_t (*used)(struct machine *machine), double share)
{
	enum { SAMPLES = 100, EVERY_MS = 25 };
	uint64_t before[SAMPLES], after[SAMPLES], sum[SAMPLES];

	for (unsigned to = 0; to < SAMPLES; to++) {
		before[to] = clock_host_ns();
		sum[to] = used(machine);
		after[to] = clock_host_ns();
		for (unsigned from = 0; from < to; from++) {
			double time = (double)(after[to] - before[from]) / 1e9, part;

			if (time < 1 || time > 1.2)
				continue;
			part = (double)(sum[to] - sum[from]) / 1e9 / time;
			if (part > share + TOLERANCE)
				fail_msg("%g of a processor in %g s, %g is allowed", part, time, share);
		}
		rest(EVERY_MS * MS);
	}
}

static void quotas_hold(void **state)
{
	static fake_program *const guests[] = {spins, naps};
	static const unsigned percents[] = {5, 40, 120};

	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(guests); g++)
		for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
			struct machine *machine = make(percents[i], 0);

			start(machine, guests[g]);
			rest(50 * MS);
			expect_share(machine, machine_ns, percents[i] / 100.0);
			machine_free(machine);
		}
}

static void each_vcpu_has_its_quota(void **state)
{
	struct machine *machine = make(0, 30);

	(void)state;
	start(machine, spins);
	expect_share(machine, most_vcpu_ns, 0.3);
	machine_free(machine);
}

static void a_quota_changes_while_it_runs(void **state)
{
	const struct machine_quota quota = {.machine_percent = 10}, none = {0}, wrong = {.vcpu_percent = 101};
	struct machine *machine = make(0, 0);
	struct machine_quota now;
	struct machine_use use;
	struct error e;
	uint64_t turns;

	(void)state;
	start(machine, spins);
	rest(100 * MS);
	ok(machine_set_quota(machine, &quota, &e), &e);
	machine_get_quota(machine, &now);
	assert_int_equal(now.machine_percent, 10);
	assert_int_equal(machine_set_quota(machine, &wrong, &e), -EINVAL);
	expect_share(machine, machine_ns, 0.1);
	machine_use(machine, &use);
	assert_true(use.held_ns > 0);
	ok(machine_set_quota(machine, &none, &e), &e);
	turns = atomic_load(&machine_board(machine)->harts->harts[0]->engine_vcpu->turns);
	for (unsigned i = 0; i < 200; i++)
		rest(MS);
	assert_true(atomic_load(&machine_board(machine)->harts->harts[0]->engine_vcpu->turns) > turns);
	machine_use(machine, &use);
	turns = use.held_ns;
	rest(50 * MS);
	machine_use(machine, &use);
	assert_int_equal(use.held_ns, turns);
	machine_free(machine);
}

/* With a debt of half a minute, which parking, pausing, other limits and the end must not wait for. */
static void who_is_held_can_be_paused_and_freed(void **state)
{
	const struct block_limits limits = {.bytes_per_second = 1000000};
	struct machine *machine = make(1, 0);
	uint64_t before, spent = machine_ns(machine) + 300 * MS;
	struct error e;

	(void)state;
	start(machine, spins);
	while (machine_ns(machine) < spent)
		continue; /* the owner's use counts, too */
	rest(20 * MS);
	before = clock_host_ns();
	ok(machine_set_disk_limits(machine, 0, &limits, &e), &e);
	ok(machine_pause(machine, &e), &e);
	ok(machine_resume(machine, &e), &e);
	machine_free(machine);
	if (clock_host_ns() - before > 10 * SECOND)
		fail_msg("it took %g s", (double)(clock_host_ns() - before) / 1e9);
}

static void sleepers_wake_at_once(void **state)
{
	struct machine *machine = make(20, 0);
	struct hart *hart = machine_board(machine)->harts->harts[1];
	uint64_t least = UINT64_MAX;

	(void)state;
	start(machine, sleeps);
	for (unsigned i = 0; i < 20; i++) {
		unsigned long turns;
		uint64_t before;

		rest(30 * MS);
		turns = atomic_load(&hart->engine_vcpu->turns);
		before = clock_host_ns();
		hart_kick(hart);
		/* Not in a loop without rest: its own use would be the whole machine's share, for good. */
		while (atomic_load(&hart->engine_vcpu->turns) == turns)
			rest(MS / 20);
		if (clock_host_ns() - before < least)
			least = clock_host_ns() - before;
	}
	/* The quickest of many, as the host may be busy. */
	assert_in_range(least, 0, 5 * MS);
	machine_free(machine);
}

static void limits_are_changed(void **state)
{
	const struct block_limits disk_limits = {.operations_per_second = 50, .burst_seconds = 2};
	const struct net_limits nic_limits = {.bytes_per_second = 1000, .packets_per_second = 10};
	struct block_limits disk_now;
	struct net_limits nic_now;
	struct machine *machine = make(0, 0);
	struct error e;

	(void)state;
	start(machine, sleeps);
	ok(machine_set_disk_limits(machine, 0, &disk_limits, &e), &e);
	ok(machine_get_disk_limits(machine, 0, &disk_now, &e), &e);
	assert_int_equal(disk_now.operations_per_second, 50);
	assert_int_equal(machine_set_disk_limits(machine, 1, &disk_limits, &e), -ENOENT);
	assert_string_equal(e.message, "the machine has no disk 1; give 0 to 0");
	ok(machine_set_nic_limits(machine, 1, &nic_limits, &e), &e);
	ok(machine_get_nic_limits(machine, 1, &nic_now, &e), &e);
	assert_int_equal(nic_now.packets_per_second, 10);
	assert_int_equal(machine_set_nic_limits(machine, 2, &nic_limits, &e), -ENOENT);
	assert_int_equal(machine_set_memory(machine, 16 * MIB, &e), -EOPNOTSUPP);
	machine_free(machine);
}

static void memory_is_taken_by_the_balloon(void **state)
{
	struct machine *machine;
	uint64_t bytes, left;
	struct error e;

	(void)state;
	config.balloon = true;
	config.memory_bytes = 32 * MIB;
	machine = make(0, 0);
	config.balloon = false;
	config.memory_bytes = 16 * MIB;
	ok(machine_set_memory(machine, 24 * MIB, &e), &e);
	machine_get_memory(machine, &bytes, &left);
	assert_int_equal(bytes, 32 * MIB);
	assert_int_equal(left, 24 * MIB);
	assert_int_equal(machine_set_memory(machine, 33 * MIB, &e), -EINVAL);
	assert_int_equal(machine_set_memory(machine, MIB, &e), -EINVAL);
	machine_free(machine);
}

static void ports_are_published_while_it_runs(void **state)
{
	struct net_forward tcp = {.guest_port = 22}, udp = {.udp = true, .guest_port = 53}, taken;
	struct machine *machine = make(0, 0);
	const struct net_forward *forwards;
	struct error e;
	unsigned count;

	(void)state;
	start(machine, sleeps);
	ok(machine_publish(machine, &tcp, &e), &e);
	ok(machine_publish(machine, &udp, &e), &e);
	assert_int_not_equal(tcp.host_port, 0);
	forwards = machine_forwards(machine, &count);
	assert_int_equal(count, 2);
	assert_int_equal(forwards[0].host_port, tcp.host_port);
	taken = tcp;
	assert_int_equal(machine_publish(machine, &taken, &e), -EADDRINUSE);
	ok(machine_unpublish(machine, &tcp, &e), &e);
	assert_int_equal(machine_unpublish(machine, &tcp, &e), -ENOENT);
	ok(machine_publish(machine, &taken, &e), &e);
	machine_forwards(machine, &count);
	assert_int_equal(count, 2);
	machine_free(machine);
}

static void room_is_reckoned_before_anything_is_made(void **state)
{
	const struct engine engine = {.vcpu_bytes = 10 * MIB, .cache_copies = 2};
	const uint64_t fixed = 64 * MIB + 2 * 10 * MIB + CEILING_BASE + CEILING_GROWTH;
	struct ceiling ceiling;
	uint64_t cache = 0;
	struct error e;

	(void)state;
	assert_int_equal(ceiling_plan(&ceiling, fixed + 2 * CEILING_CACHE_MIN - 1, 64 * MIB, 2, &engine, &cache, &e), -EINVAL);
	assert_int_equal(e.kind, ERROR_USAGE);
	assert_string_equal(e.message, "a machine of 64M can not be kept within 109M: it may come to use 110M; give it that "
				       "much, or less memory, CPUs or code cache");
	assert_int_equal(cache, 0);
	ok(ceiling_plan(&ceiling, fixed + 20 * MIB, 64 * MIB, 2, &engine, &cache, &e), &e);
	assert_int_equal(cache, 10 * MIB);
	assert_int_equal(ceiling.growth, CEILING_GROWTH);
	ok(ceiling_plan(&ceiling, fixed + 25 * MIB, 64 * MIB, 2, &engine, &cache, &e), &e);
	assert_int_equal(cache, 10 * MIB);
	assert_int_equal(ceiling.growth, CEILING_GROWTH + 5 * MIB);
	cache = 0;
	ok(ceiling_plan(&ceiling, GIB, 64 * MIB, 2, &engine, &cache, &e), &e);
	assert_int_equal(cache, CEILING_CACHE_MAX);
}

static bool can_map(uint64_t bytes)
{
	void *there = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return there != MAP_FAILED && munmap(there, bytes) == 0;
}

/* The limit is for the rest of a process's life: a child's. Exit status 0 when all was as it should be. */
static int live_below_a_ceiling(void)
{
	struct machine *machine;
	struct error e;

	config.memory_max = 16 * MIB + CEILING_BASE + CEILING_GROWTH;
	config.quota = (struct machine_quota){0};
	if (machine_new(&machine, &config, &e) < 0)
		return 1;
	if (!can_map(CEILING_GROWTH / 2) || can_map(CEILING_GROWTH + MIB))
		return 2;
	fake_guest = sleeps;
	if (machine_start(machine, &e) < 0 || machine_pause(machine, &e) < 0)
		return 3;
	machine_free(machine);
	config.memory_max -= MIB;
	return machine_new(&machine, &config, &e) == -EINVAL ? 0 : 4;
}

static void a_machine_lives_below_its_ceiling(void **state)
{
	pid_t child = fork();
	int status = 0;

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(live_below_a_ceiling());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quotas_hold),
		cmocka_unit_test(each_vcpu_has_its_quota),
		cmocka_unit_test(a_quota_changes_while_it_runs),
		cmocka_unit_test(who_is_held_can_be_paused_and_freed),
		cmocka_unit_test(sleepers_wake_at_once),
		cmocka_unit_test(limits_are_changed),
		cmocka_unit_test(memory_is_taken_by_the_balloon),
		cmocka_unit_test(ports_are_published_while_it_runs),
		cmocka_unit_test(room_is_reckoned_before_anything_is_made),
		cmocka_unit_test(a_machine_lives_below_its_ceiling),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
