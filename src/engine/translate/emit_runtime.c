/*
 * The code that all units share: the way in, the ways out, and the calls into C.
 */
#include "engine/translate/emit_private.h"

/* What is left of the host's stack for C when guest calls have filled the rest. */
#define STACK_FOR_CALLS (64 * 1024)

/* The hottest registers of compiled code: arguments, stack pointer, the first saved ones. */
#define NONE X64_NONE
const uint8_t frame_pinned[32] = {
	NONE, NONE, X64_RBX, NONE, NONE, NONE, NONE, NONE,
	X64_R12, X64_R13, X64_R14, X64_R8, X64_R9, X64_R10, X64_RDI, X64_RSI,
	NONE, NONE, X64_R11, NONE, NONE, NONE, NONE, NONE,
	NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
};

#undef NONE
#define NONE FRAME_NO_XMM
const uint8_t frame_pinned_float[32] = {
	X64_XMM13, X64_XMM14, X64_XMM15, NONE, NONE, NONE, NONE, NONE,
	X64_XMM11, X64_XMM12, X64_XMM3, X64_XMM4, X64_XMM5, X64_XMM6, X64_XMM7, X64_XMM8,
	X64_XMM9, X64_XMM10, NONE, NONE, NONE, NONE, NONE, NONE,
	NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
};

#undef NONE

#define AT_PC ((int32_t)offsetof(struct hart, pc) - FRAME_BIAS)

static const enum x64_reg callee_saved[] = {X64_RBX, X64_RBP, X64_R12, X64_R13, X64_R14, X64_R15};

static bool survives_calls(enum x64_reg reg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(callee_saved); i++)
		if (callee_saved[i] == reg)
			return true;
	return false;
}

static void general(struct x64 *a, bool save, bool all)
{
	for (unsigned i = 0; i < 32; i++) {
		enum x64_reg reg = (enum x64_reg)frame_pinned[i];

		if (reg == X64_NONE || (!all && survives_calls(reg)))
			continue;
		if (save)
			x64_store(a, 8, x64_at(X64_RBP, FRAME_X(i)), reg);
		else
			x64_load(a, 8, reg, x64_at(X64_RBP, FRAME_X(i)));
	}
}

static void floats(struct x64 *a, bool save)
{
	uint8_t *none;

	x64_alu_mi(a, X64_CMP, 4, x64_at(X64_RBP, FRAME_AT(floats_live)), 0);
	none = x64_jcc_forward(a, X64_E);
	for (unsigned i = 0; i < 32; i++) {
		enum x64_xmm xmm = (enum x64_xmm)frame_pinned_float[i];

		if (frame_pinned_float[i] == FRAME_NO_XMM)
			continue;
		if (save)
			x64_fstore(a, 8, x64_at(X64_RBP, FRAME_F(i)), xmm);
		else
			x64_fload(a, 8, xmm, x64_at(X64_RBP, FRAME_F(i)));
	}
	x64_patch_here(a, none);
}

void emit_empty_stack(struct x64 *a)
{
	x64_load(a, 8, X64_RSP, x64_at(X64_RBP, FRAME_AT(host_stack)));
	/* No return and no salt matches: guest return addresses and salts are even. */
	x64_push_i(a, -1);
	x64_push_i(a, -1);
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(barrier)), X64_RSP);
}

static const void *make_enter(struct x64 *a)
{
	const void *here = x64_here(a);

	for (unsigned i = 0; i < ARRAY_SIZE(callee_saved); i++)
		x64_push_r(a, callee_saved[i]);
	x64_alu_ri(a, X64_SUB, 8, X64_RSP, 8);
	x64_lea(a, 8, X64_RBP, x64_at(X64_RDI, FRAME_BIAS));
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(host_stack)), X64_RSP);
	x64_lea(a, 8, X64_RAX, x64_at(X64_RSP, -STACK_FOR_CALLS));
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(stack_limit)), X64_RAX);
	x64_load(a, 8, FRAME_BUDGET, x64_at(X64_RBP, FRAME_AT(budget)));
	x64_mov_rr(a, 8, X64_RAX, X64_RSI);
	general(a, false, true);
	floats(a, false);
	emit_empty_stack(a);
	x64_jmp_r(a, X64_RAX);
	return here;
}

