/*
 * Privileged instructions in generated code: the part of the back end that knows the guest's control and status
 * registers. Done here is what a kernel does all the time and needs nothing but the hart's own state; whatever else an
 * instruction may have to do (an exception, an interrupt that became deliverable, floats that are switched off) makes
 * it C's as a whole, before anything was changed.
 *
 * A change of mode is a change of TLB, of salt and of the host stack, because a frame on it returns to code of
 * the mode that made it. The stack of the mode left is kept below a barrier: two words that match no return, the salt
 * of that mode and the place of the barrier before. Going back to that mode drops what lies above.
 */
#include "engine/translate/emit_private.h"
#include "riscv/csr.h"
#include "riscv/decode.h"

#define STATUS_WRITABLE (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR)
#define SUM_BIT 18
#define UXL_BIT 33 /* the set one of its two */

static struct x64_mem state(size_t offset)
{
	return x64_at(X64_RBP, (int32_t)offset - FRAME_BIAS);
}

#define STATE(member) state(offsetof(struct hart, member))
#define IN_FRAME(member) x64_at(X64_RBP, FRAME_AT(member))

/* Registers that are nothing but storage. */
static const struct plain {
	uint16_t number;
	uint16_t offset; /* in struct hart */
	int32_t writable;
} plains[] = {
	{CSR_SSCRATCH, offsetof(struct hart, sscratch), -1},
	{CSR_SEPC, offsetof(struct hart, sepc), -2},
	{CSR_SCAUSE, offsetof(struct hart, scause), -1},
	{CSR_STVAL, offsetof(struct hart, stval), -1},
};

static const struct plain *plain_of(unsigned number)
{
	for (unsigned i = 0; i < ARRAY_SIZE(plains); i++)
		if (plains[i].number == number)
			return &plains[i];
	return NULL;
}

/* What a CSR instruction does, whichever form it has. */
struct access {
	const struct insn *insn;
	bool replaces, clears, immediate, writes;
};

static struct access access_of(const struct insn *insn)
{
	struct access c = {
		.insn = insn,
		.replaces = insn->id == INSN_CSRRW || insn->id == INSN_CSRRWI,
		.clears = insn->id == INSN_CSRRC || insn->id == INSN_CSRRCI,
		.immediate = insn->id >= INSN_CSRRWI && insn->id <= INSN_CSRRCI,
	};

	c.writes = c.replaces || insn->rs1 != 0;
	return c;
}

/* A general register of the guest = reg. */
static void result(struct emit *e, unsigned x, enum x64_reg reg)
{
	emit_forget(e);
	if (!x)
		return;
	if (!is_pinned(e, x))
		x64_store(e->a, 8, home(x), reg);
	else if (pinned(e, x) != reg)
		x64_mov_rr(e->a, 8, pinned(e, x), reg);
}

static void operand(struct emit *e, const struct access *c, enum x64_reg reg)
{
	if (c->immediate)
		x64_mov_ri(e->a, reg, c->insn->rs1);
	else
		emit_copy(e, reg, c->insn->rs1 ? c->insn->rs1 : IR_ZERO);
	emit_forget(e);
}

static void to_c(struct emit *e, enum x64_cc cc)
{
	emit_stub(e, STUB_CALL_C, x64_jcc_forward(e->a, cc), NULL, 0);
}

static bool plain_access(struct emit *e, const struct access *c, const struct plain *plain)
{
	struct x64_mem mem = state(plain->offset);

	if (c->writes && !c->replaces)
		return false;
	if (c->writes)
		operand(e, c, X64_RDX);
	if (c->insn->rd)
		x64_load(e->a, 8, X64_RCX, mem);
	if (c->writes && plain->writable != -1)
		x64_alu_ri(e->a, X64_AND, 8, X64_RDX, plain->writable);
	if (c->writes)
		x64_store(e->a, 8, mem, X64_RDX);
	result(e, c->insn->rd, X64_RCX);
	return true;
}

