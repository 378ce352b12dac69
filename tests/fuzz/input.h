/* What fuzz targets of devices have in common: their input as numbers, and a device that loads its own saved section with
 * bytes changed. */
#ifndef DOPPEL_TESTS_INPUT_H
#define DOPPEL_TESTS_INPUT_H

#include <assert.h>

#include "device/device.h"

/* The next `size` bytes, least significant first; zeros after the end. */
static inline uint64_t input_take(const uint8_t **input, size_t *left, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && *left; i++, --*left)
		value |= (uint64_t)*(*input)++ << (8 * i);
	return value;
}

/* The input chooses the bytes. What was not changed must be taken back. */
static inline void load_damaged_section(struct device *device, unsigned changes, const uint8_t **input, size_t *left)
{
	struct state_section section;
	struct state_writer w;
	struct state_reader r;

	state_writer_init(&w);
	device_save(device, &w);
	state_reader_init(&r, w.bytes, w.length);
	if (!w.failed && state_next(&r, &section, NULL) == 1) {
		uint8_t *payload = w.bytes + (section.payload - w.bytes);

		for (unsigned i = 0; i < changes; i++) {
			size_t at = input_take(input, left, 2) % section.length;

			payload[at] = (uint8_t)input_take(input, left, 1);
		}
		assert(device_load(device, &section, NULL) == 0 || changes);
	}
	state_writer_finish(&w);
}

#endif