/* eax holds the reason. */
static const void *make_leave_saved(struct x64 *a)
{
	const void *here = x64_here(a);

	x64_load(a, 8, X64_RSP, x64_at(X64_RBP, FRAME_AT(host_stack)));
	x64_alu_ri(a, X64_ADD, 8, X64_RSP, 8);
	for (unsigned i = ARRAY_SIZE(callee_saved); i-- > 0;)
		x64_pop_r(a, callee_saved[i]);
	x64_ret(a);
	return here;
}

static void save_all(struct x64 *a)
{
	general(a, true, true);
	floats(a, true);
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(budget)), FRAME_BUDGET);
}

static const void *make_leave(struct x64 *a, const void *saved)
{
	const void *here = x64_here(a);

	save_all(a);
	x64_jmp_rel32(a, saved);
	return here;
}

static void call_function(struct x64 *a, const void *function)
{
	x64_mov_ri(a, X64_RAX, (uint64_t)(uintptr_t)function);
	x64_call_r(a, X64_RAX);
}

/* All state is in memory: goes on where rax says, with a stack that holds no guest call. */
static const void *make_resume(struct x64 *a)
{
	const void *here = x64_here(a);

	x64_load(a, 8, FRAME_BUDGET, x64_at(X64_RBP, FRAME_AT(budget)));
	general(a, false, true);
	floats(a, false);
	emit_empty_stack(a);
	x64_jmp_r(a, X64_RAX);
	return here;
}

/* After a C function that returns where to go on, or NULL. */
static void resume_elsewhere(struct x64 *a, const void *resume)
{
	x64_test_rr(a, 8, X64_RAX, X64_RAX);
	x64_jcc_rel32(a, X64_NE, resume);
}

static size_t tag_of(bool store)
{
	return store ? offsetof(struct frame_tlb, store) : offsetof(struct frame_tlb, load);
}

/* rcx leads to the TLB entry of the address in rax, rdx is the page of the last of `size` bytes, as rdx had it, and flags
 * say whether the entry is for all of them. */
static void look_up(struct x64 *a, enum frame_mode mode, bool store)
{
	x64_shift_ri(a, X64_SHR, 4, X64_RDX, 12);
	x64_alu_ri(a, X64_AND, 4, X64_RDX, 15);
	x64_lea(a, 8, X64_RDX, x64_at_index(X64_RAX, X64_RDX, 1, -1));
	x64_alu_ri(a, X64_AND, 8, X64_RDX, -(int32_t)GUEST_PAGE_SIZE);
	emit_tlb_index(a, mode, X64_RAX);
	x64_alu_rm(a, X64_CMP, 8, X64_RDX, emit_tlb_entry(mode, tag_of(store)));
}

/* What rcx and `other` lead to change places, by way of rax and rdx. */
static void change_places(struct x64 *a, enum frame_mode mode, enum x64_reg other)
{
	static const size_t members[] = {offsetof(struct frame_tlb, load), offsetof(struct frame_tlb, store),
					 offsetof(struct frame_tlb, addend)};

	for (unsigned i = 0; i < ARRAY_SIZE(members); i++) {
		struct x64_mem there = emit_tlb_entry(mode, members[i]), here = there;

		here.index = other;
		x64_load(a, 8, X64_RAX, there);
		x64_load(a, 8, X64_RDX, here);
		x64_store(a, 8, there, X64_RDX);
		x64_store(a, 8, here, X64_RAX);
	}
}

/* Behind a look-up that missed: the page may be in its other slot, and comes back to its own. rcx is as before. Returns the
 * jump on a miss. */
static uint8_t *look_at_other(struct x64 *a, enum frame_mode mode, bool store)
{
	int32_t away = (int32_t)(frame_parts[mode].count / 2u * sizeof(struct frame_tlb));
	uint8_t *miss;

	x64_alu_ri(a, X64_XOR, 4, X64_RCX, away);
	x64_alu_rm(a, X64_CMP, 8, X64_RDX, emit_tlb_entry(mode, tag_of(store)));
	miss = x64_jcc_forward(a, X64_NE);
	x64_push_r(a, X64_RAX);
	x64_push_r(a, X64_RBX);
	x64_mov_rr(a, 8, X64_RBX, X64_RCX);
	x64_alu_ri(a, X64_XOR, 4, X64_RBX, away);
	change_places(a, mode, X64_RBX);
	x64_mov_rr(a, 8, X64_RCX, X64_RBX);
	x64_pop_r(a, X64_RBX);
	x64_pop_r(a, X64_RAX);
	return miss;
}

