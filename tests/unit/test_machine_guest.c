/* A machine and a real engine together: a small guest computes, prints and sleeps while it is paused and moved. */
#include "boot_files.h"

#include <errno.h>
#include <fcntl.h>

#include "machine/load.h"
#include "machine/machine.h"

#define CPUS     3
#define LIVES    20
#define LONG_MS  200000 /* never reached unless something hangs */
#define DOTS     ".........."
#define RESULT   104

/*
 * For M-mode. Hart 0 takes 0x280000 steps of x = x * 1664525 + 1013904223 from 1, prints a dot at every
 * 0x40000th, and ends through the finisher with x >> 25. The others wake up by their timers every half a
 * millisecond and count in s0.
 *
 * li t0, 0x10000000; bnez a0, other; li t1, 0x280000; li t2, 1; li t3, 1664525; li t5, 1013904223 loop:   mul
 * t2, t2, t3; addw t2, t2, t5; slli t4, t1, 46; bnez t4, 1f; li t4, '.'; sb t4, 0(t0) 1:      addi t1, t1, -1;
 * bnez t1, loop; srliw t2, t2, 25; slli t2, t2, 16; li t1, 0x3333; or t2, t2, t1 li t0, 0x100000; sw t2, 0(t0)
 * 2:        j 2b other:     li t0, 0x2000000; slli t1, a0, 3; li t2, 0x4000; add t1, t1, t2; add t1, t1, t0; li
 * t2, 0xbff8 add t0, t0, t2; li t2, 0x80; csrw mie, t2; li t4, 5000 again:    ld t2, 0(t0); add t2, t2, t4; sd
 * t2, 0(t1); wfi; addi s0, s0, 1; j again
 */
static const uint32_t program[] = {
	0x100002b7, 0x04051e63, 0x00280337, 0x00100393, 0x00196e37, 0x60de0e1b, 0x3c6eff37, 0x35ff0f1b, 0x03c383b3,
	0x01e383bb, 0x02e31e93, 0x000e9663, 0x02e00e93, 0x01d28023, 0xfff30313, 0xfe0312e3, 0x0193d39b, 0x01039393,
	0x00003337, 0x3333031b, 0x0063e3b3, 0x001002b7, 0x0072a023, 0x0000006f, 0x020002b7, 0x00351313, 0x000043b7,
	0x00730333, 0x00530333, 0x0000c3b7, 0xff83839b, 0x007282b3, 0x08000393, 0x30439073, 0x00001eb7, 0x388e8e9b,
	0x0002b383, 0x01d383b3, 0x00733023, 0x10500073, 0x00140413, 0xfedff06f,
};
enum { S0 = 8 };

static const struct engine *engine;
static struct boot_directory directory;
static struct machine_config config;
static char log_path[80];

static int setup(void **state)
{
	struct blob code = {.bytes = malloc(sizeof program), .length = sizeof program}, empty = {.bytes = malloc(1)};

	(void)state;
	assert_non_null(code.bytes);
	for (size_t i = 0; i < ARRAY_SIZE(program); i++)
		put32(&code, i * 4, program[i]);
	directory_init(&directory);
	config = (struct machine_config){
		.memory_bytes = 16 * MIB,
		.cpus = CPUS,
		.engine = engine,
		.firmware = directory_add(&directory, "firmware", &code),
		.console = CONSOLE_FILE,
		.console_path = log_path,
	};
	snprintf(log_path, sizeof log_path, "%s", directory_add(&directory, "log", &empty));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	directory_finish(&directory);
	return 0;
}

static struct machine *make(void)
{
	struct machine *machine;
	struct error e;

	if (machine_new(&machine, &config, &e) < 0)
		fail_msg("machine: %s", e.message);
	return machine;
}

static void ok(int r, const struct error *e)
{
	if (r < 0)
		fail_msg("%s", e->message);
}

static const struct hart *hart(struct machine *machine, unsigned index)
{
	return machine_board(machine)->harts->harts[index];
}

static void expect_end(struct machine *machine)
{
	struct machine_outcome outcome;
	struct engine_statistics statistics;
	char printed[64] = "";
	struct error e;
	int fd;

	ok(machine_wait(machine, LONG_MS, &outcome, &e), &e);
	assert_string_equal(outcome.message, "");
	assert_int_equal(outcome.state, MACHINE_STOPPED);
	assert_int_equal(outcome.exit_code, RESULT);
	machine_statistics(machine, &statistics);
	assert_true(statistics.instructions > 0);
	fd = open(log_path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, printed, sizeof printed - 1) >= 0);
	close(fd);
	assert_string_equal(printed, DOTS);
}

/* Lives once from power-on to the end; whether the harts beside the first got to do anything. */
static bool all_harts_run(void)
{
	struct machine *machine = make();
	struct error e;
	bool all;

	ok(machine_start(machine, &e), &e);
	expect_end(machine);
	all = hart(machine, 1)->x[S0] > 0 && hart(machine, 2)->x[S0] > 0;
	machine_free(machine);
	(void)unlink(log_path);
	return all;
}

/* A life is short: a busy host may not give each hart a processor in every one. */
static void test_runs(void **state)
{
	(void)state;
	for (unsigned lives = 0; lives < LIVES; lives++)
		if (all_harts_run())
			return;
	fail_msg("in none of %d lives did all harts run", LIVES);
}

