/* Images as files: created, described, checked and repaired, converted, resized; overlays and where backing
 * files may be. */
#include "block_model.h"

#include <errno.h>
#include <sys/stat.h>

#define SIZE (8 * MIB)

static bool have_qemu(void)
{
	return bench_shell("command -v qemu-img >/dev/null") == 0;
}

static void create(const char *path, const struct block_create_options *options)
{
	struct error e;

	bench_check(block_create(path, options, &e), &e, "create");
}

static void expect_failure(int r, const struct error *e, int code, const char *hint)
{
	if (r != code)
		fail_msg("%d (%s), not %d", r, e->message, code);
	if (!strstr(e->message, hint))
		fail_msg("\"%s\" does not say \"%s\"", e->message, hint);
}

static void expect_clean(const char *path)
{
	struct block_check_result result;
	struct error e;

	bench_check(block_check(path, BLOCK_QCOW2, false, &result, &e), &e, "check");
	if (result.corruptions || result.leaked_clusters)
		fail_msg("%s: %llu corruptions, %llu leaks", path, (unsigned long long)result.corruptions,
			 (unsigned long long)result.leaked_clusters);
	if (have_qemu() && bench_shell("qemu-img check -q '%s'", path) != 0)
		fail_msg("qemu-img finds errors in '%s'", path);
}

static void write_at(struct bench *bench, uint64_t offset, uint8_t byte, uint64_t length)
{
	uint8_t *bytes = malloc(length);

	memset(bytes, byte, length);
	assert_int_equal(bench_do(bench, BLOCK_WRITE, offset, bytes, length), 0);
	free(bytes);
}

static void expect_at(struct bench *bench, uint64_t offset, uint8_t byte, uint64_t length)
{
	uint8_t *bytes = malloc(length);

	assert_int_equal(bench_do(bench, BLOCK_READ, offset, bytes, length), 0);
	for (uint64_t i = 0; i < length; i++)
		if (bytes[i] != byte)
			fail_msg("byte %llu is 0x%02x, not 0x%02x", (unsigned long long)(offset + i), bytes[i],
				 byte);
	free(bytes);
}

static void test_create(void **state)
{
	static const struct block_create_options bad[] = {
		{.format = BLOCK_FORMAT_AUTO, .size = SIZE},
		{.format = BLOCK_RAW},
		{.format = BLOCK_RAW, .size = 1000},
		{.format = BLOCK_QCOW2, .size = SIZE, .cluster_size = 3000},
		{.format = BLOCK_QCOW2, .size = SIZE, .cluster_size = 4 * MIB},
		{.format = BLOCK_QCOW2, .size = UINT64_C(1) << 60, .cluster_size = 512},
		{.format = BLOCK_RAW, .size = SIZE, .backing = "x"},
	};
	struct block_description description;
	struct bench bench;
	struct error e;

	(void)state;
	bench_init(&bench);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = block_create(bench_path(&bench, "bad"), &bad[i], &e);

		if (r >= 0 || e.kind != ERROR_USAGE)
			fail_msg("case %zu: %d, kind %d", i, r, e.kind);
		assert_int_not_equal(access(bench_path(&bench, "bad"), F_OK), 0);
	}
	create(bench_path(&bench, "a.qcow2"),
	       &(struct block_create_options){.format = BLOCK_QCOW2, .size = 3 * GIB, .compression = BLOCK_ZSTD});
	expect_failure(block_create(bench_path(&bench, "a.qcow2"),
				    &(struct block_create_options){.format = BLOCK_QCOW2, .size = SIZE}, &e),
		       &e, -EEXIST, "there already");
	bench_check(block_describe(bench_path(&bench, "a.qcow2"), BLOCK_FORMAT_AUTO, &description, &e), &e,
		    "describe");
	assert_int_equal(description.format, BLOCK_QCOW2);
	assert_int_equal(description.size, 3 * GIB);
	assert_int_equal(description.cluster_size, 65536);
	assert_int_equal(description.version, 3);
	assert_int_equal(description.compression, BLOCK_ZSTD);
	assert_int_equal(description.clusters_allocated, 0);
	expect_clean(bench_path(&bench, "a.qcow2"));
	create(bench_path(&bench, "full.qcow2"),
	       &(struct block_create_options){.format = BLOCK_QCOW2, .size = SIZE, .preallocate = true});
	bench_check(block_describe(bench_path(&bench, "full.qcow2"), BLOCK_QCOW2, &description, &e), &e,
		    "describe");
	assert_int_equal(description.clusters_allocated, SIZE / 65536);
	assert_true(description.file_bytes >= SIZE);
	expect_clean(bench_path(&bench, "full.qcow2"));
	bench_finish(&bench);
}

