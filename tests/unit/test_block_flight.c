/*
 * Many requests in flight on one qcow2 image, none for the bytes of another, yet in the same clusters: each finds
 * what it wrote.
 */
#include "block_model.h"

#define SIZE    (16 * MIB)
#define SLOTS   48
#define STRIPE  1024
#define REGIONS (SIZE / 2) /* below: stripes of all slots side by side; above: a region for each slot */
#define REGION  (REGIONS / 64)

struct slot {
	struct block_request request;
	struct flight *flight;
	struct iovec span;
	uint8_t bytes[REGION];
};

struct flight {
	struct bench *bench;
	struct slot *slots;
	uint8_t *model;
	uint64_t random;
	unsigned left, ended;
};

static void next(struct slot *slot);

static void check_read(const struct slot *slot)
{
	const struct block_request *request = &slot->request;

	bench_compare(slot->bytes, slot->flight->model + request->offset, request->length, "a read in flight");
}

static void done(struct block_request *request, int result)
{
	struct slot *slot = request->owner;
	struct flight *flight = slot->flight;

	assert_int_equal(result, 0);
	if (request->operation == BLOCK_WRITE)
		memcpy(flight->model + request->offset, slot->bytes, request->length);
	else if (request->operation == BLOCK_ZERO)
		memset(flight->model + request->offset, 0, request->length);
	else if (request->operation == BLOCK_READ)
		check_read(slot);
	if (flight->left) {
		next(slot);
	} else if (++flight->ended == SLOTS) {
		loop_quit(flight->bench->loop);
	}
}

static void choose_place(struct slot *slot, size_t index)
{
	struct flight *flight = slot->flight;
	struct block_request *request = &slot->request;
	uint64_t random = bench_random(&flight->random);

	if (random & 1) {
		request->offset = (random >> 1) % (REGIONS / STRIPE / SLOTS) * STRIPE * SLOTS + index * STRIPE;
		request->length = STRIPE;
		return;
	}
	request->offset = (random >> 1) % (REGION / 512) * 512;
	request->length = (1 + (random >> 32) % (REGION / 512)) * 512;
	if (request->length > REGION - request->offset)
		request->length = REGION - request->offset;
	request->offset += REGIONS + index * REGION;
}

static void next(struct slot *slot)
{
	static const enum block_operation operations[] = {BLOCK_WRITE, BLOCK_WRITE, BLOCK_WRITE, BLOCK_READ,
							  BLOCK_READ,  BLOCK_ZERO,  BLOCK_ZERO,  BLOCK_FLUSH};
	struct flight *flight = slot->flight;

	flight->left--;
	choose_place(slot, (size_t)(slot - flight->slots));
	slot->request.operation = operations[bench_random(&flight->random) % ARRAY_SIZE(operations)];
	slot->request.unmap = true;
	slot->span = (struct iovec){slot->bytes, slot->request.length};
	if (slot->request.operation == BLOCK_WRITE)
		bench_fill(slot->bytes, slot->request.length, &flight->random);
	block_submit(flight->bench->block, &slot->request);
}

static void fly(struct flight *flight, unsigned requests)
{
	flight->left = requests;
	flight->ended = 0;
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &flight->slots[i];

		slot->flight = flight;
		slot->request = (struct block_request){
			.spans = &slot->span, .span_count = 1, .done = done, .owner = slot};
		next(slot);
	}
	while (flight->ended < SLOTS)
		assert_int_equal(loop_run(flight->bench->loop, 120000), 0);
}

static void fly_over(const struct block_create_options *create, enum block_engine engine)
{
	struct block_options options = {.engine = engine};
	struct block_check_result result;
	struct bench bench;
	struct flight flight = {.bench = &bench, .random = 4242};
	struct error e;
	uint8_t *all = malloc(SIZE);

	bench_init(&bench);
	flight.slots = calloc(SLOTS, sizeof *flight.slots);
	flight.model = calloc(1, SIZE);
	assert_true(all && flight.slots && flight.model);
	options.path = bench_path(&bench, "a.qcow2");
	bench_check(block_create(options.path, create, &e), &e, "create");
	for (unsigned turn = 0; turn < 2; turn++) {
		bench_open(&bench, &options);
		fly(&flight, getenv("DOPPEL_LONG") ? 100000 : 2500);
		assert_int_equal(bench_do(&bench, BLOCK_READ, 0, all, SIZE), 0);
		bench_compare(all, flight.model, SIZE, "after the flight");
		bench_close(&bench);
		bench_check(block_check(options.path, BLOCK_QCOW2, false, &result, &e), &e, "check");
		if (result.corruptions || result.leaked_clusters)
			fail_msg("%llu corruptions, %llu leaks", (unsigned long long)result.corruptions,
				 (unsigned long long)result.leaked_clusters);
	}
	free(all);
	free(flight.slots);
	free(flight.model);
	bench_finish(&bench);
}

static void test_flights(void **state)
{
	static const uint32_t sizes[] = {512, 65536};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct block_create_options create = {
			.format = BLOCK_QCOW2, .size = SIZE, .cluster_size = sizes[i]};

		fly_over(&create, BLOCK_ENGINE_AUTO);
		fly_over(&create, BLOCK_ENGINE_THREADS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