/* rd = sstatus as it reads when mstatus is rcx. SD is set when both bits of FS are. */
static void read_status(struct emit *e, unsigned rd)
{
	struct x64 *a = e->a;

	if (!rd)
		return;
	x64_mov_rr(a, 4, X64_RAX, X64_RCX);
	x64_alu_ri(a, X64_AND, 4, X64_RAX, (int32_t)STATUS_WRITABLE);
	x64_bit_ri(a, X64_BTS, 8, X64_RAX, UXL_BIT);
	x64_alu_ri(a, X64_AND, 4, X64_RCX, (int32_t)MSTATUS_FS);
	x64_alu_ri(a, X64_ADD, 4, X64_RCX, 1 << 13);
	x64_alu_ri(a, X64_AND, 4, X64_RCX, 1 << 15);
	x64_shift_ri(a, X64_SHL, 8, X64_RCX, 48);
	x64_alu_rr(a, X64_OR, 8, X64_RAX, X64_RCX);
	result(e, rd, X64_RAX);
}

/* Flags: not zero when an interrupt is pending and enabled, whether or not it can be taken now. */
static void test_pending(struct x64 *a)
{
	x64_load(a, 8, X64_RDX, STATE(mip));
	x64_alu_rm(a, X64_OR, 8, X64_RDX, STATE(mip_lines));
	x64_alu_rm(a, X64_AND, 8, X64_RDX, STATE(mie));
}

/* rax = the new mstatus, from rcx, the old one, and the operand in rax. */
static void new_status(struct emit *e, const struct access *c)
{
	struct x64 *a = e->a;

	x64_alu_ri(a, X64_AND, 4, X64_RAX, (int32_t)STATUS_WRITABLE);
	if (c->replaces) {
		x64_mov_rr(a, 8, X64_RDX, X64_RCX);
		x64_alu_ri(a, X64_AND, 8, X64_RDX, ~(int32_t)STATUS_WRITABLE);
		x64_alu_rr(a, X64_OR, 8, X64_RAX, X64_RDX);
	} else if (c->clears) {
		x64_not(a, 8, X64_RAX);
		x64_alu_rr(a, X64_AND, 8, X64_RAX, X64_RCX);
	} else {
		x64_alu_rr(a, X64_OR, 8, X64_RAX, X64_RCX);
	}
}

/* After SUM may have changed, goes on behind the instruction in the mode that it is now. */
static void follow_sum(struct emit *e)
{
	struct x64 *a = e->a;
	uint8_t *same;

	x64_test_mi(a, 4, STATE(mstatus), (int32_t)MSTATUS_SUM);
	same = x64_jcc_forward8(a, e->mode == FRAME_SUPERVISOR ? X64_E : X64_NE);
	if (emit_refund(e))
		x64_alu_ri(a, X64_ADD, 8, FRAME_BUDGET, (int32_t)emit_refund(e));
	x64_mov_ri(a, X64_RDX, (uint64_t)e->ir->next);
	x64_jmp_rel32(a, e->mode == FRAME_SUPERVISOR ? e->runtime->sum_on : e->runtime->sum_off);
	x64_patch_here8(a, same);
}

static bool status_access(struct emit *e, const struct access *c)
{
	bool sets_sie = !c->clears && !(c->immediate && !(c->insn->rs1 & MSTATUS_SIE));
	struct x64 *a = e->a;

	x64_load(a, 8, X64_RCX, STATE(mstatus));
	emit_forget(e);
	if (c->writes) {
		operand(e, c, X64_RAX);
		new_status(e, c);
		/* What C does: MXR has no mode of its own, and live floats may have to end. */
		if (!c->immediate || c->replaces) {
			uint8_t *same;

			x64_mov_rr(a, 4, X64_RDX, X64_RAX);
			x64_alu_rr(a, X64_XOR, 4, X64_RDX, X64_RCX);
			x64_test_ri(a, 4, X64_RDX, (int32_t)MSTATUS_MXR);
			to_c(e, X64_NE);
			x64_test_ri(a, 4, X64_RDX, (int32_t)MSTATUS_FS);
			same = x64_jcc_forward8(a, X64_E);
			x64_alu_mi(a, X64_CMP, 4, IN_FRAME(floats_live), 0);
			to_c(e, X64_NE);
			x64_patch_here8(a, same);
		}
		if (sets_sie) {
			uint8_t *off = NULL;

			if (!c->immediate) {
				x64_test_ri(a, 4, X64_RAX, (int32_t)MSTATUS_SIE);
				off = x64_jcc_forward8(a, X64_E);
			}
			test_pending(a);
			to_c(e, X64_NE);
			if (off)
				x64_patch_here8(a, off);
		}
		x64_store(a, 8, STATE(mstatus), X64_RAX);
	}
	read_status(e, c->insn->rd);
	if (c->writes && !(c->immediate && !c->replaces))
		follow_sum(e);
	return true;
}