static void test_overlay(void **state)
{
	struct bench bench;
	struct block_options options = {.overlay = true};
	struct block *other = NULL;
	char kept[BENCH_PATH];
	struct error e;

	(void)state;
	bench_init(&bench);
	create(bench_path(&bench, "base.raw"), &(struct block_create_options){.format = BLOCK_RAW, .size = SIZE});
	options.path = bench_path(&bench, "base.raw");
	bench_open(&bench, &(struct block_options){.path = options.path});
	write_at(&bench, 4096, 1, 8192);
	bench_close(&bench);
	bench_open(&bench, &options);
	expect_at(&bench, 4096, 1, 8192);
	write_at(&bench, 4608, 2, 512);
	expect_at(&bench, 4096, 1, 512);
	expect_at(&bench, 4608, 2, 512);
	expect_at(&bench, 5120, 1, 7168);
	/* Another may have its own overlay of the same base, but not write it. */
	bench_check(block_open(&other, &options, &e), &e, "second overlay");
	assert_int_equal(block_close(other, NULL), 0);
	expect_failure(block_open(&other, &(struct block_options){.path = options.path}, &e), &e, -EBUSY,
		       "in use");
	bench_close(&bench);
	snprintf(kept, sizeof kept, "%s", bench_path(&bench, "kept.qcow2"));
	options.overlay_path = kept;
	for (uint8_t turn = 0; turn < 2; turn++) {
		bench_open(&bench, &options);
		expect_at(&bench, 4608, turn ? 3 : 1, 512);
		write_at(&bench, 4608, 3, 512);
		bench_close(&bench);
	}
	expect_clean(kept);
	bench_open(&bench, &(struct block_options){.path = options.path, .read_only = true});
	expect_at(&bench, 4096, 1, 8192);
	bench_close(&bench);
	create(bench_path(&bench, "else.raw"), &(struct block_create_options){.format = BLOCK_RAW, .size = SIZE});
	options.path = bench_path(&bench, "else.raw");
	expect_failure(block_open(&other, &options, &e), &e, -EEXIST, "no overlay of");
	bench_finish(&bench);
}

static void test_backing_stays_inside(void **state)
{
	struct bench bench;
	struct block *block = NULL;
	struct block_options options = {0};
	struct error e;

	(void)state;
	bench_init(&bench);
	assert_int_equal(
		bench_shell("mkdir '%s/in' && truncate -s 1M '%s/out.raw' '%s/in/in.raw' && ln -s ../out.raw "
			    "'%s/in/link.raw'",
			    bench.folder, bench.folder, bench.folder, bench.folder),
		0);
	create(bench_path(&bench, "in/a.qcow2"), &(struct block_create_options){.format = BLOCK_QCOW2,
										.backing = "../out.raw",
										.backing_format = BLOCK_RAW});
	create(bench_path(&bench, "in/b.qcow2"), &(struct block_create_options){.format = BLOCK_QCOW2,
										.backing = "link.raw",
										.backing_format = BLOCK_RAW});
	create(bench_path(&bench, "in/c.qcow2"), &(struct block_create_options){.format = BLOCK_QCOW2,
										.backing = "in.raw",
										.backing_format = BLOCK_RAW});
	options.path = bench_path(&bench, "in/a.qcow2");
	expect_failure(block_open(&block, &options, &e), &e, -EACCES, "backing-anywhere");
	options.path = bench_path(&bench, "in/b.qcow2");
	expect_failure(block_open(&block, &options, &e), &e, -EACCES, "backing-anywhere");
	options.backing_anywhere = true;
	bench_check(block_open(&block, &options, &e), &e, "anywhere");
	assert_int_equal(block_close(block, NULL), 0);
	options = (struct block_options){.path = bench_path(&bench, "in/c.qcow2")};
	bench_check(block_open(&block, &options, &e), &e, "inside");
	assert_int_equal(block_close(block, NULL), 0);
	bench_finish(&bench);
}

