#include "engine/translate/x64_emit.h"

#include <assert.h>
#include <string.h>

enum { MOD_DISP0 = 0x00, MOD_DISP8 = 0x40, MOD_DISP32 = 0x80, MOD_REGISTER = 0xc0 };

/* Low register numbers that ModRM and SIB give another meaning: rsp and r12, rbp and r13. */
enum { RM_SIB = 4, SIB_NO_INDEX = 4, RM_NO_BASE = 5 };

enum { REX = 0x40, REX_W = 0x48 };

/* These append to `at`, and return where the next byte goes. */
static inline uint8_t *put(uint8_t *at, unsigned int byte)
{
	*at = (uint8_t)byte;
	return at + 1;
}

static inline uint8_t *put_value(uint8_t *at, int32_t value, unsigned int size)
{
	memcpy(at, &value, 4);
	return at + size;
}

static inline unsigned int high(unsigned int reg)
{
	return reg >> 3 & 1;
}

static inline unsigned int modrm(unsigned int mod, unsigned int reg, unsigned int rm)
{
	return mod | (reg & 7) << 3 | (rm & 7);
}

void x64_emit_bytes(struct x64 *a, const uint8_t *bytes, size_t count)
{
	if (a->overflow || (size_t)(a->end - a->at) < count) {
		a->overflow = true;
		/* Nothing fits from now on. */
		a->end = a->at;
		return;
	}
	memcpy(a->at, bytes, count);
	a->at += count;
}

static inline unsigned int imm_size(struct x64_op op)
{
	return op.bits >> X64_IMM_SHIFT;
}

static inline unsigned int prefix(struct x64_op op)
{
	return op.bits >> X64_PREFIX_SHIFT & 0xff;
}

static inline uint8_t *put_prefixes(uint8_t *at, struct x64_op op)
{
	if (op.bits & X64_LOCK)
		at = put(at, 0xf0);
	if (op.bits & X64_HALF)
		at = put(at, 0x66);
	if (prefix(op))
		at = put(at, prefix(op));
	return at;
}

static inline uint8_t *put_opcode(uint8_t *at, struct x64_op op)
{
	uint32_t map = op.bits & X64_MAP_MASK;

	if (map != X64_MAP_ONE_BYTE)
		at = put(at, 0x0f);
	if (map >= X64_MAP_0F38)
		at = put(at, map == X64_MAP_0F38 ? 0x38 : 0x3a);
	return put(at, op.bits);
}

/* Everything up to the opcode's last byte; `rex` has the bits R, X and B. A byte register 4 to 7 is the low byte
 * of rsp to rdi only under a REX prefix, SDM 2, 3.1.1.1. */
static inline uint8_t *put_head(uint8_t *at, struct x64_op op, unsigned int rex, bool need_rex)
{
	at = put_prefixes(at, op);
	rex |= op.bits & X64_WIDE ? REX_W : 0;
	if (rex || need_rex)
		at = put(at, REX | rex);
	return put_opcode(at, op);
}

/* An index alone takes a displacement of 32 bits; as a base it does not. */
static inline struct x64_mem shortest(struct x64_mem mem)
{
	if (unlikely(mem.base == X64_NONE) && mem.index != X64_NONE && mem.scale <= 2) {
		mem.base = mem.index;
		mem.index = mem.scale == 1 ? X64_NONE : mem.index;
		mem.scale = 1;
	}
	return mem;
}

static inline uint8_t *put_sib(uint8_t *at, struct x64_mem mem)
{
	unsigned int scale = (unsigned int)__builtin_ctz(mem.scale) << 6;
	unsigned int index = mem.index == X64_NONE ? SIB_NO_INDEX : mem.index;

	return put(at, modrm(scale, index, mem.base == X64_NONE ? RM_NO_BASE : mem.base));
}

