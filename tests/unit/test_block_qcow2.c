/* qcow2 images under random requests, beside a flat model; whatever comes out is clean by our own check, and by
 * qemu-img where there is one. */
#include "block_model.h"

#include <errno.h>
#include <sys/stat.h>

#define SIZE (24 * MIB + 512)

static bool have_qemu(void)
{
	return bench_shell("command -v qemu-img >/dev/null") == 0;
}

static void check_clean(const char *path, bool leaks_allowed)
{
	struct block_check_result result;
	struct error e;
	int r;

	bench_check(block_check(path, BLOCK_QCOW2, false, &result, &e), &e, "check");
	if (result.corruptions || (result.leaked_clusters && !leaks_allowed))
		fail_msg("%s: %llu corruptions, %llu leaks", path, (unsigned long long)result.corruptions,
			 (unsigned long long)result.leaked_clusters);
	if (!have_qemu())
		return;
	r = bench_shell("qemu-img check -q -f qcow2 '%s' >'%s.log' 2>&1", path, path);
	if (r != 0 && !(r == 3 && leaks_allowed)) {
		assert_int_equal(bench_shell("head -5 '%s.log' >&2", path), 0);
		fail_msg("qemu-img check of '%s': status %d", path, r);
	}
}

static void save_model(const struct bench *bench, const struct model *model, const char *name)
{
	FILE *file = fopen(bench_path(bench, name), "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(model->bytes, 1, model->size, file), model->size);
	assert_int_equal(fclose(file), 0);
}

/* The model's bytes, as qemu-img sees the image. */
static void check_foreign(const struct bench *bench, const struct model *model, const char *path)
{
	if (!have_qemu())
		return;
	save_model(bench, model, "model.raw");
	if (bench_shell("qemu-img compare -q -f raw -F qcow2 '%s' '%s'", bench_path(bench, "model.raw"), path) !=
	    0)
		fail_msg("qemu-img finds '%s' different", path);
}

static unsigned rounds(void)
{
	return getenv("DOPPEL_LONG") ? 20000 : 240;
}

static void random_requests(struct bench *bench, struct model *model, const struct block_options *options)
{
	unsigned steps = rounds();

	for (unsigned i = 0; i < 3; i++) {
		bench_open(bench, options);
		for (unsigned n = 0; n < steps / 3; n++)
			model_step(model);
		model_check_all(model);
		bench_close(bench);
		check_clean(options->path, false);
		check_foreign(bench, model, options->path);
	}
}

static void own_image(uint32_t cluster_size, enum block_engine engine)
{
	struct block_create_options create = {.format = BLOCK_QCOW2, .size = SIZE, .cluster_size = cluster_size};
	struct block_options options = {.engine = engine};
	struct bench bench;
	struct model model;
	struct error e;

	bench_init(&bench);
	options.path = bench_path(&bench, "a.qcow2");
	bench_check(block_create(options.path, &create, &e), &e, "create");
	check_clean(options.path, false);
	model_init(&model, &bench, SIZE, cluster_size + 1);
	random_requests(&bench, &model, &options);
	model_finish(&model);
	bench_finish(&bench);
}

static void test_own_images(void **state)
{
	static const uint32_t sizes[] = {512, 4096, 65536, 2097152};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		own_image(sizes[i], i & 1 ? BLOCK_ENGINE_THREADS : BLOCK_ENGINE_AUTO);
}

static void model_start(struct model *model, struct bench *bench)
{
	model_init(model, bench, SIZE, 77);
	bench_fill(model->bytes + MIB, 3 * MIB, &model->random);
	memset(model->bytes + 5 * MIB, 0x5a, MIB);
	bench_fill(model->bytes + SIZE - 512, 512, &model->random);
}

/* qemu-img makes it from the model, with a snapshot between; we read it and go on writing, and the snapshot
 * stays. */
static void foreign_image(const char *how, bool snapshot)
{
	struct block_options options = {0};
	struct bench bench;
	struct model model;
	const char *start;

	bench_init(&bench);
	options.path = bench_path(&bench, "a.qcow2");
	start = bench_path(&bench, "start.raw");
	model_start(&model, &bench);
	save_model(&bench, &model, "start.raw");
	if (bench_shell("qemu-img convert -q -f raw -O qcow2 %s '%s' '%s'", how, start, options.path) != 0)
		fail_msg("qemu-img convert %s", how);
	if (snapshot)
		assert_int_equal(bench_shell("qemu-img snapshot -c one '%s'", options.path), 0);
	bench_open(&bench, &options);
	model_check_all(&model);
	bench_close(&bench);
	random_requests(&bench, &model, &options);
	if (snapshot &&
	    (bench_shell("qemu-img convert -q -l one -f qcow2 -O raw '%s' '%s.one'", options.path, start) ||
	     bench_shell("cmp '%s' '%s.one'", start, start)))
		fail_msg("%s: the snapshot has changed", how);
	model_finish(&model);
	bench_finish(&bench);
}

static void test_foreign_images(void **state)
{
	static const struct {
		const char *how;
		bool snapshot;
	} images[] = {
		{"-o compat=0.10", true},
		{"-o compat=1.1,cluster_size=512", true},
		{"-o compat=1.1,cluster_size=4k,refcount_bits=64", true},
		{"-o compat=1.1,cluster_size=2M", true},
		{"-o refcount_bits=1", false},
		{"-o refcount_bits=2", true},
		{"-o refcount_bits=4", true},
		{"-o refcount_bits=8", true},
		{"-o refcount_bits=32", true},
		{"-o lazy_refcounts=on", true},
		{"-o preallocation=metadata", false},
		{"-o preallocation=falloc,cluster_size=16k", true},
		{"-c", true},
		{"-c -o cluster_size=4k", true},
		{"-c -o compression_type=zstd", true},
		{"-c -o compression_type=zstd,cluster_size=2M", false},
	};

	(void)state;
	if (!have_qemu())
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(images); i++)
		foreign_image(images[i].how, images[i].snapshot);
}

/* raw <- qcow2 (compressed) <- qcow2, made by qemu-img; the base is shorter than what is above. */
static void test_foreign_chain(void **state)
{
	struct block_options options = {0};
	struct bench bench;
	struct model model;

	(void)state;
	if (!have_qemu())
		skip();
	bench_init(&bench);
	model_start(&model, &bench);
	save_model(&bench, &model, "base.raw");
	options.path = bench_path(&bench, "top.qcow2");
	assert_int_equal(
		bench_shell(
			"cd '%s' && truncate -s 20M base.raw && qemu-img create -q -f qcow2 -b base.raw -F raw mid.qcow2 "
			"%llu && qemu-io -f qcow2 -c 'write -c -P 7 2M 64k' -c 'write -z 3M 128k' mid.qcow2 >/dev/null && "
			"qemu-img create -q -f qcow2 -o cluster_size=16k -b mid.qcow2 -F qcow2 top.qcow2",
			bench.folder, (unsigned long long)SIZE),
		0);
	memset(model.bytes + 2 * MIB, 7, 64 * KIB);
	memset(model.bytes + 3 * MIB, 0, 128 * KIB);
	memset(model.bytes + 20 * MIB, 0, SIZE - 20 * MIB);
	bench_open(&bench, &options);
	model_check_all(&model);
	bench_close(&bench);
	random_requests(&bench, &model, &options);
	model_finish(&model);
	bench_finish(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_images),
		cmocka_unit_test(test_foreign_images),
		cmocka_unit_test(test_foreign_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
