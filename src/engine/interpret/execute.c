/*
 * The dispatch loop: direct-threaded code over predecoded blocks.
 *
 * One label an instruction, listed from the instruction table, so that an instruction without a handler does not
 * compile. Handlers of the integer instructions come from riscv/semantics.def; what is long, rare or privileged is a
 * call into the neighbouring files.
 */
#include "engine/interpret/vcpu.h"
#include "riscv/decode.h"
#include "riscv/float.h"
#include "riscv/semantics.h"

/* Guest bytes at any alignment, moved by one host instruction where the host can. */
typedef struct {
	uint8_t v;
} __attribute__((packed, may_alias)) guest_u8;
typedef struct {
	uint16_t v;
} __attribute__((packed, may_alias)) guest_u16;
typedef struct {
	uint32_t v;
} __attribute__((packed, may_alias)) guest_u32;
typedef struct {
	uint64_t v;
} __attribute__((packed, may_alias)) guest_u64;

#define le8toh(v) (v)
#define htole8(v) (v)

#define NEXT                                                                                                   \
	do {                                                                                               \
		op++;                                                                                      \
		goto *op->handler;                                                                         \
	} while (0)

#define RAISE(cause_)                                                                                          \
	do {                                                                                               \
		cause = (cause_);                                                                          \
		goto exception;                                                                            \
	} while (0)

#define PURE_R(id, expression)                                                                                 \
	op_##id:                                                                                           \
	{                                                                                                  \
		uint64_t a = x[op->rs1], b = x[op->rs2];                                                   \
		x[op->rd] = (expression);                                                                  \
		NEXT;                                                                                      \
	}
#define PURE_R1(id, expression)                                                                                \
	op_##id:                                                                                           \
	{                                                                                                  \
		uint64_t a = x[op->rs1];                                                                   \
		x[op->rd] = (expression);                                                                  \
		NEXT;                                                                                      \
	}
#define PURE_I(id, expression)                                                                                 \
	op_##id:                                                                                           \
	{                                                                                                  \
		uint64_t a = x[op->rs1], b = (uint64_t)op->imm;                                            \
		x[op->rd] = (expression);                                                                  \
		NEXT;                                                                                      \
	}

#define BRANCH(id, condition)                                                                                  \
	op_##id:                                                                                           \
	{                                                                                                  \
		uint64_t a = x[op->rs1], b = x[op->rs2];                                                   \
		if (condition) {                                                                           \
			target = block_pc + (uint64_t)op->imm;                                             \
			goto taken;                                                                        \
		}                                                                                          \
		goto fall_through;                                                                         \
	}

/* The tag is compared with the page of the last byte: an access that crosses into the next page never matches. */
#define HIT(table, address, size)                                                                              \
	likely((entry = &v->table[tlb_index(address)])->tag ==                                             \
	       ((((address) + (size) - 1) & PAGE_MASK) | data_context))

#define LOAD_VALUE(bits)                                                                                       \
	uint64_t address = x[op->rs1] + (uint64_t)op->imm, value;                                          \
	if (HIT(load, address, (bits) / 8))                                                                \
		value = le##bits##toh(((const guest_u##bits *)(entry->addend + address))->v);              \
	else if ((cause = slow_load(v, address, (bits) / 8, &value)) != CAUSE_NONE)                        \
		goto exception;

#define LOAD(id, bits, type)                                                                                   \
	op_##id:                                                                                           \
	{                                                                                                  \
		LOAD_VALUE(bits)                                                                           \
		x[op->rd] = (uint64_t)(type)value;                                                         \
		NEXT;                                                                                      \
	}

