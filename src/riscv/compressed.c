/*
 * Compressed instructions (Unprivileged 16, tables 16.5 to 16.7, RV64 columns) as the 32-bit ones they stand for.
 *
 * Each quadrant is a table of eight expanders, chosen by funct3. 0 is "no such instruction".
 */
#include "riscv/decode.h"

/* Encoders of the 32-bit formats. */
static uint32_t enc_r(uint32_t match, uint32_t rd, uint32_t rs1, uint32_t rs2)
{
	return match | rd << 7 | rs1 << 15 | rs2 << 20;
}

static uint32_t enc_i(uint32_t match, uint32_t rd, uint32_t rs1, int32_t imm)
{
	return match | rd << 7 | rs1 << 15 | (uint32_t)imm << 20;
}

static uint32_t enc_s(uint32_t match, uint32_t rs1, uint32_t rs2, uint32_t imm)
{
	return match | rs1 << 15 | rs2 << 20 | (imm >> 5) << 25 | (imm & 0x1f) << 7;
}

static uint32_t enc_b(uint32_t match, uint32_t rs1, int32_t offset)
{
	uint32_t o = (uint32_t)offset;

	return match | rs1 << 15 | (o >> 12 & 1) << 31 | (o >> 5 & 0x3f) << 25 | (o >> 1 & 0xf) << 8 |
	       (o >> 11 & 1) << 7;
}

static uint32_t enc_j(uint32_t rd, int32_t offset)
{
	uint32_t o = (uint32_t)offset;

	return 0x6f | rd << 7 | (o >> 20 & 1) << 31 | (o >> 1 & 0x3ff) << 21 | (o >> 11 & 1) << 20 |
	       (o & 0xff000);
}

/* Fields of the halfword: full registers, and the three-bit ones that name x8 to x15. */
static uint32_t full_rd(uint32_t h)
{
	return h >> 7 & 0x1f;
}
static uint32_t full_rs2(uint32_t h)
{
	return h >> 2 & 0x1f;
}
static uint32_t short_rs1(uint32_t h)
{
	return 8 + (h >> 7 & 7);
}
static uint32_t short_rs2(uint32_t h)
{
	return 8 + (h >> 2 & 7);
}

static uint32_t bits(uint32_t h, unsigned from, unsigned count, unsigned to)
{
	return (h >> from & ((1u << count) - 1)) << to;
}

static int32_t imm6(uint32_t h)
{
	return (int32_t)((bits(h, 12, 1, 5) | bits(h, 2, 5, 0)) ^ 0x20) - 0x20;
}
static uint32_t shamt(uint32_t h)
{
	return bits(h, 12, 1, 5) | bits(h, 2, 5, 0);
}
static uint32_t offset_w(uint32_t h)
{
	return bits(h, 10, 3, 3) | bits(h, 6, 1, 2) | bits(h, 5, 1, 6);
}
static uint32_t offset_d(uint32_t h)
{
	return bits(h, 10, 3, 3) | bits(h, 5, 2, 6);
}
static uint32_t offset_lwsp(uint32_t h)
{
	return bits(h, 12, 1, 5) | bits(h, 4, 3, 2) | bits(h, 2, 2, 6);
}
static uint32_t offset_ldsp(uint32_t h)
{
	return bits(h, 12, 1, 5) | bits(h, 5, 2, 3) | bits(h, 2, 3, 6);
}
static uint32_t offset_swsp(uint32_t h)
{
	return bits(h, 9, 4, 2) | bits(h, 7, 2, 6);
}
static uint32_t offset_sdsp(uint32_t h)
{
	return bits(h, 10, 3, 3) | bits(h, 7, 3, 6);
}
static int32_t offset_branch(uint32_t h)
{
	uint32_t o = bits(h, 12, 1, 8) | bits(h, 10, 2, 3) | bits(h, 5, 2, 6) | bits(h, 3, 2, 1) |
		     bits(h, 2, 1, 5);

	return (int32_t)(o ^ 0x100) - 0x100;
}
static int32_t offset_jump(uint32_t h)
{
	uint32_t o = bits(h, 12, 1, 11) | bits(h, 11, 1, 4) | bits(h, 9, 2, 8) | bits(h, 8, 1, 10) |
		     bits(h, 7, 1, 6) | bits(h, 6, 1, 7) | bits(h, 3, 3, 1) | bits(h, 2, 1, 5);

	return (int32_t)(o ^ 0x800) - 0x800;
}

enum {
	LOAD_W = 0x2003, LOAD_D = 0x3003, FLOAD_D = 0x3007,
	STORE_W = 0x2023, STORE_D = 0x3023, FSTORE_D = 0x3027,
	ADDI = 0x13, SLLI = 0x1013, SRLI = 0x5013, SRAI = 0x40005013, ANDI = 0x7013, ADDIW = 0x1b, LUI = 0x37,
	ADD = 0x33, JALR = 0x67, BEQ = 0x63, BNE = 0x1063, EBREAK = 0x100073,
};

