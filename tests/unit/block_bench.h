/* A block with its loop, used as if requests were calls; a folder of its own for images. */
#ifndef DOPPEL_TESTS_BLOCK_BENCH_H
#define DOPPEL_TESTS_BLOCK_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/block.h"

#define BENCH_PATH 512

struct bench {
	struct loop *loop;
	struct block *block;
	char folder[BENCH_PATH / 2];
};

static inline void bench_check(int r, const struct error *e, const char *what)
{
	if (r < 0)
		fail_msg("%s: %d: %s", what, r, e->message);
}

static inline void bench_init(struct bench *bench)
{
	const char *folder = getenv("TMPDIR");
	struct error e;

	memset(bench, 0, sizeof *bench);
	/* Memory where there is some: most tests care about order on a disk, not about its pace. */
	if (!folder || !*folder)
		folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/var/tmp";
	snprintf(bench->folder, sizeof bench->folder, "%s/block-XXXXXX", folder);
	assert_non_null(mkdtemp(bench->folder));
	bench_check(loop_new(&bench->loop, &e), &e, "loop");
}

static inline const char *bench_path(const struct bench *bench, const char *name)
{
	static char paths[16][BENCH_PATH];
	static unsigned turn;
	char *path = paths[turn++ % 16];

	snprintf(path, BENCH_PATH, "%s/%s", bench->folder, name);
	return path;
}

static inline void bench_open(struct bench *bench, const struct block_options *options)
{
	struct error e;

	bench_check(block_open(&bench->block, options, &e), &e, "open");
	bench_check(block_attach(bench->block, bench->loop, &e), &e, "attach");
}

static inline void bench_close(struct bench *bench)
{
	struct error e;

	bench_check(block_close(bench->block, &e), &e, "close");
	bench->block = NULL;
}

static inline int bench_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int bench_shell(const char *format, ...)
{
	char command[2048];
	va_list arguments;
	int status;

	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void bench_finish(struct bench *bench)
{
	if (bench->block)
		bench_close(bench);
	loop_free(bench->loop);
	assert_int_equal(bench_shell("rm -rf '%s'", bench->folder), 0);
}

struct bench_call {
	struct block_request request;
	struct loop *loop;
	int result;
	bool done;
};

static inline void bench_called(struct block_request *request, int result)
{
	struct bench_call *call = request->owner;

	call->result = result;
	call->done = true;
	loop_quit(call->loop);
}

static inline int bench_do(struct bench *bench, enum block_operation operation, uint64_t offset, void *bytes,
			   uint64_t length)
{
	struct iovec span = {bytes, length};
	struct bench_call call = {
		.request = {.operation = operation,
			    .unmap = true,
			    .offset = offset,
			    .length = length,
			    .spans = &span,
			    .span_count = 1,
			    .done = bench_called},
		.loop = bench->loop,
	};

	call.request.owner = &call;
	block_submit(bench->block, &call.request);
	while (!call.done)
		assert_int_equal(loop_run(bench->loop, 60000), 0);
	return call.result;
}

static inline uint64_t bench_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void bench_fill(uint8_t *bytes, size_t size, uint64_t *state)
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		uint64_t random = bench_random(state);

		memcpy(bytes + i, &random, 8);
	}
}

static inline void bench_compare(const uint8_t *got, const uint8_t *wanted, uint64_t size, const char *what)
{
	for (uint64_t i = 0; i < size; i++)
		if (got[i] != wanted[i])
			fail_msg("%s: byte %llu is 0x%02x, not 0x%02x", what, (unsigned long long)i, got[i],
				 wanted[i]);
}

#endif
