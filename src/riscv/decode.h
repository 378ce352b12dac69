/*
 * Decoding: an instruction word becomes a `struct insn`, by the table in insn.def.
 *
 * Compressed instructions (Unprivileged 16) expand to the 32-bit instruction that they stand for, with length
 * 2, so that nothing behind the decoder knows of them. An encoding that no supported extension defines decodes to
 * INSN_ILLEGAL with the raw bits kept for the trap value.
 *
 * Thread: any; the tables are constant.
 */
#ifndef DOPPEL_RISCV_DECODE_H
#define DOPPEL_RISCV_DECODE_H

#include "base/types.h"

enum insn_id {
	INSN_ILLEGAL,
#define INSN(id, mnemonic, match, mask, format, flags) INSN_##id,
#include "riscv/insn.def"
	INSN_IDS
};

/* Which operands an instruction has and where they lie. An x register is named r, an f register f. */
enum insn_format {
	INSN_FORMAT_NONE,   /* none */
	INSN_FORMAT_R,      /* rd, rs1, rs2: x */
	INSN_FORMAT_R1,     /* rd, rs1: x */
	INSN_FORMAT_I,      /* rd, rs1: x; imm 12 bits signed */
	INSN_FORMAT_S,      /* rs1, rs2: x; imm 12 bits signed */
	INSN_FORMAT_B,      /* rs1, rs2: x; imm a signed offset from pc */
	INSN_FORMAT_U,      /* rd: x; imm the upper 20 bits in place, signed */
	INSN_FORMAT_J,      /* rd: x; imm a signed offset from pc */
	INSN_FORMAT_SH6,    /* rd, rs1: x; imm 0 to 63 */
	INSN_FORMAT_SH5,    /* rd, rs1: x; imm 0 to 31 */
	INSN_FORMAT_CSR,    /* rd: x; rs1: x register or 5-bit immediate; imm the CSR's number */
	INSN_FORMAT_CBO,    /* rs1: x, an address */
	INSN_FORMAT_FENCE,  /* rs1, rs2: x */
	INSN_FORMAT_FLOAD,  /* rd: f; rs1: x; imm */
	INSN_FORMAT_FSTORE, /* rs1: x; rs2: f; imm */
	INSN_FORMAT_FR4,    /* rd, rs1, rs2, rs3: f; rm */
	INSN_FORMAT_FRM2,   /* rd, rs1, rs2: f; rm */
	INSN_FORMAT_FRM1,   /* rd, rs1: f; rm */
	INSN_FORMAT_F2,     /* rd, rs1, rs2: f */
	INSN_FORMAT_FCMP,   /* rd: x; rs1, rs2: f */
	INSN_FORMAT_FTOX,   /* rd: x; rs1: f */
	INSN_FORMAT_FTOXRM, /* rd: x; rs1: f; rm */
	INSN_FORMAT_XTOF,   /* rd: f; rs1: x */
	INSN_FORMAT_XTOFRM, /* rd: f; rs1: x; rm */
};

enum insn_flag {
	INSN_ENDS = 1,   /* control may go elsewhere, or machine state that blocks depend on may change */
	INSN_PURE = 2,   /* writes rd from its operands and does nothing else: a no-op when rd is x0 */
	INSN_LOAD = 4,   /* may fault on memory */
	INSN_STORE = 8,
	INSN_ATOMIC = 16,
	INSN_FLOAT = 32, /* illegal while mstatus.FS is off */
};

struct insn_info {
	const char *mnemonic;
	uint32_t match, mask;
	uint8_t format; /* enum insn_format */
	uint8_t flags;  /* enum insn_flag */
};

struct insn {
	uint16_t id;    /* enum insn_id */
	uint8_t length; /* bytes: 2 or 4 */
	uint8_t rd, rs1, rs2, rs3;
	uint8_t rm; /* rounding mode as encoded, 0 to 7 */
	int32_t imm;
	uint32_t raw; /* the word, or the halfword of a compressed one: mtval of an illegal one */
};

extern const struct insn_info insn_table[INSN_IDS];

/* Length in bytes of the instruction that starts with these 16 bits: 2 or 4. */
static inline unsigned insn_length(uint16_t low)
{
	return (low & 3) == 3 ? 4 : 2;
}

/* Whether instructions of this format have a rounding mode. */
bool insn_format_rounds(enum insn_format format);

/* `word` holds the instruction in its low bits; for a compressed one the upper half is ignored. */
struct insn insn_decode(uint32_t word);

/* The 32-bit instruction that a compressed one stands for, or 0 (which is illegal) when it is none.
 * riscv/compressed.c */
uint32_t insn_expand(uint16_t half);

#endif
