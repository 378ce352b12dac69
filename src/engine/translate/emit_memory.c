/*
 * Loads and stores: a TLB look-up of a few host instructions, the rest off the hot path.
 */
#include "engine/translate/emit_private.h"

static int32_t tlb_at(const struct emit *e, size_t table)
{
	return FRAME_AT(tlb) + (int32_t)(sizeof(struct frame_tlb) * e->mode + table);
}

void emit_address(struct emit *e, unsigned global, int64_t offset, unsigned size, bool store)
{
	size_t tags = store ? offsetof(struct frame_tlb, store) : offsetof(struct frame_tlb, load);
	struct x64 *a = e->a;
	const void *again;
	uint8_t *miss;

	if (is_pinned(global)) {
		x64_lea(a, 8, X64_RAX, x64_at(pinned(global), (int32_t)offset));
	} else {
		emit_copy(e, X64_RAX, global);
		if (offset)
			x64_alu_ri(a, X64_ADD, 8, X64_RAX, (int32_t)offset);
	}
	emit_forget(e);
	again = x64_here(a);
	x64_rorx(a, 8, X64_RCX, X64_RAX, GUEST_PAGE_SHIFT);
	x64_alu_ri(a, X64_AND, 4, X64_RCX, FRAME_TLB - 1);
	/* The page of the last byte is compared: what crosses into the next page never matches. */
	x64_lea(a, 8, X64_RDX, x64_at(X64_RAX, (int32_t)size - 1));
	x64_alu_ri(a, X64_AND, 8, X64_RDX, -(int32_t)GUEST_PAGE_SIZE);
	x64_alu_rm(a, X64_CMP, 8, X64_RDX, x64_at_index(X64_RBP, X64_RCX, 8, tlb_at(e, tags)));
	miss = x64_jcc_forward(a, X64_NE);
	x64_alu_rm(a, X64_ADD, 8, X64_RAX,
		   x64_at_index(X64_RBP, X64_RCX, 8, tlb_at(e, offsetof(struct frame_tlb, addend))));
	emit_stub(e, STUB_ACCESS, miss, again, store);
}

static void load(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_reg reg = emit_target(ir, X64_RAX);

	emit_address(e, ir->a, ir->imm, ir->size, false);
	if (ir->size == 8)
		x64_load(e->a, 8, reg, x64_at(X64_RAX, 0));
	else if (ir->is_signed)
		x64_load_sx(e->a, ir->size, reg, x64_at(X64_RAX, 0));
	else
		x64_load_zx(e->a, ir->size, reg, x64_at(X64_RAX, 0));
	emit_keep(e, reg);
}

static void store(struct emit *e)
{
	const struct ir *ir = e->ir;

	emit_address(e, ir->a, ir->imm, ir->size, true);
	if (ir->b == IR_ZERO)
		x64_store_i(e->a, ir->size, x64_at(X64_RAX, 0), 0);
	else
		x64_store(e->a, ir->size, x64_at(X64_RAX, 0), emit_value(e, ir->b, X64_RDX));
}

void emit_memory(struct emit *e)
{
	switch (e->ir->op) {
	case IR_LOAD:
		load(e);
		break;
	case IR_STORE:
		store(e);
		break;
	default:
		x64_mfence(e->a);
	}
}
