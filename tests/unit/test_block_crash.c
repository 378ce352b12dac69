/*
 * What a crash of the host or a full disk leaves behind.
 *
 * A hook under all files records what is written and when it is synced. A crash at any moment is then played: the
 * file as it was at the last sync, with any choice of the later writes applied, in any sectors. The result must be
 * free of corruption (leaks are allowed), and hold what the guest had flushed, where it has written nothing since.
 */
#include "block_model.h"

#include <errno.h>
#include <pthread.h>

#include "block/store.h"

#define SIZE       (2 * MIB)
#define IMAGE_ROOM (8 * MIB)

struct record {
	uint64_t offset, length;
	uint8_t *bytes; /* NULL: a hole */
};

struct recorder {
	struct store_hook hook;
	pthread_mutex_t lock;
	uint8_t *synced; /* the file at its last sync */
	uint64_t synced_size;
	struct record *records; /* since */
	size_t count, room;
	bool recording;
	int countdown;    /* operations until the crash; 0: none is planned */
	uint8_t *crashed; /* the file after it */
	uint64_t crashed_size;
	bool full; /* one write in sixteen has no room */
	uint64_t random;
};

static void apply(uint8_t *image, uint64_t *size, const struct record *record)
{
	if (record->offset + record->length > IMAGE_ROOM)
		fail_msg("the image has outgrown the test: %llu", (unsigned long long)record->offset);
	if (record->bytes)
		memcpy(image + record->offset, record->bytes, record->length);
	else
		memset(image + record->offset, 0, record->length);
	if (record->bytes && record->offset + record->length > *size)
		*size = record->offset + record->length;
}

static void forget(struct recorder *recorder, bool applied)
{
	for (size_t i = 0; i < recorder->count; i++) {
		if (applied)
			apply(recorder->synced, &recorder->synced_size, &recorder->records[i]);
		free(recorder->records[i].bytes);
	}
	recorder->count = 0;
}

static void add(struct recorder *recorder, uint64_t offset, const struct spans *spans, uint64_t length)
{
	struct record *record;

	if (recorder->count == recorder->room) {
		recorder->room = recorder->room ? recorder->room * 2 : 64;
		recorder->records = realloc(recorder->records, recorder->room * sizeof *record);
		assert_non_null(recorder->records);
	}
	record = &recorder->records[recorder->count++];
	*record = (struct record){offset, length, spans ? malloc(length) : NULL};
	if (spans)
		spans_copy_out(*spans, record->bytes, length);
}

/* Each later write is there, is not, or is there up to some sector. */
static void crash(struct recorder *recorder)
{
	memcpy(recorder->crashed, recorder->synced, IMAGE_ROOM);
	recorder->crashed_size = recorder->synced_size;
	for (size_t i = 0; i < recorder->count; i++) {
		struct record part = recorder->records[i];
		uint64_t choice = bench_random(&recorder->random) % 4;

		if (choice == 0)
			continue;
		if (choice == 1)
			part.length = bench_random(&recorder->random) % (part.length / 512 + 1) * 512;
		apply(recorder->crashed, &recorder->crashed_size, &part);
	}
}

static int before(void *context, const struct store *store, enum store_operation operation, uint64_t offset,
		  const struct spans *spans, uint64_t length)
{
	struct recorder *recorder = context;
	int r = 0;

	(void)store;
	pthread_mutex_lock(&recorder->lock);
	if (recorder->recording && operation != STORE_READ && recorder->countdown && --recorder->countdown == 0)
		crash(recorder);
	if (operation == STORE_WRITE && recorder->full && bench_random(&recorder->random) % 16 == 0)
		r = -ENOSPC;
	else if (recorder->recording && operation == STORE_SYNC)
		forget(recorder, true);
	else if (recorder->recording && (operation == STORE_WRITE || operation == STORE_PUNCH))
		add(recorder, offset, spans, length);
	pthread_mutex_unlock(&recorder->lock);
	return r;
}

static void recorder_init(struct recorder *recorder)
{
	*recorder = (struct recorder){.hook = {before, recorder}, .random = 11};
	pthread_mutex_init(&recorder->lock, NULL);
	recorder->synced = calloc(1, IMAGE_ROOM);
	recorder->crashed = malloc(IMAGE_ROOM);
	assert_true(recorder->synced && recorder->crashed);
	store_set_hook(&recorder->hook);
}

