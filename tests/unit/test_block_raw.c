/* Raw images, through the ring and through threads; formats and locks. */
#include "block_bench.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/clock.h"

#define SIZE (4 * MIB)

static const enum block_engine engines[] = {BLOCK_ENGINE_AUTO, BLOCK_ENGINE_THREADS};

static void make_raw(const struct bench *bench, const char *name, off_t size)
{
	int fd = open(bench_path(bench, name), O_RDWR | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void write_read(enum block_engine engine)
{
	static uint8_t bytes[256 * KIB], back[256 * KIB];
	struct bench bench;
	uint64_t state = 7;

	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw"), .engine = engine});
	assert_int_equal(block_size(bench.block), SIZE);
	bench_fill(bytes, sizeof bytes, &state);
	assert_int_equal(bench_do(&bench, BLOCK_WRITE, 512, bytes, sizeof bytes), 0);
	assert_int_equal(bench_do(&bench, BLOCK_READ, 512, back, sizeof back), 0);
	bench_compare(back, bytes, sizeof back, "what was written");
	assert_int_equal(bench_do(&bench, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(bench_do(&bench, BLOCK_ZERO, 1024, NULL, 4096), 0);
	memset(bytes + 512, 0, 4096);
	assert_int_equal(bench_do(&bench, BLOCK_DISCARD, 65536, NULL, 65536), 0);
	memset(bytes + 65536 - 512, 0, 65536);
	assert_int_equal(bench_do(&bench, BLOCK_READ, 512, back, sizeof back), 0);
	bench_compare(back, bytes, sizeof back, "after zero and discard");
	assert_int_equal(bench_do(&bench, BLOCK_READ, SIZE - 512, back, 1024), -EINVAL);
	assert_int_equal(bench_do(&bench, BLOCK_READ, 100, back, 512), -EINVAL);
	bench_finish(&bench);
}

static void test_write_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		write_read(engines[i]);
}

/* As a container may have it: io_uring_setup is not permitted. */
static void forbid_ring(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(2);
}

/* 0: it went on with threads, and the ring alone is refused. In a child. */
static int without_ring(struct bench *bench)
{
	static uint8_t bytes[4096] = {1, 2, 3}, back[4096];
	struct block_options options = {.path = bench_path(bench, "a.raw")};
	struct error e;

	forbid_ring();
	if (block_open(&bench->block, &options, &e) < 0 || block_attach(bench->block, bench->loop, &e) < 0)
		return 3;
	if (bench_do(bench, BLOCK_WRITE, 0, bytes, sizeof bytes) ||
	    bench_do(bench, BLOCK_READ, 0, back, sizeof back))
		return 4;
	if (memcmp(bytes, back, sizeof back) != 0 || block_close(bench->block, &e) < 0)
		return 5;
	options.engine = BLOCK_ENGINE_URING;
	if (block_open(&bench->block, &options, &e) < 0)
		return 6;
	return block_attach(bench->block, bench->loop, &e) == -EPERM ? 0 : 7;
}

static void test_ring_forbidden(void **state)
{
	struct bench bench;
	int status;
	pid_t child;

	(void)state;
	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	child = fork();
	if (child == 0)
		_exit(without_ring(&bench));
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the child ended with status 0x%x", status);
	bench_finish(&bench);
}

static void test_discard_gives_room_back(void **state)
{
	static uint8_t bytes[MIB];
	struct bench bench;
	struct stat before, after;

	(void)state;
	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw")});
	memset(bytes, 1, sizeof bytes);
	assert_int_equal(bench_do(&bench, BLOCK_WRITE, 0, bytes, sizeof bytes), 0);
	assert_int_equal(bench_do(&bench, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(stat(bench_path(&bench, "a.raw"), &before), 0);
	assert_int_equal(bench_do(&bench, BLOCK_DISCARD, 0, NULL, sizeof bytes), 0);
	assert_int_equal(stat(bench_path(&bench, "a.raw"), &after), 0);
	if (after.st_blocks >= before.st_blocks)
		fail_msg("%ld blocks before, %ld after", (long)before.st_blocks, (long)after.st_blocks);
	bench_finish(&bench);
}

/* Many requests in many pieces at once, submitted from completions. */
#define FLIGHT 64
struct flight {
	struct bench *bench;
	struct block_request requests[FLIGHT];
	struct iovec spans[FLIGHT][4];
	uint8_t *bytes;
	unsigned begun, ended;
};

static void flight_next(struct flight *flight, struct block_request *request)
{
	size_t slot = (size_t)(request - flight->requests);
	uint64_t at = (uint64_t)flight->begun++ * 4096 % SIZE;

	for (unsigned i = 0; i < 4; i++)
		flight->spans[slot][i] = (struct iovec){flight->bytes + at + i * 1024, 1024};
	request->offset = at;
	request->length = 4096;
	block_submit(flight->bench->block, request);
}

static void flight_done(struct block_request *request, int result)
{
	struct flight *flight = request->owner;

	assert_int_equal(result, 0);
	flight->ended++;
	if (flight->begun < SIZE / 4096)
		flight_next(flight, request);
	else if (flight->ended == flight->begun)
		loop_quit(flight->bench->loop);
}

static void fly(struct flight *flight, enum block_operation operation)
{
	flight->begun = flight->ended = 0;
	block_begin(flight->bench->block);
	for (unsigned i = 0; i < FLIGHT; i++) {
		flight->requests[i] = (struct block_request){.operation = operation,
							     .spans = flight->spans[i],
							     .span_count = 4,
							     .done = flight_done,
							     .owner = flight};
		flight_next(flight, &flight->requests[i]);
	}
	block_commit(flight->bench->block);
	while (flight->ended < SIZE / 4096)
		assert_int_equal(loop_run(flight->bench->loop, 60000), 0);
}

static void many_in_flight(enum block_engine engine)
{
	static uint8_t bytes[SIZE], copy[SIZE];
	static struct flight flight;
	struct block_statistics statistics;
	struct bench bench;
	uint64_t random = 99;

	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw"), .engine = engine});
	bench_fill(bytes, sizeof bytes, &random);
	memcpy(copy, bytes, sizeof copy);
	flight.bench = &bench;
	flight.bytes = bytes;
	fly(&flight, BLOCK_WRITE);
	memset(bytes, 0xee, sizeof bytes);
	fly(&flight, BLOCK_READ);
	bench_compare(bytes, copy, sizeof copy, "in pieces");
	block_get_statistics(bench.block, &statistics);
	assert_int_equal(statistics.operations[BLOCK_WRITE], SIZE / 4096);
	assert_int_equal(statistics.bytes_read, SIZE);
	assert_int_equal(statistics.in_flight, 0);
	assert_true(statistics.in_flight_max > 1);
	bench_finish(&bench);
}

static void test_many_in_flight(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		many_in_flight(engines[i]);
}

static void expect_refusal(const struct bench *bench, const struct block_options *options, int code,
			   const char *hint)
{
	struct block *block = NULL;
	struct error e = {0};
	int r = block_open(&block, options, &e);

	(void)bench;
	if (r != code)
		fail_msg("%d (%s), not %d", r, e.message, code);
	if (!strstr(e.message, hint))
		fail_msg("\"%s\" does not say \"%s\"", e.message, hint);
}

static void test_format_is_not_guessed(void **state)
{
	struct bench bench;
	int fd;

	(void)state;
	bench_init(&bench);
	make_raw(&bench, "disk", SIZE);
	make_raw(&bench, "a.raw", SIZE);
	make_raw(&bench, "a.qcow2", SIZE);
	expect_refusal(&bench, &(struct block_options){.path = bench_path(&bench, "disk")}, -EINVAL, "format=raw");
	expect_refusal(&bench, &(struct block_options){.path = bench_path(&bench, "a.qcow2")}, -EINVAL,
		       "format=qcow2");
	fd = open(bench_path(&bench, "a.raw"), O_WRONLY);
	assert_int_equal(write(fd, "QFI\xfb", 4), 4);
	close(fd);
	expect_refusal(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw")}, -EINVAL,
		       "format=raw");
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw"), .format = BLOCK_RAW});
	bench_close(&bench);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "disk"), .read_only = true});
	assert_true(block_read_only(bench.block));
	bench_finish(&bench);
}

static void test_locks(void **state)
{
	struct bench bench;
	struct block_options writer = {0}, reader = {0};
	struct block *second = NULL;
	struct error e;

	(void)state;
	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	writer.path = reader.path = bench_path(&bench, "a.raw");
	reader.read_only = true;
	bench_open(&bench, &writer);
	expect_refusal(&bench, &writer, -EBUSY, "in use");
	expect_refusal(&bench, &reader, -EBUSY, "in use");
	bench_close(&bench);
	bench_open(&bench, &reader);
	bench_check(block_open(&second, &reader, &e), &e, "second reader");
	expect_refusal(&bench, &writer, -EBUSY, "in use");
	assert_int_equal(block_close(second, NULL), 0);
	bench_close(&bench);
	bench_open(&bench, &writer);
	if (bench_shell("command -v qemu-io >/dev/null") == 0)
		assert_int_not_equal(
			bench_shell("qemu-io -f raw -c 'read 0 512' '%s' >/dev/null 2>&1", writer.path), 0);
	bench_finish(&bench);
}

/* The open file of a killed process may live a little longer than the process. */
static void test_lock_outlives_its_process(void **state)
{
	const struct timespec moment = {.tv_nsec = 100000000};
	struct bench bench;
	pid_t child;

	(void)state;
	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw")});
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		nanosleep(&moment, NULL);
		_exit(0);
	}
	bench_close(&bench);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw")});
	assert_int_equal(waitpid(child, NULL, 0), child);
	bench_finish(&bench);
}

/* A file that somebody cuts: what is gone is an error, for good, and the rest is as before. */
static void test_cut(void **state)
{
	static uint8_t bytes[64 * KIB];
	struct bench bench;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		bench_init(&bench);
		make_raw(&bench, "a.raw", SIZE);
		bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw"), .engine = engines[i]});
		memset(bytes, 0x5a, sizeof bytes);
		assert_int_equal(bench_do(&bench, BLOCK_WRITE, 0, bytes, sizeof bytes), 0);
		assert_int_equal(bench_do(&bench, BLOCK_WRITE, SIZE - sizeof bytes, bytes, sizeof bytes), 0);
		assert_int_equal(truncate(bench_path(&bench, "a.raw"), 32 * KIB), 0);
		assert_int_equal(bench_do(&bench, BLOCK_READ, 0, bytes, 16 * KIB), 0);
		assert_int_equal(bytes[0], 0x5a);
		assert_int_equal(bench_do(&bench, BLOCK_READ, 0, bytes, sizeof bytes), -ESTALE);
		assert_int_equal(bench_do(&bench, BLOCK_READ, SIZE - sizeof bytes, bytes, sizeof bytes), -ESTALE);
		assert_int_equal(bench_do(&bench, BLOCK_WRITE, SIZE - sizeof bytes, bytes, sizeof bytes), -ESTALE);
		assert_int_equal(truncate(bench_path(&bench, "a.raw"), SIZE), 0);
		assert_int_equal(bench_do(&bench, BLOCK_READ, 64 * KIB, bytes, sizeof bytes), -ESTALE);
		assert_int_equal(bench_do(&bench, BLOCK_WRITE, 0, bytes, 32 * KIB), 0);
		bench_finish(&bench);
	}
}