/* rcx = the addend of what it leads to, for who called. */
static void found(struct x64 *a, enum frame_mode mode)
{
	x64_pop_r(a, X64_RDX);
	x64_load(a, 8, X64_RCX, emit_tlb_entry(mode, offsetof(struct frame_tlb, addend)));
	x64_ret(a);
}

static const void *make_slow_access(struct x64 *a, const void *resume, const struct emit_callbacks *callbacks,
				    enum frame_mode mode, bool store)
{
	const void *here = x64_here(a);
	uint8_t *miss;

	x64_push_r(a, X64_RDX);
	look_up(a, mode, store);
	miss = x64_jcc_forward(a, X64_NE);
	found(a, mode);
	x64_patch_here(a, miss);
	miss = look_at_other(a, mode, store);
	found(a, mode);
	x64_patch_here(a, miss);
	x64_pop_r(a, X64_RDX);
	x64_push_r(a, X64_RAX);
	x64_push_r(a, X64_RDX);
	x64_push_r(a, X64_RDX); /* so that the stack is aligned */
	save_all(a);
	x64_lea(a, 8, X64_RDI, x64_at(X64_RBP, -FRAME_BIAS));
	x64_mov_rr(a, 8, X64_RSI, X64_RAX);
	call_function(a, (const void *)(uintptr_t)callbacks->slow_access);
	resume_elsewhere(a, resume);
	general(a, false, false);
	floats(a, false);
	x64_pop_r(a, X64_RDX);
	x64_pop_r(a, X64_RDX);
	x64_pop_r(a, X64_RAX);
	x64_jmp_rel32(a, here);
	return here;
}

/* rcx = the addend of the page of the address in rdx, which is not kept. Returns the jump on a miss, and flags say it too. */
static uint8_t *addend_of(struct x64 *a, enum frame_mode mode, bool store)
{
	uint8_t *miss;

	emit_tlb_index(a, mode, X64_RDX);
	x64_alu_ri(a, X64_AND, 8, X64_RDX, -(int32_t)GUEST_PAGE_SIZE);
	x64_alu_rm(a, X64_CMP, 8, X64_RDX, emit_tlb_entry(mode, tag_of(store)));
	miss = x64_jcc_forward(a, X64_NE);
	x64_load(a, 8, X64_RCX, emit_tlb_entry(mode, offsetof(struct frame_tlb, addend)));
	return miss;
}

static void no_pages(struct x64 *a)
{
	x64_zero(a, X64_RCX);
	x64_mov_ri(a, X64_RDX, 1);
	x64_ret(a);
}

/* ZF says whether the page of rax allows stores: then rcx is its addend. */
static void look_for_stores(struct x64 *a, enum frame_mode mode)
{
	x64_mov_rr(a, 8, X64_RDX, X64_RAX);
	x64_patch_here(a, addend_of(a, mode, true));
}

/* A fault, if there is one, is the leader's own. */
static const void *make_slow_group(struct x64 *a, const void *slow_access, enum frame_mode mode, enum emit_group kind)
{
	const void *here = x64_here(a);
	uint8_t *crosses;

	x64_push_r(a, X64_RCX);
	x64_shift_ri(a, X64_SHR, 4, X64_RCX, 16);
	x64_alu_rr(a, X64_ADD, 8, X64_RCX, X64_RAX);
	x64_alu_rr(a, X64_XOR, 8, X64_RCX, X64_RAX);
	x64_alu_ri(a, X64_AND, 8, X64_RCX, -(int32_t)GUEST_PAGE_SIZE);
	crosses = x64_jcc_forward(a, X64_NE);
	x64_load_zx(a, 2, X64_RCX, x64_at(X64_RSP, 0));
	x64_alu_rr(a, X64_ADD, 8, X64_RAX, X64_RCX);
	x64_call_rel32(a, slow_access);
	x64_load_zx(a, 2, X64_RDX, x64_at(X64_RSP, 0));
	x64_alu_rr(a, X64_SUB, 8, X64_RAX, X64_RDX);
	if (kind == EMIT_LOAD_BEFORE_STORES)
		look_for_stores(a, mode);
	else
		x64_zero(a, X64_RDX);
	x64_patch_here(a, crosses);
	x64_pop_r(a, X64_RDX);
	x64_ret(a);
	return here;
}

