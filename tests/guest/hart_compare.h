/*
 * Two harts that ought to be the same: walks hart_state's table, so that a new field is compared without a change here.
 */
#ifndef DOPPEL_TESTS_HART_COMPARE_H
#define DOPPEL_TESTS_HART_COMPARE_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "riscv/hart.h"

/* What an engine may do its own way: when pending bits are looked at, and FS may be Dirty where it need not be
 * (Privileged 3.1.6.6). */
static inline uint64_t hart_compared_bits(const char *name)
{
	if (strcmp(name, "mip") == 0 || strcmp(name, "mip_lines") == 0 || strcmp(name, "requests") == 0)
		return 0;
	return strcmp(name, "mstatus") == 0 ? ~(MSTATUS_FS | MSTATUS_SD) : UINT64_MAX;
}

static inline uint64_t hart_field_value(const struct hart *hart, const struct state_field *field, unsigned index)
{
	static const unsigned sizes[] = {
		[STATE_BOOL] = 1, [STATE_U8] = 1, [STATE_U16] = 2, [STATE_U32] = 4, [STATE_U64] = 8,
	};
	unsigned size = sizes[field->type];
	uint64_t value = 0;

	memcpy(&value, (const char *)hart + field->offset + index * size, size);
	return value;
}

/* Number of differing fields, but for the bits of integer registers that are in `ignored`; printed when `tell`. */
static inline unsigned harts_differ(const struct hart *first, const struct hart *second, bool tell, uint64_t ignored)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < hart_state.field_count; i++) {
		const struct state_field *field = &hart_state.fields[i];
		bool integer = strcmp(field->name, "x") == 0;
		unsigned elements = integer ? X_SINK : field->count;
		uint64_t mask = integer ? ~ignored : hart_compared_bits(field->name);

		for (unsigned j = 0; j < elements; j++) {
			uint64_t a = hart_field_value(first, field, j), b = hart_field_value(second, field, j);

			if (((a ^ b) & mask) == 0)
				continue;
			count++;
			if (tell)
				printf("# hart %u, %s[%u]: %" PRIx64 " and %" PRIx64 "\n", first->cpu.id, field->name, j,
				       a, b);
		}
	}
	return count;
}

#endif
