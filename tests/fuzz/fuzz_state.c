/*
 * Saved state from outside: as a stream of sections, and (since a fuzzer does not guess checksums) as the
 * payload of a section whose frame was right.
 */
#include <stdlib.h>
#include <string.h>

#include "state/state.h"

struct sample {
	uint64_t guard_before;
	uint8_t letters[5];
	bool flags[3];
	uint16_t halves[2];
	uint32_t word;
	uint64_t doubles[4];
	uint8_t cursor;
	uint64_t guard_after;
};

static int validate(const void *shadow, struct error *e)
{
	const struct sample *sample = shadow;

	if (sample->cursor >= sizeof sample->letters)
		return error_set(e, ERROR_FAILED, -74, "cursor %u is outside", sample->cursor);
	return 0;
}

static const struct state_field fields[] = {
	STATE_FIELD(struct sample, letters, STATE_U8),
	STATE_FIELD(struct sample, flags, STATE_BOOL),
	STATE_FIELD(struct sample, halves, STATE_U16),
	STATE_FIELD(struct sample, word, STATE_U32),
	STATE_FIELD_SINCE(struct sample, doubles, STATE_U64, 2, 7),
	STATE_FIELD_SINCE(struct sample, cursor, STATE_U8, 3, 1),
};

static const struct state_descriptor descriptor = {
	.kind = "sample",
	.version = 3,
	.oldest = 1,
	.object_size = sizeof(struct sample),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

#define GUARD UINT64_C(0x5a5a5a5aa5a5a5a5)

static void try_load(const struct state_section *section)
{
	struct sample sample, untouched;
	struct error error = {0};

	memset(&sample, 0, sizeof sample);
	sample.guard_before = sample.guard_after = GUARD;
	memcpy(&untouched, &sample, sizeof sample);
	if (state_load(section, &descriptor, &sample, &error) < 0) {
		if (memcmp(&sample, &untouched, sizeof sample) != 0 || !error.message[0])
			abort();
		return;
	}
	if (sample.guard_before != GUARD || sample.guard_after != GUARD || sample.cursor >= sizeof sample.letters)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_section section;
	struct state_reader reader;
	struct error error = {0};

	state_reader_init(&reader, data, size);
	while (state_next(&reader, &section, &error) == 1)
		try_load(&section);
	if (size) {
		section = (struct state_section){.kind = "sample",
						 .instance = "fuzz",
						 .version = data[0] & 7,
						 .payload = data + 1,
						 .length = size - 1};
		try_load(&section);
	}
	return 0;
}