static void recorder_finish(struct recorder *recorder)
{
	store_set_hook(NULL);
	forget(recorder, false);
	free(recorder->records);
	free(recorder->synced);
	free(recorder->crashed);
}

/* From now on, with the file as it is. */
static void start_recording(struct recorder *recorder, const char *path)
{
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	recorder->synced_size = fread(recorder->synced, 1, IMAGE_ROOM, file);
	assert_int_equal(fclose(file), 0);
	recorder->recording = true;
}

/* What the guest had flushed, and which sectors it has touched since. */
struct promise {
	uint8_t *bytes;
	uint8_t *touched; /* a byte a sector */
};

static void promise_all(const struct model *model, struct promise *promise)
{
	memcpy(promise->bytes, model->bytes, SIZE);
	memset(promise->touched, 0, SIZE / 512);
}

static void step(struct model *model, struct promise *promise)
{
	uint64_t offset, length, choice = bench_random(&model->random) % 8;

	model_range(model, &offset, &length);
	memset(promise->touched + offset / 512, 1, length / 512);
	if (choice < 5) {
		bench_fill(model->bytes + offset, length, &model->random);
		assert_int_equal(bench_do(model->bench, BLOCK_WRITE, offset, model->bytes + offset, length), 0);
	} else if (choice < 6) {
		memset(model->bytes + offset, 0, length);
		assert_int_equal(bench_do(model->bench, BLOCK_ZERO, offset, NULL, length), 0);
	} else {
		model_discard(model, offset, length);
	}
}

static void expect_kept(struct bench *bench, const struct recorder *recorder, const char *path,
			const struct promise *promise, uint8_t *scratch)
{
	struct block_check_result result;
	FILE *file = fopen(path, "wb");
	struct error e;

	assert_non_null(file);
	assert_int_equal(fwrite(recorder->crashed, 1, recorder->crashed_size, file), recorder->crashed_size);
	assert_int_equal(fclose(file), 0);

	bench_check(block_check(path, BLOCK_QCOW2, false, &result, &e), &e, "check after a crash");
	if (result.corruptions)
		fail_msg("%llu corruptions after a crash", (unsigned long long)result.corruptions);
	bench_open(bench, &(struct block_options){.path = path, .format = BLOCK_QCOW2});
	assert_int_equal(bench_do(bench, BLOCK_READ, 0, scratch, SIZE), 0);
	for (uint64_t sector = 0; sector < SIZE / 512; sector++)
		if (!promise->touched[sector] &&
		    memcmp(scratch + sector * 512, promise->bytes + sector * 512, 512))
			fail_msg("sector %llu was flushed and is lost", (unsigned long long)sector);
	bench_close(bench);
}

static void crash_sometimes(uint32_t cluster_size, uint64_t seed, unsigned steps)
{
	struct block_create_options create = {.format = BLOCK_QCOW2, .size = SIZE, .cluster_size = cluster_size};
	struct promise promise = {calloc(1, SIZE), calloc(1, SIZE / 512)};
	char path[BENCH_PATH], crashed[BENCH_PATH];
	struct bench bench, second;
	struct recorder recorder;
	struct model model;
	unsigned crashes = 0;
	struct error e;

	bench_init(&bench);
	bench_init(&second);
	recorder_init(&recorder);
	snprintf(path, sizeof path, "%s", bench_path(&bench, "a.qcow2"));
	snprintf(crashed, sizeof crashed, "%s", bench_path(&bench, "crashed.qcow2"));
	bench_check(block_create(path, &create, &e), &e, "create");
	start_recording(&recorder, path);
	bench_open(&bench, &(struct block_options){.path = path});
	model_init(&model, &bench, SIZE, seed);
	for (unsigned i = 0; i < steps; i++) {
		bool flushes = bench_random(&model.random) % 3 == 0;

		/* Amid the operation, where it has so many parts. */
		recorder.countdown = 1 + (int)(bench_random(&model.random) % 8);
		recorder.crashed_size = 0;
		if (flushes)
			assert_int_equal(bench_do(&bench, BLOCK_FLUSH, 0, NULL, 0), 0);
		else
			step(&model, &promise);
		recorder.countdown = 0;
		if (recorder.crashed_size) {
			recorder.recording = false;
			expect_kept(&second, &recorder, crashed, &promise, model.scratch);
			recorder.recording = true;
			crashes++;
		}
		if (flushes)
			promise_all(&model, &promise);
	}
	if (crashes < steps / 20)
		fail_msg("%u steps had only %u crashes", steps, crashes);
	bench_close(&bench);
	recorder_finish(&recorder);
	model_finish(&model);
	free(promise.bytes);
	free(promise.touched);
	bench_finish(&second);
	bench_finish(&bench);
}