/* Runs for `ms`, unless it ended; false: it did. */
static bool run_for(struct machine *machine, int ms)
{
	struct machine_outcome outcome;
	struct error e;
	int r = machine_wait(machine, ms, &outcome, &e);

	if (r != -ETIMEDOUT)
		ok(r, &e);
	return r == -ETIMEDOUT;
}

static void test_pauses(void **state)
{
	struct machine *machine = make();
	struct error e;

	(void)state;
	ok(machine_start(machine, &e), &e);
	for (unsigned i = 0; i < 100 && run_for(machine, 1); i++) {
		uint64_t ticks, pc[CPUS];
		int r = machine_pause(machine, &e);

		if (r == -EBUSY) /* it ended just now */
			break;
		ok(r, &e);
		ticks = clock_ticks(&machine_board(machine)->clock);
		for (unsigned j = 0; j < CPUS; j++)
			pc[j] = hart(machine, j)->pc;
		usleep(200);
		for (unsigned j = 0; j < CPUS; j++)
			assert_int_equal(hart(machine, j)->pc, pc[j]);
		assert_int_equal(clock_ticks(&machine_board(machine)->clock), ticks);
		ok(machine_resume(machine, &e), &e);
	}
	expect_end(machine);
	machine_free(machine);
}

/* The guest lives on in the new machine; the old one is freed. */
static struct machine *move(struct machine *from)
{
	struct machine *to = make();
	struct state_writer w;
	struct error e;

	state_writer_init(&w);
	ok(machine_save(from, &w, &e), &e);
	ok(machine_load(to, w.bytes, w.length, &e), &e);
	assert_int_equal(clock_ticks(&machine_board(to)->clock), clock_ticks(&machine_board(from)->clock));
	machine_free(from);
	state_writer_finish(&w);
	return to;
}

/* How often it was moved before it ended: not at all, when a fast engine is done before a busy host looks again. */
static unsigned move_while_it_lives(void)
{
	struct machine *machine = make();
	unsigned moves = 0;
	struct error e;

	ok(machine_start(machine, &e), &e);
	do {
		int r = machine_pause(machine, &e);

		if (r == -EBUSY)
			break;
		ok(r, &e);
		machine = move(machine);
		moves++;
		ok(machine_resume(machine, &e), &e);
	} while (moves < 10 && run_for(machine, 1));
	expect_end(machine);
	machine_free(machine);
	(void)unlink(log_path);
	return moves;
}

static void test_moves(void **state)
{
	unsigned moves = 0;

	(void)state;
	for (unsigned lives = 0; lives < LIVES && moves == 0; lives++)
		moves = move_while_it_lives();
	assert_true(moves > 0);
}

static void test_starts_again(void **state)
{
	struct machine *machine = make();
	struct error e;

	(void)state;
	machine = move(machine); /* a machine that never ran can be moved, too */
	assert_int_equal(machine_state(machine), MACHINE_PAUSED);
	ok(machine_resume(machine, &e), &e);
	expect_end(machine);
	machine_free(machine);
}

/* A guest that is looked at, again and again and closely, computes the same. Returns the instructions that were seen: none, when
 * a fast engine is done before a busy host looks. */
static uint64_t profile_while_it_lives(void)
{
	struct machine *machine = make();
	uint64_t seen = 0, elsewhere;
	struct machine_load load;
	size_t count;
	struct error e;

	ok(machine_start(machine, &e), &e);
	for (unsigned i = 0; i < 50 && run_for(machine, 1); i++) {
		struct profile_spot *spots;
		int r = machine_profile_begin(machine, &e);

		if (r == -EBUSY)
			break;
		ok(r, &e);
		assert_int_equal(machine_profile_begin(machine, &e), -EBUSY);
		machine_measure(machine, &load);
		run_for(machine, 2);
		spots = machine_profile_end(machine, &count, &elsewhere);
		for (size_t j = 0; j < count; j++)
			seen += spots[j].instructions;
		free(spots);
	}
	expect_end(machine);
	machine_measure(machine, &load);
	assert_int_equal(load.console_bytes, strlen(DOTS));
	assert_true(load.engine.instructions >= seen);
	assert_true(load.engine.causes[ENGINE_CAUSE_SLICE] > 0);
	machine_free(machine);
	(void)unlink(log_path);
	return seen;
}

static void test_is_profiled_and_measured(void **state)
{
	uint64_t seen = 0;

	(void)state;
	for (unsigned lives = 0; lives < LIVES && seen == 0; lives++)
		seen = profile_while_it_lives();
	assert_true(seen > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Once with each engine that works here. */
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_runs),
		TEST(test_is_profiled_and_measured),
		TEST(test_pauses),
		TEST(test_moves),
		TEST(test_starts_again),
	};
	int failed = 0;

	for (size_t i = 0; engines[i]; i++) {
		struct engine_report report = {.usable = false};

		if (engines[i]->arch == ENGINE_RISCV64)
			engines[i]->probe(&report);
		if (!report.usable)
			continue;
		engine = engines[i];
		failed += cmocka_run_group_tests_name(engine->name, tests, NULL, NULL);
	}
	return failed || !engine;
}