/* C is asked for the page of the address that lies at [rsp + at]; then all over again. */
static void probe(struct x64 *a, bool store, int32_t at, const struct emit_callbacks *callbacks, const void *again)
{
	uint8_t *none;

	save_all(a);
	x64_lea(a, 8, X64_RDI, x64_at(X64_RBP, -FRAME_BIAS));
	x64_load(a, 8, X64_RSI, x64_at(X64_RSP, at));
	x64_mov_ri(a, X64_RDX, store);
	call_function(a, (const void *)(uintptr_t)callbacks->probe);
	x64_mov_rr(a, 4, X64_RCX, X64_RAX);
	general(a, false, false);
	floats(a, false);
	x64_test_rr(a, 1, X64_RCX, X64_RCX);
	none = x64_jcc_forward(a, X64_E);
	x64_pop_r(a, X64_RDX);
	x64_pop_r(a, X64_RAX);
	x64_alu_rr(a, X64_SUB, 8, X64_RDX, X64_RAX);
	x64_pop_r(a, X64_RCX);
	x64_jmp_rel32(a, again);
	x64_patch_here(a, none);
	x64_pop_r(a, X64_RDX);
	x64_pop_r(a, X64_RAX);
	x64_pop_r(a, X64_RCX);
	no_pages(a);
}

/* The last page and the first are no two pages: where the second begins would not tell them apart.
 * On the stack: the highest address, the lowest, and room for an addend, so that it is aligned for C. */
static const void *make_two_pages(struct x64 *a, const struct emit_callbacks *callbacks, enum frame_mode mode, bool store)
{
	const void *here = x64_here(a);
	uint8_t *low, *high, *wraps;

	x64_alu_rr(a, X64_ADD, 8, X64_RDX, X64_RAX);
	wraps = x64_jcc_forward(a, X64_C);
	x64_push_r(a, X64_RCX);
	x64_push_r(a, X64_RAX);
	x64_push_r(a, X64_RDX);
	high = addend_of(a, mode, store);
	x64_store(a, 8, x64_at(X64_RSP, 16), X64_RCX);
	x64_mov_rr(a, 8, X64_RDX, X64_RAX);
	low = addend_of(a, mode, store);
	x64_pop_r(a, X64_RDX);
	x64_pop_r(a, X64_RAX);
	x64_pop_r(a, X64_RDX);
	x64_ret(a);
	x64_patch_here(a, high);
	probe(a, store, 0, callbacks, here);
	x64_patch_here(a, low);
	probe(a, store, 8, callbacks, here);
	x64_patch_here(a, wraps);
	no_pages(a);
	return here;
}

static const void *make_call_c(struct x64 *a, const void *resume, const struct emit_callbacks *callbacks)
{
	const void *here = x64_here(a);

	x64_alu_ri(a, X64_SUB, 8, X64_RSP, 8);
	save_all(a);
	x64_lea(a, 8, X64_RDI, x64_at(X64_RBP, -FRAME_BIAS));
	x64_mov_rr(a, 8, X64_RSI, X64_RDX);
	x64_mov_rr(a, 8, X64_RDX, X64_RCX);
	call_function(a, (const void *)(uintptr_t)callbacks->call_c);
	resume_elsewhere(a, resume);
	general(a, false, true);
	floats(a, false);
	x64_alu_ri(a, X64_ADD, 8, X64_RSP, 8);
	x64_ret(a);
	return here;
}

/* The other place of a jump's entry (frame_jump_other). */
static void look_elsewhere(struct x64 *a)
{
	uint8_t *miss;

	x64_load(a, 8, X64_RDX, x64_at(X64_RBP, FRAME_AT(salt)));
	x64_alu_rr(a, X64_XOR, 8, X64_RDX, X64_RAX);
	x64_rorx(a, 8, X64_RCX, X64_RDX, FRAME_JUMPS_LOG2);
	x64_alu_rr(a, X64_XOR, 8, X64_RCX, X64_RDX);
	x64_lea(a, 4, X64_RCX, x64_at_index(X64_NONE, X64_RCX, 8, 0));
	x64_alu_ri(a, X64_AND, 4, X64_RCX, (FRAME_JUMPS - 1) * (int32_t)sizeof(struct frame_jump));
	x64_alu_rm(a, X64_CMP, 8, X64_RDX, x64_at_index(X64_RBP, X64_RCX, 1, FRAME_AT(jumps[0].tag)));
	miss = x64_jcc_forward(a, X64_NE);
	x64_alu_ri(a, X64_AND, 8, X64_RAX, -(int32_t)GUEST_PAGE_SIZE);
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(page)), X64_RAX);
	x64_jmp_m(a, x64_at_index(X64_RBP, X64_RCX, 1, FRAME_AT(jumps[0].code)));
	x64_patch_here(a, miss);
}