#define FLOAT_LOAD(id, bits, box)                                                                              \
	op_##id:                                                                                           \
	{                                                                                                  \
		if (unlikely(hart_fp_off(hart)))                                                           \
			RAISE(CAUSE_ILLEGAL);                                                              \
		LOAD_VALUE(bits)                                                                           \
		hart->f[op->rd] = box((uint##bits##_t)value);                                              \
		hart->mstatus |= MSTATUS_FS;                                                               \
		NEXT;                                                                                      \
	}

#define STORE_VALUE(bits, value_)                                                                              \
	uint64_t address = x[op->rs1] + (uint64_t)op->imm, value = (value_);                               \
	if (HIT(store, address, (bits) / 8))                                                               \
		((guest_u##bits *)(entry->addend + address))->v = htole##bits((uint##bits##_t)value);      \
	else if ((cause = slow_store(v, address, (bits) / 8, value)) != CAUSE_NONE)                        \
		goto exception;                                                                            \
	NEXT;

#define STORE(id, bits)                                                                                        \
	op_##id:                                                                                           \
	{                                                                                                  \
		STORE_VALUE(bits, x[op->rs2])                                                              \
	}

#define FLOAT_STORE(id, bits)                                                                                  \
	op_##id:                                                                                           \
	{                                                                                                  \
		if (unlikely(hart_fp_off(hart)))                                                           \
			RAISE(CAUSE_ILLEGAL);                                                              \
		STORE_VALUE(bits, hart->f[op->rs2])                                                        \
	}

#define float_box64(v) (v)

/* Guest memory is shared with other harts by design; their races are the guest's own. */
#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize("thread")))
#endif
const void *const *execute(struct engine_vcpu *v)
{
	static const void *const handlers[INSN_IDS + 1] = {
		[INSN_ILLEGAL] = &&op_illegal,
#define INSN(id, ...) [INSN_##id] = &&op_##id,
#define INSN_VIA(group, id, ...) [INSN_##id] = &&op_##group,
#include "riscv/insn.def"
		[INSN_IDS] = &&op_end,
	};
	const struct tlb_entry *entry;
	enum riscv_cause cause = CAUSE_NONE;
	uint64_t block_pc, target, data_context;
	struct block *block, *next;
	const struct op *op;
	struct hart *hart;
	unsigned result;
	int64_t budget;
	uint64_t *x;

	if (!v)
		return handlers;
	hart = v->hart;
	x = hart->x;
	budget = v->given;
	data_context = v->data_context;
	target = hart->pc;
	goto look_up;

#include "riscv/semantics.def"

op_LUI:
	x[op->rd] = (uint64_t)op->imm;
	NEXT;
op_AUIPC:
	x[op->rd] = block_pc + (uint64_t)op->imm;
	NEXT;
op_FENCE:
	atomic_thread_fence(memory_order_seq_cst);
	NEXT;

	BRANCH(BEQ, a == b)
	BRANCH(BNE, a != b)
	BRANCH(BLT, (int64_t)a < (int64_t)b)
	BRANCH(BGE, (int64_t)a >= (int64_t)b)
	BRANCH(BLTU, a < b)
	BRANCH(BGEU, a >= b)
op_JAL:
	x[op->rd] = block_pc + block->bytes;
	target = block_pc + (uint64_t)op->imm;
	goto taken;
op_JALR:
	target = (x[op->rs1] + (uint64_t)op->imm) & ~UINT64_C(1);
	x[op->rd] = block_pc + block->bytes;
	goto look_up;

	LOAD(LB, 8, int8_t)
	LOAD(LH, 16, int16_t)
	LOAD(LW, 32, int32_t)
	LOAD(LD, 64, uint64_t)
	LOAD(LBU, 8, uint8_t)
	LOAD(LHU, 16, uint16_t)
	LOAD(LWU, 32, uint32_t)
	STORE(SB, 8)
	STORE(SH, 16)
	STORE(SW, 32)
	STORE(SD, 64)
	FLOAT_LOAD(FLH, 16, float_box16)
	FLOAT_LOAD(FLW, 32, float_box32)
	FLOAT_LOAD(FLD, 64, float_box64)
	FLOAT_STORE(FSH, 16)
	FLOAT_STORE(FSW, 32)
	FLOAT_STORE(FSD, 64)

op_float:
	if (unlikely(hart_fp_off(hart) || !float_execute(hart, op)))
		RAISE(CAUSE_ILLEGAL);
	NEXT;
op_atomic:
	cause = atomic_execute(v, op);
	if (cause != CAUSE_NONE)
		goto exception;
	NEXT;
op_cache_block:
	cause = cache_block_execute(v, op);
	if (cause != CAUSE_NONE)
		goto exception;
	NEXT;

op_illegal:
	RAISE(CAUSE_ILLEGAL);
op_system:
	hart->pc = block_pc + op->offset * 2u;
	hart->instret = v->instret_base + (uint64_t)(v->given - budget) - 1;
	v->next_pc = block_pc + block->bytes;
	result = system_execute(v, op);
	data_context = v->data_context;
	if (likely(result == SYSTEM_CONTINUE))
		goto fall_through;
	if (result != SYSTEM_LEAVE)
		RAISE((enum riscv_cause)result);
	goto leave;

op_end:
fall_through:
	target = block_pc + block->bytes;
	next = block->next[0];
	if (likely(next && next->generation == v->generation))
		goto enter;
	result = 0;
	goto link;
taken:
	next = block->next[1];
	if (likely(next && next->generation == v->generation))
		goto enter;
	result = 1;
link:
	if (((target ^ block_pc) & PAGE_MASK) == 0) {
		uint64_t epoch = v->epoch;

		next = block_near(v, block, block_pc, target);
		/* A raised epoch says that the cache was emptied, `block` with it. */
		if (next && v->epoch == epoch)
			block->next[result] = next;
		if (next)
			goto enter;
	}
look_up:
	if (unlikely(v->exact && budget == 0)) {
		hart->pc = target;
		goto leave;
	}
	next = block_at(v, target, &cause);
	if (unlikely(!next)) {
		hart->pc = target;
		goto fetch_exception;
	}
enter:
	block = next;
	block_pc = target;
	if (unlikely(budget < block->count || atomic_load_explicit(&v->attention, memory_order_relaxed)))
		goto pause;
	budget -= block->count;
	op = block->ops;
	goto *op->handler;

pause:
	hart->pc = block_pc;
	if (v->exact && budget > 0 && !atomic_load_explicit(&v->attention, memory_order_relaxed)) {
		next = block_cut(v, block_pc, (unsigned)budget, &cause);
		if (!next)
			goto fetch_exception;
		goto enter;
	}
	goto leave;

exception:
	/* This instruction and those behind it were counted at the block's start. */
	budget += block->count - (op - block->ops);
	hart->pc = block_pc + op->offset * 2u;
	if (cause == CAUSE_ILLEGAL)
		v->tval = block_raw(block, op);
fetch_exception:
	counter_add(&v->statistics.exceptions, 1);
	count_trap(v, cause);
	hart->instret = v->instret_base + (uint64_t)(v->given - budget);
	hart_trap(hart, cause, v->tval);
	/* Not retired, but charged: code that only traps must not run for ever. */
	budget--;
	v->charged = 1;
leave:
	v->left = budget;
	return handlers;
}
