#include "engine/translate/x64_emit.h"

#include <assert.h>
#include <string.h>

/* An instruction has at most 15 bytes; the rest is slack for stores of a fixed width. */
enum { LONGEST = 15 + 4 };

/* Where the next byte of an instruction in the making goes. */
struct code {
	uint8_t *at;
};

enum { MOD_DISP0 = 0x00, MOD_DISP8 = 0x40, MOD_DISP32 = 0x80, MOD_REGISTER = 0xc0 };

/* Low register numbers that ModRM and SIB give another meaning: rsp and r12, rbp and r13. */
enum { RM_SIB = 4, SIB_NO_INDEX = 4, RM_NO_BASE = 5 };

enum { REX = 0x40, REX_W = 0x48 };

static void put(struct code *c, unsigned int byte)
{
	*c->at++ = (uint8_t)byte;
}

static void put_value(struct code *c, int32_t value, unsigned int size)
{
	memcpy(c->at, &value, 4);
	c->at += size;
}

static unsigned int high(unsigned int reg)
{
	return reg >> 3 & 1;
}

static unsigned int modrm(unsigned int mod, unsigned int reg, unsigned int rm)
{
	return mod | (reg & 7) << 3 | (rm & 7);
}

void x64_emit_bytes(struct x64 *a, const uint8_t *bytes, size_t count)
{
	if (a->overflow || (size_t)(a->end - a->at) < count) {
		a->overflow = true;
		return;
	}
	memcpy(a->at, bytes, count);
	a->at += count;
}

/* Most instructions are made in their place. */
static bool has_room(const struct x64 *a)
{
	return likely(!a->overflow && a->end - a->at >= LONGEST);
}

static void put_opcode(struct code *c, const struct x64_op *op)
{
	static const uint8_t second[] = {[X64_MAP_0F38] = 0x38, [X64_MAP_0F3A] = 0x3a};

	if (op->map != X64_MAP_ONE_BYTE)
		put(c, 0x0f);
	if (op->map >= X64_MAP_0F38)
		put(c, second[op->map]);
	put(c, op->byte);
}

/* Everything up to the opcode's last byte; `rex` has the bits R, X and B. A byte register 4 to 7 is the low byte
 * of rsp to rdi only under a REX prefix, SDM 2, 3.1.1.1. */
static void put_head(struct code *c, const struct x64_op *op, unsigned int rex, bool need_rex)
{
	if (op->lock)
		put(c, 0xf0);
	if (op->half)
		put(c, 0x66);
	if (op->prefix)
		put(c, op->prefix);
	rex |= op->wide ? REX_W : 0;
	if (rex || need_rex)
		put(c, REX | rex);
	put_opcode(c, op);
}

/* An index alone takes a displacement of 32 bits; as a base it does not. */
static struct x64_mem shortest(struct x64_mem mem)
{
	if (mem.base == X64_NONE && mem.index != X64_NONE && mem.scale <= 2) {
		mem.base = mem.index;
		mem.index = mem.scale == 1 ? X64_NONE : mem.index;
		mem.scale = 1;
	}
	return mem;
}

static void put_sib(struct code *c, struct x64_mem mem)
{
	unsigned int scale = (unsigned int)__builtin_ctz(mem.scale) << 6;
	unsigned int index = mem.index == X64_NONE ? SIB_NO_INDEX : mem.index;

	put(c, modrm(scale, index, mem.base == X64_NONE ? RM_NO_BASE : mem.base));
}

static unsigned int mod_of(struct x64_mem mem)
{
	if (mem.disp == 0 && (mem.base & 7) != RM_NO_BASE)
		return MOD_DISP0;
	return x64_fits_i8(mem.disp) ? MOD_DISP8 : MOD_DISP32;
}

static void put_mem(struct code *c, unsigned int reg, struct x64_mem mem)
{
	bool no_base = mem.base == X64_NONE;
	bool sib = no_base || mem.index != X64_NONE || (mem.base & 7) == RM_SIB;
	unsigned int mod = no_base ? MOD_DISP0 : mod_of(mem);

	put(c, modrm(mod, reg, sib ? RM_SIB : mem.base));
	if (sib)
		put_sib(c, mem);
	if (no_base || mod == MOD_DISP32)
		put_value(c, mem.disp, 4);
	else if (mod == MOD_DISP8)
		put_value(c, mem.disp, 1);
}

static bool is_new_byte(unsigned int reg)
{
	return reg >= 4 && reg <= 7;
}