static void test_limits(void **state)
{
	static uint8_t bytes[64 * KIB];
	struct block_statistics statistics;
	struct bench bench;
	uint64_t begun;

	(void)state;
	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw"),
						   .limits = {.bytes_per_second = MIB, .burst_seconds = 0.0625}});
	begun = clock_host_ns();
	/* The burst, then a debt of two requests: an eighth of a second at least. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(bench_do(&bench, BLOCK_WRITE, 0, bytes, sizeof bytes), 0);
	begun = clock_host_ns() - begun;
	if (begun < 120000000)
		fail_msg("four requests took %llu ns, not 125 ms", (unsigned long long)begun);
	block_get_statistics(bench.block, &statistics);
	assert_true(statistics.throttled_ns > 100000000);
	block_set_limits(bench.block, &(struct block_limits){0});
	assert_int_equal(bench_do(&bench, BLOCK_WRITE, 0, bytes, sizeof bytes), 0);
	bench_finish(&bench);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void nothing(struct block_request *request, int result)
{
	*(int *)request->owner = result;
}

static void test_drain(void **state)
{
	static uint8_t bytes[64 * KIB];
	struct iovec span = {bytes, sizeof bytes};
	struct bench bench;
	bool drained = false;
	int result = 1;
	struct block_request request = {.operation = BLOCK_WRITE,
					.length = sizeof bytes,
					.spans = &span,
					.span_count = 1,
					.done = nothing,
					.owner = &result};

	(void)state;
	bench_init(&bench);
	make_raw(&bench, "a.raw", SIZE);
	bench_open(&bench,
		   &(struct block_options){.path = bench_path(&bench, "a.raw"), .engine = BLOCK_ENGINE_THREADS});
	block_drain(bench.block, set_flag, &drained);
	assert_true(drained);
	drained = false;
	block_submit(bench.block, &request);
	block_drain(bench.block, set_flag, &drained);
	for (int i = 0; i < 1000 && !drained; i++)
		assert_int_equal(loop_run(bench.loop, 10), -ETIMEDOUT);
	assert_true(drained);
	assert_int_equal(result, 0);
	bench_finish(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_read),     cmocka_unit_test(test_discard_gives_room_back),
		cmocka_unit_test(test_many_in_flight), cmocka_unit_test(test_format_is_not_guessed),
		cmocka_unit_test(test_locks),          cmocka_unit_test(test_limits),
		cmocka_unit_test(test_drain),          cmocka_unit_test(test_ring_forbidden),
		cmocka_unit_test(test_cut),            cmocka_unit_test(test_lock_outlives_its_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
