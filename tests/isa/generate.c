#include "generate.h"

#include <string.h>

#include "corners.h"
#include "riscv/decode.h"
#include "values.h"

#define BASES 3
#define SKIP_MAX 8
#define BODY_MAX 24

struct generator {
	struct isa_fragment *f;
	struct isa_random random;
	bool fixed[32];      /* registers that only this file's own instructions write */
	uint32_t base[BASES]; /* they point into the writable data; base[0] is aligned */
	uint32_t table;       /* points into the table of operands */
	uint32_t counter;     /* of loops */
	bool in_loop;
};

static unsigned below(struct generator *g, unsigned bound)
{
	return isa_below(&g->random, bound);
}

static bool room(const struct generator *g, unsigned items)
{
	return g->f->count + items < ISA_ITEMS_MAX;
}

static struct isa_item *emit(struct generator *g, uint32_t word)
{
	struct isa_item *item = &g->f->items[g->f->count++];

	*item = (struct isa_item){.word = word, .length = (uint8_t)insn_length((uint16_t)word), .target = -1};
	return item;
}

static void emit_inner(struct generator *g, uint32_t word)
{
	emit(g, word)->inner = true;
}

static uint32_t destination(struct generator *g)
{
	uint32_t reg;

	do
		reg = below(g, 32);
	while (g->fixed[reg]);
	return reg;
}

/* One that holds what is written to it. */
static uint32_t temporary(struct generator *g)
{
	uint32_t reg;

	do
		reg = destination(g);
	while (reg == 0);
	return reg;
}

static uint32_t any_scratch(struct generator *g)
{
	return g->base[below(g, BASES)];
}

static uint32_t rounding(struct generator *g)
{
	uint32_t mode = below(g, 7);

	return (mode < 5 ? mode : 7) << 12;
}

static uint32_t encode_i(uint32_t match, uint32_t rd, uint32_t rs1, uint32_t imm)
{
	return match | rd << 7 | rs1 << 15 | imm << 20;
}

static uint32_t addi(uint32_t rd, uint32_t rs1, uint32_t imm)
{
	return encode_i(0x13, rd, rs1, imm);
}

static uint32_t pick_fixed(struct generator *g, unsigned from, unsigned count)
{
	uint32_t reg;

	do
		reg = from + below(g, count);
	while (g->fixed[reg] || reg == 0);
	g->fixed[reg] = true;
	return reg;
}

/* Two of the registers that compressed instructions name by three bits serve as bases, and often sp. */
static void assign_registers(struct generator *g)
{
	struct isa_state *state = &g->f->start.state;

	for (unsigned i = 1; i < 32; i++)
		state->x[i] = isa_integer(&g->random);
	for (unsigned i = 0; i < 32; i++)
		state->f[i] = isa_float(&g->random);
	state->fcsr = below(g, 5) << 5 | below(g, 32);
	g->base[0] = pick_fixed(g, 8, 8);
	g->base[1] = pick_fixed(g, 8, 8);
	g->base[2] = below(g, 3) ? pick_fixed(g, 2, 1) : pick_fixed(g, 1, 31);
	g->table = pick_fixed(g, 1, 31);
	g->counter = pick_fixed(g, 1, 31);
	for (unsigned i = 0; i < BASES; i++)
		state->x[g->base[i]] =
			ISA_DATA + ISA_TABLE_SIZE + 0x800 + below(g, ISA_DATA_SIZE - ISA_TABLE_SIZE - 0x1010);
	state->x[g->base[0]] &= ~UINT64_C(15);
	state->x[g->table] = ISA_DATA + 0x800;
	state->x[g->counter] = 0;
}

static void fill_data(struct generator *g)
{
	for (unsigned at = 0; at < ISA_DATA_SIZE; at += 8) {
		uint64_t value = htole64(below(g, 2) ? isa_integer(&g->random) : isa_float(&g->random));

		memcpy(g->f->data + at, &value, sizeof value);
	}
}

static bool control(unsigned id)
{
	return id == INSN_JAL || id == INSN_JALR || insn_table[id].format == INSN_FORMAT_B;
}

/* What isa_corners_modelled names is not for the oracle; system and cache-block instructions are not for users. */
bool isa_generates(unsigned id)
{
	const struct insn_info *info = &insn_table[id];

	if (id == INSN_ILLEGAL || info->format == INSN_FORMAT_CBO || info->format == INSN_FORMAT_CSR ||
	    isa_corners_modelled(id))
		return false;
	return info->format != INSN_FORMAT_NONE ? (info->match & 0x7f) != 0x73
						: id == INSN_FENCE || id == INSN_PAUSE;
}

