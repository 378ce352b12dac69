#include "engine/interpret/code.h"

#include <endian.h>
#include <string.h>

#include "riscv/decode.h"

static uint16_t half_at(const uint8_t *source)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)source, __ATOMIC_RELAXED));
}

static uint32_t word_at(const uint8_t *source)
{
	return le32toh(__atomic_load_n((const uint32_t *)(const void *)source, __ATOMIC_RELAXED));
}

static bool is_aligned(const uint8_t *source)
{
	return ((uintptr_t)source & 3) == 0;
}

uint32_t code_instruction(const uint8_t *source, unsigned room, bool *whole)
{
	uint32_t word;

	*whole = true;
	if (is_aligned(source) && room >= 4) {
		word = word_at(source);
		return insn_length((uint16_t)word) == 4 ? word : (uint16_t)word;
	}
	word = half_at(source);
	if (insn_length((uint16_t)word) == 2)
		return word;
	*whole = room >= 4;
	return *whole ? word | (uint32_t)half_at(source + 2) << 16 : word;
}

/* 0: equal. */
static unsigned compare_half(const uint8_t *source, const uint8_t *copy)
{
	uint16_t kept;

	memcpy(&kept, copy, sizeof kept);
	return half_at(source) ^ le16toh(kept);
}

bool code_equals(const uint8_t *source, const uint8_t *copy, unsigned length)
{
	unsigned at = 0;

	if (length && !is_aligned(source)) {
		if (compare_half(source, copy))
			return false;
		at = 2;
	}
	for (; at + 4 <= length; at += 4) {
		uint32_t kept;

		memcpy(&kept, copy + at, sizeof kept);
		if (word_at(source + at) != le32toh(kept))
			return false;
	}
	return at == length || compare_half(source + at, copy + at) == 0;
}
