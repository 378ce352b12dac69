/*
 * Blocks: made from guest code, kept by physical address, checked after fence.i.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/interpret/code.h"
#include "engine/interpret/vcpu.h"
#include "riscv/decode.h"

#define ARENA_SIZE (32 * MIB)
#define REST_LEAST MIB /* less is not worth decoding it again */
#define BLOCK_ROOM (sizeof(struct block) + (BLOCK_OPS_MAX + 1) * sizeof(struct op) + BLOCK_OPS_MAX * 4 + 8)

int block_init(struct engine_vcpu *v, struct error *e)
{
	v->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);
	if (v->arena == MAP_FAILED) {
		v->arena = NULL;
		return error_errno(e, -ENOMEM, "room for predecoded code");
	}
	return 0;
}

void block_finish(struct engine_vcpu *v)
{
	if (v->arena)
		munmap(v->arena, ARENA_SIZE);
}

void block_drop_all(struct engine_vcpu *v)
{
	memset(v->hash, 0, sizeof v->hash);
	v->arena_used = 0;
	v->epoch++;
}

void block_rest(struct engine_vcpu *v)
{
	if (v->arena_used < REST_LEAST)
		return;
	block_drop_all(v);
	(void)madvise(v->arena, ARENA_SIZE, MADV_DONTNEED);
}

/* Whether the instruction's rd names an x register that only receives. */
static bool writes_x(const struct insn *insn)
{
	switch (insn_table[insn->id].format) {
	case INSN_FORMAT_R:
	case INSN_FORMAT_R1:
	case INSN_FORMAT_I:
	case INSN_FORMAT_U:
	case INSN_FORMAT_J:
	case INSN_FORMAT_SH6:
	case INSN_FORMAT_SH5:
	case INSN_FORMAT_CSR:
	case INSN_FORMAT_FCMP:
	case INSN_FORMAT_FTOX:
	case INSN_FORMAT_FTOXRM:
		return true;
	default:
		return false;
	}
}

struct op op_of(const struct insn *insn)
{
	return (struct op){
		.imm = insn->imm,
		.rd = insn->rd == 0 && writes_x(insn) ? X_SINK : insn->rd,
		.rs1 = insn->rs1,
		.rs2 = insn->rs2,
		.rs3 = insn->rs3,
		.rm = insn->rm,
		.id = insn->id,
	};
}

static struct op make_op(const struct engine_vcpu *v, const struct insn *insn, unsigned offset)
{
	struct op op = op_of(insn);

	op.handler = v->handlers[insn->id];
	op.offset = (uint8_t)(offset / 2);
	/* Offsets from pc become offsets from the block's start. */
	if (insn_table[insn->id].format == INSN_FORMAT_B || insn->id == INSN_JAL || insn->id == INSN_AUIPC)
		op.imm += (int64_t)offset;
	return op;
}

static void finish_block(struct engine_vcpu *v, struct block *block, unsigned bytes)
{
	block->bytes = (uint16_t)bytes;
	block->ops[block->count] = (struct op){
		.handler = v->handlers[INSN_IDS], .offset = (uint8_t)(bytes / 2), .id = INSN_IDS};
	block->generation = v->generation;
	block->next[0] = block->next[1] = NULL;
	counter_add(&v->statistics.blocks_built, 1);
}

/* Decodes from `source`, which has `room` bytes left in its page, at most `count` instructions. What is decoded is what is kept
 * in `copy`: the guest may be changing them. */
static void decode_block(struct engine_vcpu *v, struct block *block, const uint8_t *source, unsigned room,
			 unsigned count, uint8_t *copy)
{
	unsigned at = 0;

	block->source = source;
	block->copy = copy;
	block->count = 0;
	while (block->count < count && room - at >= 2) {
		struct insn insn;
		uint32_t word;
		bool whole;

		word = code_instruction(source + at, room - at, &whole);
		if (!whole)
			break;
		insn = insn_decode(word);
		word = htole32(word);
		memcpy(copy + at, &word, insn.length);
		block->ops[block->count++] = make_op(v, &insn, at);
		at += insn.length;
		if (insn_table[insn.id].flags & INSN_ENDS)
			break;
	}
	finish_block(v, block, at);
}

static bool unchanged(const struct block *block)
{
	return code_equals(block->source, block->copy, block->bytes);
}

static struct block **bucket(struct engine_vcpu *v, uint64_t physical)
{
	return &v->hash[(physical >> 1 ^ physical >> 15) & (HASH_ENTRIES - 1)];
}