static bool memory_access(unsigned id)
{
	return insn_table[id].flags & (INSN_LOAD | INSN_STORE);
}

/* Any bits where the table leaves a choice, a destination that may be written, a valid rounding mode. */
static uint32_t random_word(struct generator *g, unsigned id)
{
	const struct insn_info *info = &insn_table[id];
	uint32_t word = info->match | ((uint32_t)isa_random(&g->random) & ~info->mask);
	bool to_float = info->format == INSN_FORMAT_FR4 || info->format == INSN_FORMAT_FRM2 ||
			info->format == INSN_FORMAT_FRM1 || info->format == INSN_FORMAT_F2 ||
			info->format == INSN_FORMAT_XTOF || info->format == INSN_FORMAT_XTOFRM ||
			info->format == INSN_FORMAT_FLOAD;

	if ((info->flags & INSN_FLOAT) && (info->mask & 0x7000) == 0)
		word = (word & ~0x7000u) | rounding(g);
	if (!to_float && !(info->mask & 0xf80) && info->format != INSN_FORMAT_B)
		word = (word & ~0xf80u) | destination(g) << 7;
	return word;
}

static void put_access(struct generator *g, unsigned id)
{
	const struct insn_info *info = &insn_table[id];
	bool from_table = (info->flags & INSN_LOAD) && below(g, 3) == 0;
	uint32_t base = from_table ? g->table : any_scratch(g), imm = below(g, 4096);
	uint32_t other = below(g, 32);

	if (from_table && below(g, 2))
		imm &= ~7u;
	if (info->flags & INSN_STORE) {
		emit(g, info->match | base << 15 | other << 20 | (imm >> 5) << 25 | (imm & 31) << 7);
		return;
	}
	if (info->format == INSN_FORMAT_I)
		other = destination(g);
	emit(g, encode_i(info->match, other, base, imm));
}

/* Words and doublewords have addresses of their own: whether an SC of another width than its LR succeeds is not
 * defined (Unprivileged 8.2). */
static uint32_t atomic_offset(struct generator *g, unsigned id)
{
	bool wide = insn_table[id].match >> 12 & 1;

	return below(g, 32) * 16 + (wide ? below(g, 2) * 8 : 4 + below(g, 2) * 8);
}

static uint32_t atomic_word(struct generator *g, unsigned id, uint32_t address)
{
	uint32_t rs2 = insn_table[id].mask >> 20 & 31 ? 0 : below(g, 32);

	return insn_table[id].match | destination(g) << 7 | address << 15 | rs2 << 20 | below(g, 4) << 25;
}

static void put_atomic(struct generator *g, unsigned id)
{
	uint32_t address = temporary(g);

	emit(g, addi(address, g->base[0], atomic_offset(g, id)));
	emit_inner(g, atomic_word(g, id, address));
}

/* Mostly the right way to use them; now and then a store between them, or another address. */
static void put_reservation(struct generator *g)
{
	bool wide = below(g, 2);
	unsigned lr = wide ? INSN_LR_D : INSN_LR_W, sc = wide ? INSN_SC_D : INSN_SC_W;
	uint32_t address = temporary(g), value = below(g, 32), offset = atomic_offset(g, lr), rd;

	/* LR leaves the address in place. */
	do
		rd = destination(g);
	while (rd == address);
	emit(g, addi(address, g->base[0], offset));
	emit_inner(g, insn_table[lr].match | rd << 7 | address << 15 | below(g, 4) << 25);
	if (below(g, 3) == 0)
		emit_inner(g, insn_table[INSN_SD].match | g->base[0] << 15 | value << 20 |
				      ((offset & ~7u) >> 5) << 25 | (offset & 24) << 7);
	if (below(g, 4) == 0)
		emit_inner(g, addi(address, g->base[0], atomic_offset(g, lr)));
	emit_inner(g, atomic_word(g, sc, address));
}

static void put_csr(struct generator *g)
{
	static const uint8_t numbers[] = {1, 2, 3};
	uint32_t rd = destination(g), csr = numbers[below(g, 3)], temp;

	switch (below(g, 5)) {
	case 0: /* csrrs rd, csr, x0 */
		emit(g, 0x2073 | rd << 7 | csr << 20);
		break;
	case 1: /* csrrwi rd, frm, 0 to 4 */
		emit(g, 0x5073 | rd << 7 | below(g, 5) << 15 | 2u << 20);
		break;
	case 2: /* flags: any operation, any operand, register or not */
		emit(g, (below(g, 2) << 14 | (1 + below(g, 3)) << 12) | 0x73 | rd << 7 | below(g, 32) << 15 | 1u << 20);
		break;
	case 3: /* fcsr or frm with bits cleared: the modes from 0 to 4 stay among themselves */
		emit(g, (below(g, 2) ? 0x3073u : 0x7073u) | rd << 7 | below(g, 32) << 15 | csr << 20);
		break;
	default:
		temp = temporary(g);
		emit(g, addi(temp, 0, below(g, 5) << 5 | below(g, 32)));
		emit_inner(g, 0x1073 | rd << 7 | temp << 15 | 3u << 20);
	}
}