/* An image that is its own backing file, in a circle of two. */
static void test_backing_circle(void **state)
{
	struct bench bench;
	struct block *block = NULL;
	struct error e;

	(void)state;
	bench_init(&bench);
	if (!have_qemu()) {
		bench_finish(&bench);
		skip();
	}
	assert_int_equal(
		bench_shell("cd '%s' && qemu-img create -q -f qcow2 a.qcow2 1M && qemu-img create -q -f qcow2 -b "
			    "a.qcow2 -F qcow2 b.qcow2 && qemu-img rebase -q -u -b b.qcow2 -F qcow2 a.qcow2",
			    bench.folder),
		0);
	expect_failure(
		block_open(&block,
			   &(struct block_options){.path = bench_path(&bench, "a.qcow2"), .read_only = true}, &e),
		&e, -ELOOP, "chain");
	bench_finish(&bench);
}

static void resize(struct bench *bench, uint64_t size)
{
	struct error e;

	bench_check(block_resize(bench->block, size, true, &e), &e, "resize");
	assert_int_equal(block_size(bench->block), size);
}

static void resize_image(enum block_format format, uint32_t cluster_size)
{
	struct block_options options = {.format = format};
	struct bench bench;
	struct error e;

	bench_init(&bench);
	options.path = bench_path(&bench, "a");
	create(options.path,
	       &(struct block_create_options){.format = format, .size = SIZE, .cluster_size = cluster_size});
	bench_open(&bench, &options);
	write_at(&bench, SIZE - 65536, 9, 65536);
	expect_failure(block_resize(bench.block, SIZE / 2, false, &e), &e, -EINVAL, "lose its end");
	resize(&bench, 8 * SIZE);
	expect_at(&bench, SIZE - 65536, 9, 65536);
	expect_at(&bench, SIZE, 0, 65536);
	write_at(&bench, 8 * SIZE - 4096, 8, 4096);
	resize(&bench, SIZE - 1024);
	assert_int_equal(bench_do(&bench, BLOCK_READ, SIZE - 1024, NULL, 0), 0);
	resize(&bench, 8 * SIZE);
	expect_at(&bench, SIZE - 65536, 9, 65536 - 1024);
	expect_at(&bench, SIZE - 1024, 0, 1024);
	expect_at(&bench, 8 * SIZE - 4096, 0, 4096);
	bench_close(&bench);
	if (format == BLOCK_QCOW2)
		expect_clean(options.path);
	bench_finish(&bench);
}

static void test_resize(void **state)
{
	(void)state;
	resize_image(BLOCK_RAW, 0);
	resize_image(BLOCK_QCOW2, 0);
	resize_image(BLOCK_QCOW2, 512);
}

/* What a longer base has behind the old end must not come up. */
static void test_grow_over_longer_base(void **state)
{
	struct bench bench;
	struct block_options options = {0};

	(void)state;
	bench_init(&bench);
	create(bench_path(&bench, "base.raw"), &(struct block_create_options){.format = BLOCK_RAW, .size = SIZE});
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "base.raw")});
	write_at(&bench, 0, 7, SIZE);
	bench_close(&bench);
	options.path = bench_path(&bench, "a.qcow2");
	create(options.path, &(struct block_create_options){.format = BLOCK_QCOW2,
							    .size = MIB + 512,
							    .backing = "base.raw",
							    .backing_format = BLOCK_RAW});
	bench_open(&bench, &options);
	resize(&bench, SIZE);
	expect_at(&bench, 0, 7, MIB + 512);
	expect_at(&bench, MIB + 512, 0, SIZE - MIB - 512);
	bench_close(&bench);
	expect_clean(options.path);
	bench_finish(&bench);
}

static void count_progress(void *context, uint64_t done, uint64_t total)
{
	assert_true(done <= total);
	*(uint64_t *)context = done;
}