static uint64_t read_time(uint64_t hart, uint64_t unused)
{
	(void)unused;
	return clock_ticks(((const struct hart *)(uintptr_t)hart)->cluster->clock);
}

static bool time_access(struct emit *e, const struct access *c)
{
	struct x64 *a = e->a;

	if (c->writes)
		return false;
	if (e->mode != FRAME_MACHINE) {
		x64_test_mi(a, 4, STATE(mcounteren), 2);
		to_c(e, X64_E);
	}
	if (e->mode == FRAME_USER) {
		x64_test_mi(a, 4, STATE(scounteren), 2);
		to_c(e, X64_E);
	}
	x64_lea(a, 8, X64_RAX, x64_at(X64_RBP, -FRAME_BIAS));
	x64_mov_ri(a, X64_RCX, (uint64_t)(uintptr_t)read_time);
	x64_call_rel32(a, e->runtime->pure);
	result(e, c->insn->rd, X64_RAX);
	return true;
}

static bool csr(struct emit *e, const struct insn *insn)
{
	struct access c = access_of(insn);
	unsigned number = (unsigned)insn->imm & 4095;
	const struct plain *plain = plain_of(number);

	if (number == CSR_TIME)
		return time_access(e, &c);
	if (e->mode != FRAME_SUPERVISOR && e->mode != FRAME_SUPERVISOR_USER)
		return false;
	if (plain)
		return plain_access(e, &c, plain);
	return number == CSR_SSTATUS && status_access(e, &c);
}

/* Kernels clear pages with it. */
static bool zero_block(struct emit *e, const struct insn *insn)
{
	struct x64 *a = e->a;

	if (e->mode != FRAME_MACHINE) {
		x64_test_mi(a, 4, STATE(menvcfg), (int32_t)ENVCFG_CBZE);
		to_c(e, X64_E);
	}
	if (e->mode == FRAME_USER) {
		x64_test_mi(a, 4, STATE(senvcfg), (int32_t)ENVCFG_CBZE);
		to_c(e, X64_E);
	}
	emit_copy(e, X64_RAX, insn->rs1 ? insn->rs1 : IR_ZERO);
	emit_forget(e);
	x64_test_ri(a, 4, X64_RAX, 63);
	to_c(e, X64_NE);
	emit_address(e, insn->rs1 ? insn->rs1 : IR_ZERO, 0, 64, true);
	for (int32_t at = 0; at < 64; at += 8)
		x64_store_i(a, 8, x64_at(X64_RAX, at), 0);
	return true;
}

static bool trap_or_return(struct emit *e, const void *way)
{
	x64_mov_ri(e->a, X64_RDX, e->ir->at);
	x64_jmp_rel32(e->a, way);
	return true;
}

bool emit_system(struct emit *e)
{
	struct insn insn = insn_decode(e->ir->word);
	bool supervisor = e->mode == FRAME_SUPERVISOR || e->mode == FRAME_SUPERVISOR_USER;

	if (insn.id == INSN_ECALL && e->mode == FRAME_USER)
		return trap_or_return(e, e->runtime->user_call);
	if (insn.id == INSN_SRET && supervisor)
		return trap_or_return(e, e->runtime->supervisor_return);
	if (insn.id == INSN_CBO_ZERO)
		return zero_block(e, &insn);
	return insn_table[insn.id].format == INSN_FORMAT_CSR && csr(e, &insn);
}

/* The parts that units share. */

/* rcx = the salt of mode rax, which is now the mode. */
static void enter_mode(struct x64 *a)
{
	x64_store(a, 4, IN_FRAME(mode), X64_RAX);
	x64_load(a, 8, X64_RCX, x64_at_index(X64_RBP, X64_RAX, 8, FRAME_AT(salt_of_mode)));
}