static int32_t forward(struct generator *g)
{
	return (int32_t)(g->f->count + 1 + below(g, SKIP_MAX));
}

static void put_jump(struct generator *g, unsigned id)
{
	int32_t target = forward(g);
	uint32_t temp;

	if (id != INSN_JALR) {
		struct isa_item *item = emit(g, random_word(g, id) & 0x01fff07f);

		if (id == INSN_JAL)
			item->word = insn_table[id].match | destination(g) << 7;
		item->target = target;
		return;
	}
	/* auipc of nothing, then a jump whose distance isa_assemble puts in. */
	temp = temporary(g);
	emit(g, 0x17 | temp << 7);
	emit_inner(g, encode_i(0x67, destination(g), temp, 0));
	g->f->items[g->f->count - 1].target = target + 1;
}

/* One instruction of the table, of whatever kind. */
static void put_any(struct generator *g)
{
	unsigned id;

	do
		id = below(g, INSN_IDS);
	while (!isa_generates(id));
	if (control(id))
		put_jump(g, id);
	else if (insn_table[id].flags & INSN_ATOMIC)
		put_atomic(g, id);
	else if (memory_access(id))
		put_access(g, id);
	else
		emit(g, random_word(g, id));
}

static bool writes_fixed(const struct generator *g, const struct insn *insn)
{
	uint8_t format = insn_table[insn->id].format;

	return format != INSN_FORMAT_S && format != INSN_FORMAT_FSTORE && format != INSN_FORMAT_FLOAD &&
	       format != INSN_FORMAT_B && g->fixed[insn->rd];
}

static bool compressed_fits(const struct generator *g, const struct insn *insn)
{
	bool base = false;

	if (insn->id == INSN_ILLEGAL || insn->id == INSN_EBREAK || insn->id == INSN_JALR || writes_fixed(g, insn))
		return false;
	for (unsigned i = 0; i < BASES; i++)
		base |= insn->rs1 == g->base[i];
	return base || !memory_access(insn->id);
}

static void put_compressed(struct generator *g)
{
	for (unsigned tries = 0; tries < 100; tries++) {
		uint32_t half = (uint32_t)isa_random(&g->random) & 0xffff;
		struct insn insn;

		if ((half & 3) == 3)
			continue;
		insn = insn_decode(half);
		if (!compressed_fits(g, &insn))
			continue;
		if (control(insn.id))
			emit(g, half)->target = forward(g);
		else
			emit(g, half);
		return;
	}
}

/* What compilers make rotations, extensions, carries and places of elements of, among few registers, in any order: a
 * translator may take several for one. */
static void put_shifts(struct generator *g)
{
	static const uint32_t sums[] = {0x00000033 /* add */, 0x0000003b /* addw */, 0x00006033 /* or */,
					0x00004033 /* xor */};
	uint32_t regs[3] = {temporary(g), temporary(g), temporary(g)};
	uint32_t left = 1 + below(g, 31), index = 29 + below(g, 4);

	for (unsigned left_over = 3 + below(g, 10); left_over > 0 && room(g, 4); left_over--) {
		uint32_t rd = regs[below(g, 3)], rs = regs[below(g, 3)];
		const uint32_t words[] = {
			encode_i(0x1013, rd, rs, left),       /* slli */
			encode_i(0x5013, rd, rs, 64 - left),  /* srli */
			encode_i(0x101b, rd, rs, left),       /* slliw */
			encode_i(0x501b, rd, rs, 32 - left),  /* srliw */
			encode_i(0x1013, rd, rs, 1 + left % 3),
			encode_i(0x1013, rd, rs, 32),
			encode_i(0x5013, rd, rs, index),
			encode_i(0x7013, rd, rs, 0xff),       /* andi */
			0x00003033u | rd << 7 | (below(g, 2) ? rs : 0) << 15 | regs[below(g, 3)] << 20, /* sltu */
			0x00002033u | rd << 7 | (below(g, 2) ? rs : 0) << 15 | regs[below(g, 3)] << 20, /* slt */
			sums[below(g, 4)] | rd << 7 | rs << 15 | regs[below(g, 3)] << 20,
			sums[below(g, 4)] | rd << 7 | rd << 15 | rs << 20,
			sums[below(g, 4)] | rd << 7 | rs << 15 | rd << 20,
		};

		if (below(g, 16) == 0)
			put_access(g, INSN_LB + below(g, 11));
		else
			emit(g, words[below(g, sizeof words / sizeof *words)]);
	}
}