static void test_crashes(void **state)
{
	static const uint32_t sizes[] = {512, 4096, 65536};
	unsigned steps = getenv("DOPPEL_LONG") ? 5000 : 250;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		crash_sometimes(sizes[i], 1000 + i, steps);
}

/* One write in sixteen fails for want of room, be it data or a table. Requests are repeated until they succeed:
 * then the disk is as if nothing had been. */
static int again(struct bench *bench, enum block_operation operation, uint64_t offset, void *bytes,
		 uint64_t length)
{
	int r = -ENOSPC;

	for (unsigned i = 0; i < 10000 && r == -ENOSPC; i++)
		r = bench_do(bench, operation, offset, bytes, length);
	return r;
}

static void fill_up(uint32_t cluster_size, uint64_t seed)
{
	struct block_create_options create = {.format = BLOCK_QCOW2, .size = SIZE, .cluster_size = cluster_size};
	struct block_check_result result;
	struct recorder recorder;
	struct bench bench;
	struct model model;
	char path[BENCH_PATH];
	struct error e;

	bench_init(&bench);
	recorder_init(&recorder);
	snprintf(path, sizeof path, "%s", bench_path(&bench, "a.qcow2"));
	bench_check(block_create(path, &create, &e), &e, "create");
	bench_open(&bench, &(struct block_options){.path = path});
	model_init(&model, &bench, SIZE, seed);
	recorder.full = true;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t offset, length;

		model_range(&model, &offset, &length);
		bench_fill(model.bytes + offset, length, &model.random);
		assert_int_equal(again(&bench, BLOCK_WRITE, offset, model.bytes + offset, length), 0);
		if (i % 16 == 0)
			assert_int_equal(again(&bench, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
	assert_int_equal(again(&bench, BLOCK_FLUSH, 0, NULL, 0), 0);
	recorder.full = false;
	model_check_all(&model);
	bench_close(&bench);
	bench_check(block_check(path, BLOCK_QCOW2, false, &result, &e), &e, "check");
	assert_int_equal(result.corruptions, 0);
	recorder_finish(&recorder);
	model_finish(&model);
	bench_finish(&bench);
}

static void test_full_disk(void **state)
{
	(void)state;
	fill_up(512, 3);
	fill_up(65536, 4);
}

/* A sync that failed is never followed by one that succeeds. */
static int fail_sync(void *context, const struct store *store, enum store_operation operation, uint64_t offset,
		     const struct spans *spans, uint64_t length)
{
	(void)store;
	(void)offset;
	(void)spans;
	(void)length;
	return operation == STORE_SYNC && *(bool *)context ? -EIO : 0;
}

static void test_failed_sync_stays(void **state)
{
	static uint8_t bytes[512];
	bool failing = false;
	struct store_hook hook = {fail_sync, &failing};
	struct bench bench;
	struct error e;

	(void)state;
	bench_init(&bench);
	bench_check(block_create(bench_path(&bench, "a.raw"),
				 &(struct block_create_options){.format = BLOCK_RAW, .size = SIZE}, &e),
		    &e, "create");
	store_set_hook(&hook);
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw")});
	assert_int_equal(bench_do(&bench, BLOCK_WRITE, 0, bytes, sizeof bytes), 0);
	failing = true;
	assert_int_equal(bench_do(&bench, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	failing = false;
	assert_int_equal(bench_do(&bench, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(block_close(bench.block, &e), -EIO);
	bench.block = NULL;
	store_set_hook(NULL);
	bench_finish(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_failed_sync_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