static inline unsigned int mod_of(struct x64_mem mem)
{
	if (mem.disp == 0 && (mem.base & 7) != RM_NO_BASE)
		return MOD_DISP0;
	return x64_fits_i8(mem.disp) ? MOD_DISP8 : MOD_DISP32;
}

static inline uint8_t *put_mem(uint8_t *at, unsigned int reg, struct x64_mem mem)
{
	static const uint8_t bytes_of_mod[] = {[MOD_DISP8 >> 6] = 1, [MOD_DISP32 >> 6] = 4};
	bool no_base = mem.base == X64_NONE;
	bool sib = no_base || mem.index != X64_NONE || (mem.base & 7) == RM_SIB;
	unsigned int mod = no_base ? MOD_DISP0 : mod_of(mem);

	at = put(at, modrm(mod, reg, sib ? RM_SIB : mem.base));
	if (sib)
		at = put_sib(at, mem);
	return put_value(at, mem.disp, no_base ? 4 : bytes_of_mod[mod >> 6]);
}

static inline bool needs_rex(unsigned int reg, bool is_byte)
{
	return is_byte && reg >= 4 && reg <= 7;
}

static inline uint8_t *encode_rr(uint8_t *at, struct x64_op op, unsigned int reg, unsigned int rm)
{
	at = put_head(at, op, high(reg) << 2 | high(rm), needs_rex(reg, op.bits & X64_BYTE_REG) || needs_rex(rm, op.bits & X64_BYTE_RM));
	at = put(at, modrm(MOD_REGISTER, reg, rm));
	return put_value(at, op.imm, imm_size(op));
}

static inline uint8_t *encode_rm(uint8_t *at, struct x64_op op, unsigned int reg, struct x64_mem mem)
{
	/* X64_NONE has no high bit. */
	at = put_head(at, op, high(reg) << 2 | high(mem.index) << 1 | high(mem.base), needs_rex(reg, op.bits & X64_BYTE_REG));
	at = put_mem(at, reg, mem);
	return put_value(at, op.imm, imm_size(op));
}
_Static_assert((X64_NONE >> 3 & 1) == 0, "X64_NONE gives no bit of REX");

static inline uint8_t *encode_o(uint8_t *at, struct x64_op op, unsigned int reg)
{
	at = put_head(at, op, high(reg), needs_rex(reg, op.bits & X64_BYTE_RM));
	return put_value(at, op.imm, imm_size(op));
}

/* Where the place may be too small, by way of scratch. */
__attribute__((noinline, cold)) static void squeeze(struct x64 *a, const uint8_t *scratch, const uint8_t *end)
{
	x64_emit_bytes(a, scratch, (size_t)(end - scratch));
}

/* Of any kind, anywhere: out of the way of what most instructions are. */
__attribute__((noinline)) static void any_rr(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int rm)
{
	uint8_t scratch[X64_LONGEST];

	if (x64_has_room(a))
		a->at = encode_rr(a->at, op, reg, rm);
	else
		squeeze(a, scratch, encode_rr(scratch, op, reg, rm));
}

__attribute__((noinline)) static void any_rm(struct x64 *a, struct x64_op op, unsigned int reg, struct x64_mem mem)
{
	uint8_t scratch[X64_LONGEST];

	assert(x64_is_size(mem.scale));
	mem = shortest(mem);
	if (x64_has_room(a))
		a->at = encode_rm(a->at, op, reg, mem);
	else
		squeeze(a, scratch, encode_rm(scratch, op, reg, mem));
}

__attribute__((noinline)) static void any_o(struct x64 *a, struct x64_op op, unsigned int reg)
{
	uint8_t scratch[X64_LONGEST];

	if (x64_has_room(a))
		a->at = encode_o(a->at, op, reg);
	else
		squeeze(a, scratch, encode_o(scratch, op, reg));
}

/* What an opcode of one byte on registers of four or eight has, perhaps with an immediate. */
#define PLAIN (0xffu | X64_WIDE | UINT32_C(7) << X64_IMM_SHIFT)
#define PLAIN_WITHOUT_IMMEDIATE (0xffu | X64_WIDE)