static void convert(struct bench *bench, const struct model *model, const char *from, const char *to,
		    const struct block_create_options *as, bool compress)
{
	struct block_options source = {.path = bench_path(bench, from), .read_only = true};
	struct block_options result = {.path = bench_path(bench, to), .format = as->format, .read_only = true};
	struct model copy = *model;
	uint64_t done = 0;
	struct error e;

	bench_check(block_convert(&source, result.path, as, compress, count_progress, &done, &e), &e, "convert");
	assert_int_equal(done, model->size);
	if (as->format == BLOCK_QCOW2)
		expect_clean(result.path);
	copy.bench = bench;
	bench_open(bench, &result);
	model_check_all(&copy);
	bench_close(bench);
}

static void test_convert(void **state)
{
	struct block_description description;
	struct bench bench;
	struct model model;
	struct error e;

	(void)state;
	bench_init(&bench);
	create(bench_path(&bench, "a.raw"),
	       &(struct block_create_options){.format = BLOCK_RAW, .size = SIZE + 512});
	bench_open(&bench, &(struct block_options){.path = bench_path(&bench, "a.raw")});
	model_init(&model, &bench, SIZE + 512, 5);
	bench_fill(model.bytes + 65536 * 3, 65536, &model.random);
	memset(model.bytes + MIB, 'x', MIB);
	bench_fill(model.bytes + SIZE, 512, &model.random);
	for (uint64_t at = 0; at < SIZE; at += MIB)
		assert_int_equal(bench_do(&bench, BLOCK_WRITE, at, model.bytes + at, MIB), 0);
	assert_int_equal(bench_do(&bench, BLOCK_WRITE, SIZE, model.bytes + SIZE, 512), 0);
	bench_close(&bench);
	convert(&bench, &model, "a.raw", "b.qcow2", &(struct block_create_options){.format = BLOCK_QCOW2}, false);
	convert(&bench, &model, "b.qcow2", "c.qcow2", &(struct block_create_options){.format = BLOCK_QCOW2}, true);
	convert(&bench, &model, "c.qcow2", "d.qcow2",
		&(struct block_create_options){
			.format = BLOCK_QCOW2, .compression = BLOCK_ZSTD, .cluster_size = 4096},
		true);
	convert(&bench, &model, "d.qcow2", "e.raw", &(struct block_create_options){.format = BLOCK_RAW}, false);
	bench_check(block_describe(bench_path(&bench, "c.qcow2"), BLOCK_QCOW2, &description, &e), &e, "describe");
	assert_int_equal(description.clusters_compressed, MIB / 65536 + 1);
	if (have_qemu() &&
	    bench_shell("cd '%s' && qemu-img compare -q -F raw -f qcow2 d.qcow2 a.raw && cmp a.raw e.raw",
			bench.folder))
		fail_msg("the copies differ");
	model_finish(&model);
	bench_finish(&bench);
}

/* Puts bytes into the file. */
static void poke(const char *path, off_t at, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, bytes, size, at), size);
	close(fd);
}

/* Layout of the image: header, refcount table, one block at 2, L1 at 3, L2 at 4, data from 5 on. */
static void test_repair(void **state)
{
	static const struct {
		off_t at;
		uint8_t bytes[8];
		size_t size;
		bool corrupt; /* or leaks */
	} damages[] = {
		{2 * 65536 + 2 * 900, {0, 1}, 2, false},
		{2 * 65536 + 2 * 6, {0, 0}, 2, true},
		{2 * 65536 + 2 * 6, {0, 9}, 2, false},
		{65536, {0}, 8, true},
		{65536, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8, true},
		{4 * 65536, {0, 0, 0, 0, 0, 5, 0, 0}, 8, true},
	};
	struct block_options options = {0};
	struct bench bench;
	struct error e;

	(void)state;
	bench_init(&bench);
	options.path = bench_path(&bench, "a.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		struct block_check_result result;

		create(options.path, &(struct block_create_options){.format = BLOCK_QCOW2, .size = SIZE});
		bench_open(&bench, &options);
		write_at(&bench, 0, 0xab, MIB);
		bench_close(&bench);
		expect_clean(options.path);
		poke(options.path, damages[i].at, damages[i].bytes, damages[i].size);
		bench_check(block_check(options.path, BLOCK_QCOW2, false, &result, &e), &e, "check");
		if ((result.corruptions != 0) != damages[i].corrupt ||
		    result.corruptions + result.leaked_clusters == 0)
			fail_msg("damage %zu: %llu corruptions, %llu leaks", i,
				 (unsigned long long)result.corruptions,
				 (unsigned long long)result.leaked_clusters);
		bench_check(block_check(options.path, BLOCK_QCOW2, true, &result, &e), &e, "repair");
		if (result.corruptions || result.leaked_clusters || !result.repaired)
			fail_msg("damage %zu, repaired %llu: %llu corruptions, %llu leaks", i,
				 (unsigned long long)result.repaired, (unsigned long long)result.corruptions,
				 (unsigned long long)result.leaked_clusters);
		expect_clean(options.path);
		bench_open(&bench, &options);
		expect_at(&bench, 0, 0xab, MIB);
		write_at(&bench, 2 * MIB, 0xcd, MIB);
		bench_close(&bench);
		expect_clean(options.path);
		assert_int_equal(unlink(options.path), 0);
	}
	bench_finish(&bench);
}

