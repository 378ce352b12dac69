/*
 * The decoder on a list of words: whatever the bits, its answer agrees with the table and with itself.
 */
#include <assert.h>
#include <string.h>

#include "riscv/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_compressed(uint32_t word, const struct insn *insn)
{
	uint32_t expansion = insn_expand((uint16_t)word);
	struct insn wide = insn_decode(expansion);

	assert(insn->length == 2 && insn->raw == (word & 0xffff));
	assert(expansion == 0 || (expansion & 3) == 3);
	assert((insn->id == INSN_ILLEGAL) == (expansion == 0));
	assert(insn->id == wide.id && insn->imm == wide.imm);
	assert(insn->rd == wide.rd && insn->rs1 == wide.rs1 && insn->rs2 == wide.rs2);
}

static void check_wide(uint32_t word, const struct insn *insn)
{
	const struct insn_info *info = &insn_table[insn->id];

	assert(insn->length == 4 && insn->raw == word);
	assert(insn_expand((uint16_t)word) == 0);
	if (insn->id != INSN_ILLEGAL)
		assert((word & info->mask) == info->match);
}

static void check(uint32_t word)
{
	struct insn insn = insn_decode(word), again = insn_decode(insn.raw);

	assert(insn.id < INSN_IDS);
	assert(insn.rd < 32 && insn.rs1 < 32 && insn.rs2 < 32 && insn.rs3 < 32 && insn.rm < 8);
	assert(insn.length == insn_length((uint16_t)word));
	assert(memcmp(&insn, &again, sizeof insn) == 0);
	if (insn.length == 2)
		check_compressed(word, &insn);
	else
		check_wide(word, &insn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t at = 0; at + 4 <= size; at += 2) {
		uint32_t word;

		memcpy(&word, data + at, sizeof word);
		check(le32toh(word));
	}
	return 0;
}