/* REX, if there is a bit for it, and the opcode. */
static inline uint8_t *put_plain(uint8_t *at, struct x64_op op, unsigned int rex)
{
	rex |= op.bits >> 21 & 8;
	*at = (uint8_t)(REX | rex);
	at += rex != 0;
	return put(at, op.bits);
}

void x64_emit_rr(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int rm)
{
	uint8_t *at = a->at;

	assert((reg | rm) < 16);
	if (unlikely((op.bits & ~PLAIN) || !x64_has_room(a))) {
		any_rr(a, op, reg, rm);
		return;
	}
	at = put_plain(at, op, (reg >> 3) << 2 | rm >> 3);
	at = put(at, modrm(MOD_REGISTER, reg, rm));
	a->at = put_value(at, op.imm, imm_size(op));
}

void x64_emit_rm(struct x64 *a, struct x64_op op, unsigned int reg, struct x64_mem mem)
{
	unsigned int base = mem.base, index = mem.index, mod = MOD_DISP0, disp = 0;
	uint8_t *at = a->at;

	assert(reg < 16 && index != X64_RSP);
	if (unlikely((op.bits & ~PLAIN_WITHOUT_IMMEDIATE) || base == X64_NONE || !x64_has_room(a))) {
		any_rm(a, op, reg, mem);
		return;
	}
	at = put_plain(at, op, (reg >> 3) << 2 | high(index) << 1 | base >> 3);
	if (mem.disp || (base & 7) == RM_NO_BASE) {
		disp = x64_fits_i8(mem.disp) ? 1 : 4;
		mod = disp == 1 ? MOD_DISP8 : MOD_DISP32;
	}
	if (index == X64_NONE && (base & 7) != RM_SIB) {
		at = put(at, modrm(mod, reg, base));
	} else {
		at = put(at, modrm(mod, reg, RM_SIB));
		at = put_sib(at, mem);
	}
	a->at = put_value(at, mem.disp, disp);
}

void x64_emit_o(struct x64 *a, struct x64_op op, unsigned int reg)
{
	assert(reg < 16);
	op.bits += reg & 7;
	if (unlikely((op.bits & ~PLAIN) || !x64_has_room(a))) {
		any_o(a, op, reg);
		return;
	}
	a->at = put_value(put_plain(a->at, op, reg >> 3), op.imm, imm_size(op));
}

/* SDM 2, 2.3.5: R, X, B and vvvv are inverted; the mandatory prefix is a number. */
void x64_emit_vex(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int vvvv, unsigned int rm)
{
	unsigned int pp = prefix(op) == 0x66 ? 1 : prefix(op) == 0xf3 ? 2 : prefix(op) == 0xf2 ? 3 : 0;
	unsigned int map = (op.bits & X64_MAP_MASK) >> X64_MAP_SHIFT;
	bool wide = op.bits & X64_WIDE;
	uint8_t scratch[X64_LONGEST], *at = x64_has_room(a) ? a->at : scratch;

	assert(reg < 16 && vvvv < 16 && rm < 16);
	if (map == X64_MAP_0F >> X64_MAP_SHIFT && !wide && !high(rm)) {
		at = put(at, 0xc5);
		at = put(at, (high(reg) ^ 1) << 7 | (~vvvv & 15) << 3 | pp);
	} else {
		at = put(at, 0xc4);
		at = put(at, (high(reg) << 7 | 0x40 | high(rm) << 5 | map) ^ 0xa0);
		at = put(at, (unsigned int)wide << 7 | (~vvvv & 15) << 3 | pp);
	}
	at = put(at, op.bits);
	at = put(at, modrm(MOD_REGISTER, reg, rm));
	at = put_value(at, op.imm, imm_size(op));
	if (x64_has_room(a))
		a->at = at;
	else
		squeeze(a, scratch, at);
}
