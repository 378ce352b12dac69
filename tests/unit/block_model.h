/* A flat model of a disk, and random requests that are applied to it and to a block alike. */
#ifndef DOPPEL_TESTS_BLOCK_MODEL_H
#define DOPPEL_TESTS_BLOCK_MODEL_H

#include "block_bench.h"

struct model {
	struct bench *bench;
	uint8_t *bytes, *scratch;
	uint64_t size, random;
	bool flushes;
};

#define MODEL_LARGEST ((uint64_t)192 * KIB)

static inline void model_init(struct model *model, struct bench *bench, uint64_t size, uint64_t seed)
{
	*model = (struct model){.bench = bench, .size = size, .random = seed, .flushes = true};
	model->bytes = calloc(1, size);
	model->scratch = malloc(size > MODEL_LARGEST ? size : MODEL_LARGEST);
	assert_true(model->bytes && model->scratch);
}

static inline void model_finish(struct model *model)
{
	free(model->bytes);
	free(model->scratch);
}

static inline void model_range(struct model *model, uint64_t *offset, uint64_t *length)
{
	uint64_t sectors = model->size / BLOCK_SECTOR,
		 most = bench_random(&model->random) % 4 ? 16 : MODEL_LARGEST / 512;

	*offset = bench_random(&model->random) % sectors * BLOCK_SECTOR;
	*length = (1 + bench_random(&model->random) % most) * BLOCK_SECTOR;
	if (*length > model->size - *offset)
		*length = model->size - *offset;
}

static inline void model_check(struct model *model, uint64_t offset, uint64_t length)
{
	char what[96];

	assert_int_equal(bench_do(model->bench, BLOCK_READ, offset, model->scratch, length), 0);
	snprintf(what, sizeof what, "read of %llu at %llu", (unsigned long long)length,
		 (unsigned long long)offset);
	bench_compare(model->scratch, model->bytes + offset, length, what);
}

static inline void model_check_all(struct model *model)
{
	model_check(model, 0, model->size);
}

/* What is discarded may be anything: the model takes what is there, which must be zero or as before. */
static inline void model_discard(struct model *model, uint64_t offset, uint64_t length)
{
	assert_int_equal(bench_do(model->bench, BLOCK_DISCARD, offset, NULL, length), 0);
	assert_int_equal(bench_do(model->bench, BLOCK_READ, offset, model->scratch, length), 0);
	for (uint64_t i = 0; i < length; i++)
		if (model->scratch[i] && model->scratch[i] != model->bytes[offset + i])
			fail_msg("discarded byte %llu is neither zero nor as before",
				 (unsigned long long)(offset + i));
	memcpy(model->bytes + offset, model->scratch, length);
}

static inline void model_step(struct model *model)
{
	uint64_t offset, length, choice = bench_random(&model->random) % 16;

	model_range(model, &offset, &length);
	if (choice < 7) {
		bench_fill(model->bytes + offset, length, &model->random);
		assert_int_equal(bench_do(model->bench, BLOCK_WRITE, offset, model->bytes + offset, length), 0);
	} else if (choice < 9) {
		memset(model->bytes + offset, 0, length);
		assert_int_equal(bench_do(model->bench, BLOCK_ZERO, offset, NULL, length), 0);
	} else if (choice < 11) {
		model_discard(model, offset, length);
	} else if (choice < 12 && model->flushes) {
		assert_int_equal(bench_do(model->bench, BLOCK_FLUSH, 0, NULL, 0), 0);
	} else {
		model_check(model, offset, length);
	}
}

#endif