static struct block *build(struct engine_vcpu *v, const uint8_t *source, uint64_t physical)
{
	unsigned room = (unsigned)(GUEST_PAGE_SIZE - (physical & ~PAGE_MASK));
	struct block *block;
	uint8_t copy[BLOCK_OPS_MAX * 4];
	size_t size;

	if (v->arena_used + BLOCK_ROOM > ARENA_SIZE)
		block_drop_all(v);
	block = (struct block *)(v->arena + v->arena_used);
	decode_block(v, block, source, room, BLOCK_OPS_MAX, copy);
	if (block->count == 0)
		return NULL;
	size = sizeof *block + (block->count + 1u) * sizeof(struct op);
	memcpy((uint8_t *)block + size, copy, block->bytes);
	block->copy = (uint8_t *)block + size;
	v->arena_used += (size + block->bytes + 7) & ~(size_t)7;
	block->address = physical;
	block->chain = *bucket(v, physical);
	*bucket(v, physical) = block;
	return block;
}

/* The block of this physical address, or NULL when its first instruction crosses into the next page. */
static struct block *block_of(struct engine_vcpu *v, const uint8_t *source, uint64_t physical)
{
	struct block **link = bucket(v, physical);

	for (struct block *block; (block = *link); link = &block->chain) {
		if (block->address != physical)
			continue;
		if (likely(block->generation == v->generation))
			return block;
		if (unchanged(block)) {
			block->generation = v->generation;
			return block;
		}
		/* Its code is gone: nothing finds it any more, and links to it see its old generation. */
		*link = block->chain;
		break;
	}
	return build(v, source, physical);
}

/* One instruction that cannot be kept: across two pages, or in a page that PMP divides. */
static struct block *single(struct engine_vcpu *v, uint64_t pc, enum riscv_cause *cause)
{
	struct block *block = (struct block *)v->scratch;
	struct insn insn;
	uint32_t word;

	*cause = hart_fetch(v->hart, gva(pc), &word, &v->tval);
	if (*cause != CAUSE_NONE)
		return NULL;
	insn = insn_decode(word);
	memcpy(v->scratch_copy, &word, sizeof word);
	block->copy = block->source = v->scratch_copy;
	block->address = UINT64_MAX;
	block->count = 1;
	block->ops[0] = make_op(v, &insn, 0);
	finish_block(v, block, insn.length);
	return block;
}

struct block *block_at(struct engine_vcpu *v, uint64_t pc, enum riscv_cause *cause)
{
	struct jump_entry *jump = &v->jump[pc >> 1 & (JUMP_ENTRIES - 1)];
	uint64_t key = v->epoch << 12 | v->fetch_context;
	struct block *block;
	const uint8_t *host;
	uint64_t physical;

	if (likely(jump->pc == pc && jump->key == key && jump->block->generation == v->generation))
		return jump->block;
	*cause = fetch_page(v, pc, &host, &physical);
	if (*cause != CAUSE_NONE)
		return NULL;
	if (!host)
		return single(v, pc, cause);
	block = block_of(v, host + (pc & ~PAGE_MASK), physical | (pc & ~PAGE_MASK));
	if (!block)
		return single(v, pc, cause);
	*jump = (struct jump_entry){.pc = pc, .key = v->epoch << 12 | v->fetch_context, .block = block};
	return block;
}

struct block *block_cut(struct engine_vcpu *v, uint64_t pc, unsigned count, enum riscv_cause *cause)
{
	struct block *block = (struct block *)v->scratch;
	const uint8_t *host;
	uint64_t physical;

	*cause = fetch_page(v, pc, &host, &physical);
	if (*cause != CAUSE_NONE)
		return NULL;
	if (host) {
		block->address = UINT64_MAX;
		decode_block(v, block, host + (pc & ~PAGE_MASK),
			     (unsigned)(GUEST_PAGE_SIZE - (pc & ~PAGE_MASK)), count, v->scratch_copy);
	}
	return host && block->count ? block : single(v, pc, cause);
}

struct block *block_near(struct engine_vcpu *v, const struct block *from, uint64_t from_pc, uint64_t pc)
{
	/* A scratch block does not say where its page is. */
	if (from->address == UINT64_MAX)
		return NULL;
	return block_of(v, from->source + (int64_t)(pc - from_pc), from->address + (pc - from_pc));
}

uint32_t block_raw(const struct block *block, const struct op *op)
{
	uint32_t raw = 0;
	uint16_t low;

	memcpy(&low, block->copy + op->offset * 2, 2);
	memcpy(&raw, block->copy + op->offset * 2, insn_length(low));
	return raw;
}
