/*
 * Calls from generated code: TLB misses, and instructions that C does.
 */
#include "engine/translate/translator.h"
#include "riscv/csr.h"

static bool slow_access(struct hart *hart, uint64_t address, uint32_t access, uint32_t refund)
{
	struct translator *t = translator_of(hart);

	if (spaces_fill(t, t->mode, address, access >> 12 & 15, access >> 16 & 1))
		return true;
	hart->pc = t->frame->page + (access & 4095);
	t->frame->budget += refund;
	return false;
}

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

static bool raise_trap(struct translator *t, enum riscv_cause cause, uint32_t word)
{
	t->interpreter.charged++;
	t->interpreter.statistics.exceptions++;
	t->frame->reserved_host = 0;
	hart_trap(t->interpreter.hart, cause, cause == CAUSE_ILLEGAL ? word : t->interpreter.tval);
	return false;
}

static bool is_float_csr(unsigned number)
{
	return number == CSR_FFLAGS || number == CSR_FRM || number == CSR_FCSR || number == CSR_SSTATUS ||
	       number == CSR_MSTATUS;
}

/* What a unit stands on is as it was: the mode it was made for, the caches, floats live or not. */
static bool unit_holds(struct translator *t, bool floats_were_live)
{
	enum frame_mode mode;

	if (!t->entered || t->interpreter.hart->satp != t->satp || !translator_mode(t->interpreter.hart, &mode) ||
	    mode != t->mode)
		return false;
	return !floats_were_live || t->frame->floats_live || floats_begin(t);
}

static bool csr_instruction(struct translator *t, const struct op *op, uint32_t word, uint32_t place)
{
	struct hart *hart = t->interpreter.hart;
	bool live = t->frame->floats_live;
	uint64_t behind = place >> 16;
	unsigned result;

	hart->pc = t->frame->page + (place & 0xffff);
	t->interpreter.next_pc = hart->pc + insn_length((uint16_t)word);
	hart->instret = t->instret_base + (uint64_t)t->given - t->frame->budget - behind - 1 - t->interpreter.charged;
	if (live && is_float_csr((unsigned)op->imm))
		floats_end(t);
	result = system_execute(&t->interpreter, op);
	if (result == SYSTEM_CONTINUE && unit_holds(t, live))
		return true;
	t->frame->budget += behind;
	if (result == SYSTEM_CONTINUE)
		hart->pc = t->interpreter.next_pc;
	else if (result != SYSTEM_LEAVE)
		raise_trap(t, (enum riscv_cause)result, word);
	return false;
}

static bool float_instruction(struct translator *t, const struct op *op)
{
	bool legal;

	floats_end(t);
	legal = float_execute(t->interpreter.hart, op);
	/* Floats were live, and nothing that float_execute does stands in the way of it. */
	return floats_begin(t) && legal;
}

static bool call_c(struct hart *hart, uint32_t word, uint32_t place)
{
	struct translator *t = translator_of(hart);
	const struct op *op = op_for(t, word);
	enum riscv_cause cause = CAUSE_NONE;

	if (op->id >= INSN_CSRRW && op->id <= INSN_CSRRCI)
		return csr_instruction(t, op, word, place);
	if (insn_table[op->id].flags & INSN_ATOMIC)
		cause = atomic_execute(&t->interpreter, op);
	else if (insn_table[op->id].format == INSN_FORMAT_CBO)
		cause = cache_block_execute(&t->interpreter, op);
	else if (!float_instruction(t, op))
		cause = CAUSE_ILLEGAL;
	if (cause == CAUSE_NONE)
		return true;
	hart->pc = t->frame->page + (place & 0xffff);
	t->frame->budget += place >> 16;
	return raise_trap(t, cause, word);
}

const struct emit_callbacks translator_callbacks = {.slow_access = slow_access, .call_c = call_c};

void system_now(struct translator *t, uint32_t word)
{
	struct hart *hart = t->interpreter.hart;
	unsigned result;

	t->interpreter.next_pc = hart->pc + insn_length((uint16_t)word);
	result = system_execute(&t->interpreter, op_for(t, word));
	if (result == SYSTEM_CONTINUE)
		hart->pc = t->interpreter.next_pc;
	else if (result != SYSTEM_LEAVE)
		raise_trap(t, (enum riscv_cause)result, word);
}