/* Goes to rdx with salt rcx. */
static void go(struct x64 *a, const struct emit_runtime *runtime)
{
	x64_store(a, 8, IN_FRAME(salt), X64_RCX);
	x64_mov_rr(a, 8, X64_RAX, X64_RDX);
	emit_jump(a, runtime);
}

/* To rdx in mode rax, keeping the stack of the mode that is left. */
static void go_in(struct x64 *a, const struct emit_runtime *runtime)
{
	uint8_t *room, *on;

	enter_mode(a);
	x64_alu_rm(a, X64_CMP, 8, X64_RSP, IN_FRAME(stack_limit));
	room = x64_jcc_forward8(a, X64_AE);
	emit_empty_stack(a);
	on = x64_jmp_forward8(a);
	x64_patch_here8(a, room);
	x64_load(a, 8, X64_RAX, IN_FRAME(barrier));
	x64_alu_ri(a, X64_OR, 8, X64_RAX, 1);
	x64_push_r(a, X64_RAX);
	x64_push_m(a, IN_FRAME(salt));
	x64_store(a, 8, IN_FRAME(barrier), X64_RSP);
	x64_patch_here8(a, on);
	go(a, runtime);
}

/* To rdx in mode rax, with the stack that it left if it was the last to go in. */
static void go_back(struct x64 *a, const struct emit_runtime *runtime)
{
	uint8_t *known, *on;

	enter_mode(a);
	x64_load(a, 8, X64_RAX, IN_FRAME(barrier));
	x64_alu_rm(a, X64_CMP, 8, X64_RCX, x64_at(X64_RAX, 0));
	known = x64_jcc_forward8(a, X64_E);
	emit_empty_stack(a);
	on = x64_jmp_forward8(a);
	x64_patch_here8(a, known);
	x64_lea(a, 8, X64_RSP, x64_at(X64_RAX, 16));
	x64_load(a, 8, X64_RAX, x64_at(X64_RAX, 8));
	x64_alu_ri(a, X64_AND, 8, X64_RAX, -2);
	x64_store(a, 8, IN_FRAME(barrier), X64_RAX);
	x64_patch_here8(a, on);
	go(a, runtime);
}

/* C does the instruction at edx. */
static void system_by_c(struct x64 *a, const struct emit_runtime *runtime, uint32_t word)
{
	x64_mov_rr(a, 4, X64_RCX, X64_RDX);
	x64_mov_ri(a, X64_RDX, word);
	x64_call_rel32(a, runtime->call_c);
}

/* ecall in user mode, at edx in the page (Privileged 3.1.6.1, 4.1). */
static const void *make_user_call(struct x64 *a, const struct emit_runtime *runtime)
{
	const void *here = x64_here(a);
	uint8_t *not_delegated, *executable_readable;

	x64_test_mi(a, 4, STATE(medeleg), 1 << CAUSE_ECALL_U);
	not_delegated = x64_jcc_forward(a, X64_E);
	x64_load(a, 8, X64_RAX, STATE(mstatus));
	x64_test_ri(a, 4, X64_RAX, (int32_t)MSTATUS_MXR);
	executable_readable = x64_jcc_forward(a, X64_NE);
	x64_mov_rr(a, 4, X64_RCX, X64_RAX);
	x64_alu_ri(a, X64_AND, 4, X64_RCX, (int32_t)MSTATUS_SIE);
	x64_shift_ri(a, X64_SHL, 4, X64_RCX, 4);
	x64_alu_ri(a, X64_AND, 8, X64_RAX, ~(int32_t)(MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_SIE));
	x64_alu_rr(a, X64_OR, 8, X64_RAX, X64_RCX);
	x64_store(a, 8, STATE(mstatus), X64_RAX);
	x64_store_i(a, 1, STATE(priv), PRIV_S);
	x64_store_i(a, 8, STATE(scause), CAUSE_ECALL_U);
	x64_store_i(a, 8, STATE(stval), 0);
	x64_alu_rm(a, X64_ADD, 8, X64_RDX, IN_FRAME(page));
	x64_store(a, 8, STATE(sepc), X64_RDX);
	x64_store_i(a, 8, IN_FRAME(reserved_host), 0);
	x64_alu_mi(a, X64_ADD, 8, IN_FRAME(trapped), 1);
	x64_load(a, 8, X64_RDX, STATE(stvec));
	x64_alu_ri(a, X64_AND, 8, X64_RDX, -4);
	/* The next mode: with SUM or without. */
	_Static_assert(FRAME_SUPERVISOR == 1 && FRAME_SUPERVISOR_USER == 2, "computed from SUM");
	x64_shift_ri(a, X64_SHR, 4, X64_RAX, SUM_BIT);
	x64_alu_ri(a, X64_AND, 4, X64_RAX, 1);
	x64_alu_ri(a, X64_ADD, 4, X64_RAX, FRAME_SUPERVISOR);
	go_in(a, runtime);
	x64_patch_here(a, not_delegated);
	x64_patch_here(a, executable_readable);
	system_by_c(a, runtime, 0x00000073);
	return here;
}