static void put_one(struct generator *g);

static void put_loop(struct generator *g)
{
	unsigned body = 1 + below(g, BODY_MAX);
	int32_t start;

	emit(g, addi(g->counter, 0, 1 + below(g, 12)));
	start = (int32_t)g->f->count;
	g->in_loop = true;
	while (g->f->count < (unsigned)start + body && room(g, 16))
		put_one(g);
	g->in_loop = false;
	emit(g, addi(g->counter, g->counter, 0xfff));
	/* blt x0, counter: whoever jumps into the middle comes out as well. */
	emit_inner(g, 0x4063u | g->counter << 20);
	g->f->items[g->f->count - 1].target = start;
}

static void put_one(struct generator *g)
{
	unsigned kind = below(g, 100);

	if (kind < 44)
		put_any(g);
	else if (kind < 50)
		put_shifts(g);
	else if (kind < 75)
		put_compressed(g);
	else if (kind < 90)
		put_access(g, INSN_FLH + below(g, 3));
	else if (kind < 94)
		put_csr(g);
	else if (kind < 97)
		put_reservation(g);
	else if (kind < 98 && !g->in_loop)
		put_loop(g);
	else
		put_access(g, INSN_LB + below(g, 11));
}

/* Jumps to what relies on its predecessor go on to the next that does not; beyond the end is the end. */
static void settle_targets(struct isa_fragment *f)
{
	for (unsigned i = 0; i < f->count; i++) {
		struct isa_item *item = &f->items[i];

		while (item->target >= 0 && item->target < (int32_t)f->count && f->items[item->target].inner)
			item->target++;
		if (item->target > (int32_t)f->count)
			item->target = (int32_t)f->count;
	}
}

static uint32_t branch_bits(uint32_t d)
{
	return (d >> 12 & 1) << 31 | (d >> 5 & 63) << 25 | (d >> 1 & 15) << 8 | (d >> 11 & 1) << 7;
}

static uint32_t jump_bits(uint32_t d)
{
	return (d >> 20 & 1) << 31 | (d >> 1 & 0x3ff) << 21 | (d >> 11 & 1) << 20 | (d & 0xff000);
}

static uint32_t compressed_jump_bits(uint32_t d)
{
	return (d >> 11 & 1) << 12 | (d >> 4 & 1) << 11 | (d >> 8 & 3) << 9 | (d >> 10 & 1) << 8 | (d >> 6 & 1) << 7 |
	       (d >> 7 & 1) << 6 | (d >> 1 & 7) << 3 | (d >> 5 & 1) << 2;
}

static uint32_t compressed_branch_bits(uint32_t d)
{
	return (d >> 8 & 1) << 12 | (d >> 3 & 3) << 10 | (d >> 6 & 3) << 5 | (d >> 1 & 3) << 3 | (d >> 5 & 1) << 2;
}

static uint32_t with_distance(uint32_t word, uint32_t d)
{
	if ((word & 3) != 3)
		return word >> 13 == 5 ? (word & 0xe003) | compressed_jump_bits(d)
				       : (word & 0xe383) | compressed_branch_bits(d);
	if ((word & 0x7f) == 0x6f)
		return (word & 0xfff) | jump_bits(d);
	/* A jalr behind its auipc counts from there. */
	if ((word & 0x7f) == 0x67)
		return (word & 0xfffff) | (d + 4) << 20;
	return (word & 0x01fff07f) | branch_bits(d);
}

void isa_assemble(struct isa_fragment *f)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < f->count; i++) {
		f->offset[i] = at;
		at += f->items[i].length;
	}
	f->offset[f->count] = at;
	for (unsigned i = 0; i < f->count; i++) {
		struct isa_item *item = &f->items[i];
		uint32_t word;

		if (item->target >= 0)
			item->word = with_distance(item->word, f->offset[item->target] - f->offset[i]);
		word = htole32(item->word);
		memcpy(f->code + f->offset[i], &word, item->length);
	}
	f->start.code_bytes = at;
}

void isa_truncate(struct isa_fragment *f, unsigned count)
{
	f->start.code_bytes = f->offset[count];
}

void isa_generate(struct isa_fragment *f, uint64_t seed, unsigned length)
{
	struct generator g = {.f = f, .random = {seed}};

	memset(f, 0, sizeof *f);
	g.fixed[0] = false;
	assign_registers(&g);
	fill_data(&g);
	while (f->count < length && room(&g, 64))
		put_one(&g);
	settle_targets(f);
	isa_assemble(f);
}