static const void *make_lookup(struct x64 *a, const void *saved, const struct emit_callbacks *callbacks)
{
	const void *here = x64_here(a);
	uint8_t *none;

	look_elsewhere(a);
	x64_alu_ri(a, X64_AND, 8, X64_RAX, -2);
	x64_store(a, 8, x64_at(X64_RBP, AT_PC), X64_RAX);
	save_all(a);
	x64_lea(a, 8, X64_RDI, x64_at(X64_RBP, -FRAME_BIAS));
	call_function(a, (const void *)(uintptr_t)callbacks->lookup);
	x64_test_rr(a, 8, X64_RAX, X64_RAX);
	none = x64_jcc_forward(a, X64_E);
	general(a, false, false);
	floats(a, false);
	x64_jmp_r(a, X64_RAX);
	x64_patch_here(a, none);
	x64_mov_ri(a, X64_RAX, EMIT_EXIT_LOOKUP);
	x64_jmp_rel32(a, saved);
	return here;
}

static const void *make_leave_for(struct x64 *a, const void *saved, enum emit_exit why)
{
	const void *here = x64_here(a);

	x64_mov_ri(a, X64_RAX, why);
	x64_jmp_rel32(a, saved);
	return here;
}

static void make_leave_for_all(struct x64 *a, struct emit_runtime *out, const void *leave)
{
	const void *here = x64_here(a);

	x64_alu_rm(a, X64_ADD, 8, X64_RDX, x64_at(X64_RBP, FRAME_AT(page)));
	x64_store(a, 8, x64_at(X64_RBP, AT_PC), X64_RDX);
	x64_jmp_rel32(a, leave);
	for (unsigned why = 0; why < EMIT_EXITS; why++)
		out->leave_for[why] = make_leave_for(a, here, (enum emit_exit)why);
}

static const void *make_pure(struct x64 *a)
{
	const void *here = x64_here(a);

	x64_alu_ri(a, X64_SUB, 8, X64_RSP, 8);
	general(a, true, false);
	floats(a, true);
	x64_mov_rr(a, 8, X64_RDI, X64_RAX);
	x64_mov_rr(a, 8, X64_RSI, X64_RDX);
	x64_call_r(a, X64_RCX);
	general(a, false, false);
	floats(a, false);
	x64_alu_ri(a, X64_ADD, 8, X64_RSP, 8);
	x64_ret(a);
	return here;
}

void emit_runtime(struct x64 *a, struct emit_runtime *out, const struct emit_callbacks *callbacks)
{
	const void *saved = make_leave_saved(a), *leave = make_leave(a, saved), *resume = make_resume(a);

	out->alone = false;
	out->enter = make_enter(a);
	out->leave_link = x64_here(a);
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(link)), X64_RDX);
	x64_mov_ri(a, X64_RAX, EMIT_EXIT_LINK);
	x64_jmp_rel32(a, leave);
	make_leave_for_all(a, out, leave);
	out->leave_trap = make_leave_for(a, saved, EMIT_EXIT_TRAP);
	out->leave_engine = make_leave_for(a, saved, EMIT_EXIT_ENGINE);
	out->lookup = make_lookup(a, saved, callbacks);
	out->jump = x64_here(a);
	emit_jump(a, out);
	for (unsigned mode = 0; mode < FRAME_MODES; mode++) {
		for (unsigned store = 0; store < 2; store++) {
			out->slow_access[mode][store] =
				make_slow_access(a, resume, callbacks, (enum frame_mode)mode, store);
			out->two_pages[mode][store] = make_two_pages(a, callbacks, (enum frame_mode)mode, store);
		}
		for (unsigned kind = 0; kind < EMIT_GROUPS; kind++)
			out->slow_group[mode][kind] = make_slow_group(a, out->slow_access[mode][kind == EMIT_STORES],
								      (enum frame_mode)mode, (enum emit_group)kind);
	}
	out->call_c = make_call_c(a, resume, callbacks);
	out->pure = make_pure(a);
	emit_system_runtime(a, out);
}
