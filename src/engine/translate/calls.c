/*
 * Calls from generated code: TLB misses, and instructions that C does.
 */
#include "engine/translate/translator.h"
#include "riscv/csr.h"

/* The operands of an instruction, decoded once. */
static const struct op *op_for(struct translator *t, uint32_t word)
{
	unsigned slot = (word >> 7 ^ word >> 20 ^ word >> 27 ^ word) % OPS_REMEMBERED;
	struct insn insn;

	if (likely(t->op_words[slot] == word && word))
		return &t->ops[slot];
	insn = insn_decode(word);
	t->ops[slot] = op_of(&insn);
	t->op_words[slot] = word;
	return &t->ops[slot];
}

/* Where generated code goes on, at hart->pc, after the state of the hart changed: code, or a way out. */
static const void *go_on(struct translator *t)
{
	struct hart *hart = t->interpreter.hart;
	const uint8_t *code = NULL;
	enum frame_mode mode;

	if (--t->detours == 0 || hart->waiting ||
	    atomic_load_explicit(&t->interpreter.attention, memory_order_relaxed) ||
	    atomic_load_explicit(&hart->power, memory_order_relaxed) != HART_STARTED)
		return t->depot->runtime.leave_trap;
	if (unlikely(hart_pending_interrupt(hart) >= 0)) {
		t->frame->reserved_host = 0;
		interpret_take_interrupt(&t->interpreter);
	}
	if (translator_mode(hart, &mode)) {
		spaces_enter(t, mode);
		code = units_find(t, hart->pc, mode);
		t->frame->page = hart->pc & PAGE_MASK;
	}
	return code ? code : t->depot->runtime.leave_trap;
}

static const void *raise_trap(struct translator *t, enum riscv_cause cause, uint64_t tval)
{
	t->frame->trapped++;
	count_trap(&t->interpreter, cause);
	t->frame->reserved_host = 0;
	hart_trap(t->interpreter.hart, cause, tval);
	return go_on(t);
}

static const void *slow_access(struct hart *hart, uint64_t address, uint32_t access)
{
	struct translator *t = translator_of(hart);
	unsigned size = access >> 12 & 15;
	enum spaces_filled filled = SPACES_OTHER;
	enum riscv_cause cause = CAUSE_NONE;

	/* Of an atomic access the alignment comes first. */
	if (!(access & EMIT_ACCESS_ALIGNED) || !(address & (size - 1)))
		filled = spaces_fill(t, address, size, access & EMIT_ACCESS_STORE, &cause);
	if (filled == SPACES_FILLED)
		return NULL;
	hart->pc = t->frame->page + (access & 4095);
	t->frame->budget += access >> EMIT_ACCESS_REFUND;
	if (filled == SPACES_OTHER)
		return t->depot->runtime.leave_engine;
	t->frame->budget--;
	return raise_trap(t, cause, address);
}

static bool probe(struct hart *hart, uint64_t address, bool store)
{
	struct translator *t = translator_of(hart);
	const struct frame_tlb *entry = &t->frame->tlb[frame_slot(t->frame->mode, address)];
	uint64_t page = address & PAGE_MASK;
	enum riscv_cause cause;

	return spaces_fill(t, address, 1, false, &cause) == SPACES_FILLED && (store ? entry->store : entry->load) == page;
}

static const void *lookup(struct hart *hart)
{
	struct translator *t = translator_of(hart);
	const uint8_t *code = units_find(t, hart->pc, (enum frame_mode)t->frame->mode);

	t->frame->page = hart->pc & PAGE_MASK;
	return code;
}

static uint64_t tval_of(const struct translator *t, enum riscv_cause cause, uint32_t word)
{
	return cause == CAUSE_ILLEGAL ? word : t->interpreter.tval;
}

static bool is_float_csr(unsigned number)
{
	return number == CSR_FFLAGS || number == CSR_FRM || number == CSR_FCSR || number == CSR_SSTATUS ||
	       number == CSR_MSTATUS;
}

/* What a unit stands on is as it was: the mode it was made for, the caches, floats live or not. */
static bool unit_holds(struct translator *t, bool floats_were_live)
{
	struct hart *hart = t->interpreter.hart;
	enum frame_mode mode;

	if (!t->entered || hart->satp != t->spaces.now->satp || !translator_mode(hart, &mode) ||
	    mode != t->frame->mode)
		return false;
	return !floats_were_live || t->frame->floats_live || floats_begin(t);
}

/* Instructions on privileged state. */
static const void *system_instruction(struct translator *t, const struct op *op, uint32_t word, uint32_t place)
{
	struct hart *hart = t->interpreter.hart;
	bool live = t->frame->floats_live, is_csr = op->id >= INSN_CSRRW && op->id <= INSN_CSRRCI;
	uint64_t behind = place >> 16;
	unsigned result;

	hart->pc = t->frame->page + (place & 0xffff);
	t->interpreter.next_pc = hart->pc + insn_length((uint16_t)word);
	hart->instret = t->instret_base + (uint64_t)t->given - t->frame->budget - behind - 1 - t->frame->trapped;
	if (live && is_csr && is_float_csr((unsigned)op->imm))
		floats_end(t);
	result = system_execute(&t->interpreter, op);
	/* The others look around: a loop around `pause` waits for another hart. */
	if (result == SYSTEM_CONTINUE && is_csr && unit_holds(t, live))
		return NULL;
	t->frame->budget += behind;
	if (result != SYSTEM_CONTINUE && result != SYSTEM_LEAVE)
		return raise_trap(t, (enum riscv_cause)result, tval_of(t, (enum riscv_cause)result, word));
	if (result == SYSTEM_CONTINUE)
		hart->pc = t->interpreter.next_pc;
	return go_on(t);
}

static bool float_instruction(struct translator *t, const struct op *op)
{
	bool legal;

	floats_end(t);
	legal = float_execute(t->interpreter.hart, op);
	/* Floats were live, and nothing that float_execute does stands in the way of it. */
	return floats_begin(t) && legal;
}

static const void *call_c(struct hart *hart, uint32_t word, uint32_t place)
{
	struct translator *t = translator_of(hart);
	const struct op *op = op_for(t, word);
	enum riscv_cause cause = CAUSE_NONE;

	if (insn_table[op->id].flags & INSN_ATOMIC) {
		tlb_update_contexts(&t->interpreter);
		cause = atomic_execute(&t->interpreter, op);
	} else if (insn_table[op->id].format == INSN_FORMAT_CBO) {
		tlb_update_contexts(&t->interpreter);
		cause = cache_block_execute(&t->interpreter, op);
	} else if (!(insn_table[op->id].flags & INSN_FLOAT)) {
		return system_instruction(t, op, word, place);
	} else if (!float_instruction(t, op)) {
		cause = CAUSE_ILLEGAL;
	}
	if (cause == CAUSE_NONE)
		return NULL;
	hart->pc = t->frame->page + (place & 0xffff);
	t->frame->budget += place >> 16;
	return raise_trap(t, cause, tval_of(t, cause, word));
}

const struct emit_callbacks translator_callbacks = {
	.slow_access = slow_access, .probe = probe, .call_c = call_c, .lookup = lookup};