static bool needs_rex(unsigned int reg, bool is_byte)
{
	return is_byte && is_new_byte(reg);
}

static uint8_t *encode_rr(uint8_t *at, const struct x64_op *op, unsigned int reg, unsigned int rm)
{
	struct code c = {at};

	put_head(&c, op, high(reg) << 2 | high(rm), needs_rex(reg, op->byte_reg) || needs_rex(rm, op->byte_rm));
	put(&c, modrm(MOD_REGISTER, reg, rm));
	put_value(&c, op->imm, op->imm_size);
	return c.at;
}

static uint8_t *encode_rm(uint8_t *at, const struct x64_op *op, unsigned int reg, struct x64_mem mem)
{
	unsigned int x = mem.index == X64_NONE ? 0 : high(mem.index);
	unsigned int b = mem.base == X64_NONE ? 0 : high(mem.base);
	struct code c = {at};

	put_head(&c, op, high(reg) << 2 | x << 1 | b, needs_rex(reg, op->byte_reg));
	put_mem(&c, reg, mem);
	put_value(&c, op->imm, op->imm_size);
	return c.at;
}

static uint8_t *encode_o(uint8_t *at, const struct x64_op *op, unsigned int reg)
{
	struct code c = {at};

	put_head(&c, op, high(reg), needs_rex(reg, op->byte_rm));
	put_value(&c, op->imm, op->imm_size);
	return c.at;
}

/* Where the place may be too small, by way of scratch. */
__attribute__((noinline)) static void squeeze_rr(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int rm)
{
	uint8_t scratch[LONGEST];

	x64_emit_bytes(a, scratch, (size_t)(encode_rr(scratch, &op, reg, rm) - scratch));
}

__attribute__((noinline)) static void squeeze_rm(struct x64 *a, struct x64_op op, unsigned int reg, struct x64_mem mem)
{
	uint8_t scratch[LONGEST];

	x64_emit_bytes(a, scratch, (size_t)(encode_rm(scratch, &op, reg, mem) - scratch));
}

__attribute__((noinline)) static void squeeze_o(struct x64 *a, struct x64_op op, unsigned int reg)
{
	uint8_t scratch[LONGEST];

	x64_emit_bytes(a, scratch, (size_t)(encode_o(scratch, &op, reg) - scratch));
}

void x64_emit_rr(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int rm)
{
	assert(reg < 16 && rm < 16);
	if (has_room(a))
		a->at = encode_rr(a->at, &op, reg, rm);
	else
		squeeze_rr(a, op, reg, rm);
}

void x64_emit_rm(struct x64 *a, struct x64_op op, unsigned int reg, struct x64_mem mem)
{
	assert(reg < 16 && mem.index != X64_RSP);
	assert(mem.scale == 1 || mem.scale == 2 || mem.scale == 4 || mem.scale == 8);
	mem = shortest(mem);
	if (has_room(a))
		a->at = encode_rm(a->at, &op, reg, mem);
	else
		squeeze_rm(a, op, reg, mem);
}

void x64_emit_o(struct x64 *a, struct x64_op op, unsigned int reg)
{
	assert(reg < 16);
	op.byte = (uint8_t)(op.byte + (reg & 7));
	if (has_room(a))
		a->at = encode_o(a->at, &op, reg);
	else
		squeeze_o(a, op, reg);
}

/* SDM 2, 2.3.5: R, X, B and vvvv are inverted; the mandatory prefix is a number. */
void x64_emit_vex(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int vvvv, unsigned int rm)
{
	unsigned int pp = op.prefix == 0x66 ? 1 : op.prefix == 0xf3 ? 2 : op.prefix == 0xf2 ? 3 : 0;
	uint8_t scratch[LONGEST];
	struct code c = {scratch};

	assert(reg < 16 && vvvv < 16 && rm < 16);
	if (op.map == X64_MAP_0F && !op.wide && !high(rm)) {
		put(&c, 0xc5);
		put(&c, (high(reg) ^ 1) << 7 | (~vvvv & 15) << 3 | pp);
	} else {
		put(&c, 0xc4);
		put(&c, (high(reg) << 7 | 0x40 | high(rm) << 5 | op.map) ^ 0xa0);
		put(&c, (unsigned int)op.wide << 7 | (~vvvv & 15) << 3 | pp);
	}
	put(&c, op.byte);
	put(&c, modrm(MOD_REGISTER, reg, rm));
	put_value(&c, op.imm, op.imm_size);
	x64_emit_bytes(a, scratch, (size_t)(c.at - scratch));
}