/* sret in supervisor mode, at edx in the page. */
static const void *make_supervisor_return(struct x64 *a, const struct emit_runtime *runtime)
{
	const void *here = x64_here(a);
	uint8_t *special, *pending;

	x64_load(a, 8, X64_RAX, STATE(mstatus));
	x64_test_ri(a, 4, X64_RAX, (int32_t)(MSTATUS_TSR | MSTATUS_MXR));
	special = x64_jcc_forward(a, X64_NE);
	x64_load(a, 8, X64_RCX, STATE(mip));
	x64_alu_rm(a, X64_OR, 8, X64_RCX, STATE(mip_lines));
	x64_alu_rm(a, X64_AND, 8, X64_RCX, STATE(mie));
	pending = x64_jcc_forward(a, X64_NE);
	x64_mov_rr(a, 4, X64_RCX, X64_RAX);
	x64_alu_ri(a, X64_AND, 8, X64_RAX, ~(int32_t)(MSTATUS_SIE | MSTATUS_SPP | MSTATUS_MPRV));
	x64_mov_rr(a, 4, X64_RDX, X64_RCX);
	x64_alu_ri(a, X64_AND, 4, X64_RDX, (int32_t)MSTATUS_SPIE);
	x64_shift_ri(a, X64_SHR, 4, X64_RDX, 4);
	x64_alu_rr(a, X64_OR, 8, X64_RAX, X64_RDX);
	x64_alu_ri(a, X64_OR, 8, X64_RAX, (int32_t)MSTATUS_SPIE);
	x64_store(a, 8, STATE(mstatus), X64_RAX);
	/* The privilege before, and the mode: user, or supervisor with SUM or without. */
	x64_shift_ri(a, X64_SHR, 4, X64_RCX, 8);
	x64_alu_ri(a, X64_AND, 4, X64_RCX, 1);
	x64_store(a, 1, STATE(priv), X64_RCX);
	x64_shift_ri(a, X64_SHR, 4, X64_RAX, SUM_BIT);
	x64_alu_ri(a, X64_AND, 4, X64_RAX, 1);
	x64_alu_ri(a, X64_ADD, 4, X64_RAX, FRAME_SUPERVISOR);
	x64_neg(a, 4, X64_RCX);
	x64_alu_rr(a, X64_AND, 4, X64_RAX, X64_RCX);
	x64_load(a, 8, X64_RDX, STATE(sepc));
	go_back(a, runtime);
	x64_patch_here(a, special);
	x64_patch_here(a, pending);
	system_by_c(a, runtime, 0x10200073);
	return here;
}

/* SUM was switched: on at edx in the page. */
static const void *make_sum(struct x64 *a, const struct emit_runtime *runtime, bool on)
{
	const void *here = x64_here(a);

	x64_alu_rm(a, X64_ADD, 8, X64_RDX, IN_FRAME(page));
	x64_mov_ri(a, X64_RAX, on ? FRAME_SUPERVISOR_USER : FRAME_SUPERVISOR);
	(on ? go_in : go_back)(a, runtime);
	return here;
}

void emit_system_runtime(struct x64 *a, struct emit_runtime *out)
{
	out->user_call = make_user_call(a, out);
	out->supervisor_return = make_supervisor_return(a, out);
	out->sum_on = make_sum(a, out, true);
	out->sum_off = make_sum(a, out, false);
}
