#include "riscv/decode.h"

#include <pthread.h>
#include <stdatomic.h>

const struct insn_info insn_table[INSN_IDS] = {
	[INSN_ILLEGAL] = {"illegal", 0, 0, INSN_FORMAT_NONE, INSN_ENDS},
#define INSN(id, mnemonic, match, mask, format, flags)                                                         \
	[INSN_##id] = {mnemonic, match, mask, INSN_FORMAT_##format, flags},
#include "riscv/insn.def"
};

/* Candidates by major opcode and funct3, in the order of the table: what stands first there wins. */
#define BUCKETS   256
#define CANDIDATES (INSN_IDS * 8)

static uint16_t bucket_start[BUCKETS + 1];
static uint16_t candidates[CANDIDATES];
static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static atomic_bool index_built;

static unsigned bucket_of(uint32_t word)
{
	return (word >> 2 & 0x1f) << 3 | (word >> 12 & 7);
}

/* Whether an instruction of this bucket can match: the table's fixed bits agree with the bucket's. */
static bool bucket_has(unsigned bucket, const struct insn_info *info)
{
	uint32_t word = (bucket >> 3) << 2 | (bucket & 7) << 12;
	uint32_t fixed = info->mask & 0x707c;

	return ((word ^ info->match) & fixed) == 0;
}

static void build_index(void)
{
	uint16_t used = 0;

	for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
		bucket_start[bucket] = used;
		for (uint16_t id = 1; id < INSN_IDS; id++)
			if (bucket_has(bucket, &insn_table[id]))
				candidates[used++] = id;
	}
	bucket_start[BUCKETS] = used;
	atomic_store_explicit(&index_built, true, memory_order_release);
}

static uint16_t find(uint32_t word)
{
	unsigned bucket = bucket_of(word);

	for (unsigned i = bucket_start[bucket]; i < bucket_start[bucket + 1]; i++) {
		const struct insn_info *info = &insn_table[candidates[i]];

		if ((word & info->mask) == info->match)
			return candidates[i];
	}
	return INSN_ILLEGAL;
}

static int32_t imm_i(uint32_t w)
{
	return (int32_t)w >> 20;
}

static int32_t imm_s(uint32_t w)
{
	return ((int32_t)w >> 25) * 32 | (int32_t)(w >> 7 & 0x1f);
}

static int32_t imm_b(uint32_t w)
{
	return ((int32_t)w >> 31) * 4096 | (int32_t)((w << 4 & 0x800) | (w >> 20 & 0x7e0) | (w >> 7 & 0x1e));
}

static int32_t imm_j(uint32_t w)
{
	return ((int32_t)w >> 31) * 1048576 |
	       (int32_t)((w & 0xff000) | (w >> 9 & 0x800) | (w >> 20 & 0x7fe));
}

static int32_t immediate(uint32_t w, enum insn_format format)
{
	switch (format) {
	case INSN_FORMAT_I:
	case INSN_FORMAT_FLOAD:
		return imm_i(w);
	case INSN_FORMAT_S:
	case INSN_FORMAT_FSTORE:
		return imm_s(w);
	case INSN_FORMAT_B:
		return imm_b(w);
	case INSN_FORMAT_U:
		return (int32_t)(w & 0xfffff000);
	case INSN_FORMAT_J:
		return imm_j(w);
	case INSN_FORMAT_SH6:
		return (int32_t)(w >> 20 & 0x3f);
	case INSN_FORMAT_SH5:
		return (int32_t)(w >> 20 & 0x1f);
	case INSN_FORMAT_CSR:
		return (int32_t)(w >> 20);
	default:
		return 0;
	}
}

bool insn_format_rounds(enum insn_format format)
{
	return format == INSN_FORMAT_FR4 || format == INSN_FORMAT_FRM2 || format == INSN_FORMAT_FRM1 ||
	       format == INSN_FORMAT_FTOXRM || format == INSN_FORMAT_XTOFRM;
}

struct insn insn_decode(uint32_t word)
{
	unsigned length = insn_length((uint16_t)word);
	uint32_t w = length == 2 ? insn_expand((uint16_t)word) : word;
	struct insn insn = {.length = (uint8_t)length, .raw = length == 2 ? word & 0xffff : word};
	enum insn_format format;

	if (unlikely(!atomic_load_explicit(&index_built, memory_order_acquire)))
		pthread_once(&index_once, build_index);
	insn.id = (w & 3) == 3 ? find(w) : INSN_ILLEGAL;
	format = insn_table[insn.id].format;
	insn.rd = w >> 7 & 0x1f;
	insn.rs1 = w >> 15 & 0x1f;
	insn.rs2 = w >> 20 & 0x1f;
	insn.rs3 = (uint8_t)(w >> 27);
	insn.rm = w >> 12 & 7;
	insn.imm = immediate(w, format);
	/* Modes 5 and 6 are reserved in the encoding itself (Unprivileged 11.2). */
	if (insn_format_rounds(format) && (insn.rm == 5 || insn.rm == 6))
		insn.id = INSN_ILLEGAL;
	return insn;
}