static uint32_t c_addi4spn(uint32_t h)
{
	uint32_t imm = bits(h, 11, 2, 4) | bits(h, 7, 4, 6) | bits(h, 6, 1, 2) | bits(h, 5, 1, 3);

	return imm ? enc_i(ADDI, short_rs2(h), 2, (int32_t)imm) : 0;
}
static uint32_t c_fld(uint32_t h)
{
	return enc_i(FLOAD_D, short_rs2(h), short_rs1(h), (int32_t)offset_d(h));
}
static uint32_t c_lw(uint32_t h)
{
	return enc_i(LOAD_W, short_rs2(h), short_rs1(h), (int32_t)offset_w(h));
}
static uint32_t c_ld(uint32_t h)
{
	return enc_i(LOAD_D, short_rs2(h), short_rs1(h), (int32_t)offset_d(h));
}
static uint32_t c_reserved(uint32_t h)
{
	(void)h;
	return 0;
}
static uint32_t c_fsd(uint32_t h)
{
	return enc_s(FSTORE_D, short_rs1(h), short_rs2(h), offset_d(h));
}
static uint32_t c_sw(uint32_t h)
{
	return enc_s(STORE_W, short_rs1(h), short_rs2(h), offset_w(h));
}
static uint32_t c_sd(uint32_t h)
{
	return enc_s(STORE_D, short_rs1(h), short_rs2(h), offset_d(h));
}

static uint32_t c_addi(uint32_t h)
{
	return enc_i(ADDI, full_rd(h), full_rd(h), imm6(h));
}
static uint32_t c_addiw(uint32_t h)
{
	return full_rd(h) ? enc_i(ADDIW, full_rd(h), full_rd(h), imm6(h)) : 0;
}
static uint32_t c_li(uint32_t h)
{
	return enc_i(ADDI, full_rd(h), 0, imm6(h));
}
static uint32_t c_addi16sp(uint32_t h)
{
	uint32_t imm = bits(h, 12, 1, 9) | bits(h, 6, 1, 4) | bits(h, 5, 1, 6) | bits(h, 3, 2, 7) |
		       bits(h, 2, 1, 5);

	return imm ? enc_i(ADDI, 2, 2, (int32_t)(imm ^ 0x200) - 0x200) : 0;
}
static uint32_t c_lui(uint32_t h)
{
	if (full_rd(h) == 2)
		return c_addi16sp(h);
	return imm6(h) ? (uint32_t)(imm6(h) * 4096) | full_rd(h) << 7 | LUI : 0;
}

/* c.sub, c.xor, c.or, c.and, c.subw, c.addw, by bit 12 and bits 6:5. */
static uint32_t c_register(uint32_t h)
{
	static const uint32_t match[8] = {0x40000033, 0x4033, 0x6033, 0x7033, 0x4000003b, 0x3b, 0, 0};
	uint32_t m = match[bits(h, 12, 1, 2) | bits(h, 5, 2, 0)];

	return m ? enc_r(m, short_rs1(h), short_rs1(h), short_rs2(h)) : 0;
}
static uint32_t c_arithmetic(uint32_t h)
{
	switch (h >> 10 & 3) {
	case 0:
		return enc_i(SRLI, short_rs1(h), short_rs1(h), (int32_t)shamt(h));
	case 1:
		return enc_i(SRAI, short_rs1(h), short_rs1(h), (int32_t)shamt(h));
	case 2:
		return enc_i(ANDI, short_rs1(h), short_rs1(h), imm6(h));
	default:
		return c_register(h);
	}
}
static uint32_t c_j(uint32_t h)
{
	return enc_j(0, offset_jump(h));
}
static uint32_t c_beqz(uint32_t h)
{
	return enc_b(BEQ, short_rs1(h), offset_branch(h));
}
static uint32_t c_bnez(uint32_t h)
{
	return enc_b(BNE, short_rs1(h), offset_branch(h));
}

static uint32_t c_slli(uint32_t h)
{
	return enc_i(SLLI, full_rd(h), full_rd(h), (int32_t)shamt(h));
}
static uint32_t c_fldsp(uint32_t h)
{
	return enc_i(FLOAD_D, full_rd(h), 2, (int32_t)offset_ldsp(h));
}
static uint32_t c_lwsp(uint32_t h)
{
	return full_rd(h) ? enc_i(LOAD_W, full_rd(h), 2, (int32_t)offset_lwsp(h)) : 0;
}
static uint32_t c_ldsp(uint32_t h)
{
	return full_rd(h) ? enc_i(LOAD_D, full_rd(h), 2, (int32_t)offset_ldsp(h)) : 0;
}
static uint32_t c_jump_move_add(uint32_t h)
{
	uint32_t rd = full_rd(h), rs2 = full_rs2(h), link = h >> 12 & 1;

	if (rs2)
		return enc_r(ADD, rd, link ? rd : 0, rs2);
	if (rd)
		return enc_i(JALR, link, rd, 0);
	return link ? (uint32_t)EBREAK : 0;
}
static uint32_t c_fsdsp(uint32_t h)
{
	return enc_s(FSTORE_D, 2, full_rs2(h), offset_sdsp(h));
}
static uint32_t c_swsp(uint32_t h)
{
	return enc_s(STORE_W, 2, full_rs2(h), offset_swsp(h));
}
static uint32_t c_sdsp(uint32_t h)
{
	return enc_s(STORE_D, 2, full_rs2(h), offset_sdsp(h));
}

static uint32_t (*const expanders[3][8])(uint32_t half) = {
	{c_addi4spn, c_fld, c_lw, c_ld, c_reserved, c_fsd, c_sw, c_sd},
	{c_addi, c_addiw, c_li, c_lui, c_arithmetic, c_j, c_beqz, c_bnez},
	{c_slli, c_fldsp, c_lwsp, c_ldsp, c_jump_move_add, c_fsdsp, c_swsp, c_sdsp},
};

uint32_t insn_expand(uint16_t half)
{
	unsigned quadrant = half & 3;

	return quadrant == 3 ? 0 : expanders[quadrant][half >> 13](half);
}