/* The dirty bit (refcounts out of date) is mended by opening, the corrupt bit only by a repair; unknown
 * features and those that are not supported are refused by name. */
static void test_feature_bits(void **state)
{
	static const struct {
		uint8_t bits;
		int code;
		const char *hint;
	} refused[] = {
		{2, -EIO, "--repair"},
		{4, -ENOTSUP, "external data file"},
		{16, -ENOTSUP, "extended L2"},
		{64, -ENOTSUP, "does not know"},
	};
	struct block_options options = {0};
	struct block_description description;
	struct block_check_result result;
	struct block *block = NULL;
	struct bench bench;
	struct error e;

	(void)state;
	bench_init(&bench);
	options.path = bench_path(&bench, "a.qcow2");
	create(options.path, &(struct block_create_options){.format = BLOCK_QCOW2, .size = SIZE});
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		poke(options.path, 79, &refused[i].bits, 1);
		expect_failure(block_open(&block, &options, &e), &e, refused[i].code, refused[i].hint);
	}
	poke(options.path, 79, "\2", 1);
	bench_check(block_check(options.path, BLOCK_QCOW2, true, &result, &e), &e, "repair");
	bench_open(&bench, &options);
	bench_close(&bench);
	poke(options.path, 79, "\1", 1);
	poke(options.path, 2 * 65536 + 2 * 6, "\0\7", 2);
	bench_check(block_describe(options.path, BLOCK_QCOW2, &description, &e), &e, "describe");
	assert_true(description.dirty);
	bench_open(&bench, &options);
	bench_close(&bench);
	bench_check(block_describe(options.path, BLOCK_QCOW2, &description, &e), &e, "describe");
	assert_false(description.dirty);
	expect_clean(options.path);
	bench_finish(&bench);
}

/* Discarded clusters are used anew, and the file gives their room back. */
static void test_discard_gives_room_back(void **state)
{
	struct block_options options = {0};
	struct bench bench;
	struct stat status;

	(void)state;
	bench_init(&bench);
	options.path = bench_path(&bench, "a.qcow2");
	create(options.path, &(struct block_create_options){.format = BLOCK_QCOW2, .size = 4 * SIZE});
	bench_open(&bench, &options);
	for (uint64_t turn = 0; turn < 4; turn++) {
		write_at(&bench, turn * SIZE, 1, SIZE);
		assert_int_equal(bench_do(&bench, BLOCK_FLUSH, 0, NULL, 0), 0);
		assert_int_equal(bench_do(&bench, BLOCK_DISCARD, turn * SIZE, NULL, SIZE), 0);
		for (int i = 0; i < 4; i++)
			assert_int_equal(bench_do(&bench, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
	assert_int_equal(stat(options.path, &status), 0);
	if ((uint64_t)status.st_blocks * 512 > SIZE / 2)
		fail_msg("%llu bytes are in use", (unsigned long long)status.st_blocks * 512);
	if ((uint64_t)status.st_size > 2 * SIZE)
		fail_msg("the file has grown to %llu bytes", (unsigned long long)status.st_size);
	bench_close(&bench);
	expect_clean(options.path);
	bench_finish(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_backing_stays_inside),
		cmocka_unit_test(test_backing_circle),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_grow_over_longer_base),
		cmocka_unit_test(test_convert),
		cmocka_unit_test(test_repair),
		cmocka_unit_test(test_feature_bits),
		cmocka_unit_test(test_discard_gives_room_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
