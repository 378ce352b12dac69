/*
 * Instructions that read or change privileged state (Privileged 3.3, 4.2; Zicsr; Zifencei; Svinval; CMO).
 */
#include <sched.h>
#include <string.h>

#include "engine/interpret/vcpu.h"
#include "riscv/csr.h"
#include "riscv/decode.h"

/* Privileged state may have changed: the contexts follow, and the engine looks around when an interrupt became
 * deliverable or code is fetched otherwise than before. */
static unsigned settle(struct engine_vcpu *v)
{
	uint64_t fetch = v->fetch_context;

	tlb_update_contexts(v);
	if (v->fetch_context == fetch && hart_pending_interrupt(v->hart) < 0)
		return SYSTEM_CONTINUE;
	v->hart->pc = v->next_pc;
	return SYSTEM_LEAVE;
}

static unsigned csr_register(struct engine_vcpu *v, const struct op *op)
{
	struct hart *hart = v->hart;
	bool immediate = op->id >= INSN_CSRRWI && op->id <= INSN_CSRRCI;
	bool replace = op->id == INSN_CSRRW || op->id == INSN_CSRRWI;
	bool clears = op->id == INSN_CSRRC || op->id == INSN_CSRRCI;
	uint64_t operand = immediate ? op->rs1 : hart->x[op->rs1];
	bool reads = !replace || op->rd != X_SINK;
	bool writes = replace || op->rs1 != 0;
	uint64_t clear = replace ? UINT64_MAX : clears ? operand : 0;
	uint64_t old = 0;

	if (csr_access(hart, (unsigned)op->imm, reads, writes, clear, clears ? 0 : operand, &old) != CSR_OK)
		return CAUSE_ILLEGAL;
	hart->x[op->rd] = old;
	return writes ? settle(v) : SYSTEM_CONTINUE;
}

static unsigned ecall(struct engine_vcpu *v, const struct op *op)
{
	(void)op;
	v->tval = 0;
	return CAUSE_ECALL_U + v->hart->priv;
}

static unsigned ebreak(struct engine_vcpu *v, const struct op *op)
{
	(void)op;
	v->tval = v->hart->pc;
	return CAUSE_BREAKPOINT;
}

static unsigned fence_i(struct engine_vcpu *v, const struct op *op)
{
	(void)op;
	v->hart->engine->fence_i(v->hart);
	return SYSTEM_CONTINUE;
}

/* A hart that spins for another gives the host's core to it: there may be more harts than cores. */
static unsigned pause_hint(struct engine_vcpu *v, const struct op *op)
{
	(void)op;
	if (v->hart->cluster->count > 1)
		sched_yield();
	return SYSTEM_CONTINUE;
}

static unsigned leave_after(struct engine_vcpu *v, enum riscv_cause cause)
{
	if (cause != CAUSE_NONE)
		return cause;
	tlb_update_contexts(v);
	return SYSTEM_LEAVE;
}

static unsigned mret(struct engine_vcpu *v, const struct op *op)
{
	(void)op;
	return leave_after(v, hart_mret(v->hart));
}

static unsigned sret(struct engine_vcpu *v, const struct op *op)
{
	(void)op;
	return leave_after(v, hart_sret(v->hart));
}

static unsigned wfi(struct engine_vcpu *v, const struct op *op)
{
	struct hart *hart = v->hart;

	(void)op;
	if (hart->priv == PRIV_U || (hart->priv == PRIV_S && (hart->mstatus & MSTATUS_TW)))
		return CAUSE_ILLEGAL;
	hart->pc = v->next_pc;
	hart->waiting = true;
	return SYSTEM_LEAVE;
}

static bool fence_allowed(const struct hart *hart)
{
	return hart->priv == PRIV_M || (hart->priv == PRIV_S && !(hart->mstatus & MSTATUS_TVM));
}

static unsigned sfence_vma(struct engine_vcpu *v, const struct op *op)
{
	struct hart *hart = v->hart;

	if (!fence_allowed(hart))
		return CAUSE_ILLEGAL;
	hart->engine->flush_tlb(hart, op->rs1 != 0, gva(hart->x[op->rs1]), op->rs2 != 0, (uint16_t)hart->x[op->rs2]);
	hart->pc = v->next_pc;
	return SYSTEM_LEAVE;
}

/* Every sinval.vma takes effect at once, so the fences around it have nothing to order. */
static unsigned sfence_order(struct engine_vcpu *v, const struct op *op)
{
	(void)op;
	return v->hart->priv >= PRIV_S ? (unsigned)SYSTEM_CONTINUE : (unsigned)CAUSE_ILLEGAL;
}

static const struct {
	uint16_t id;
	unsigned (*execute)(struct engine_vcpu *v, const struct op *op);
} table[] = {
	{INSN_CSRRW, csr_register},   {INSN_CSRRS, csr_register},
	{INSN_CSRRC, csr_register},   {INSN_CSRRWI, csr_register},
	{INSN_CSRRSI, csr_register},  {INSN_CSRRCI, csr_register},
	{INSN_ECALL, ecall},          {INSN_EBREAK, ebreak},
	{INSN_SRET, sret},            {INSN_MRET, mret},
	{INSN_WFI, wfi},              {INSN_SFENCE_VMA, sfence_vma},
	{INSN_SINVAL_VMA, sfence_vma}, {INSN_SFENCE_W_INVAL, sfence_order},
	{INSN_SFENCE_INVAL_IR, sfence_order}, {INSN_FENCE_I, fence_i},
	{INSN_PAUSE, pause_hint},
};

unsigned system_execute(struct engine_vcpu *v, const struct op *op)
{
	count_cause(v, ENGINE_CAUSE_SYSTEM);
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].id == op->id)
			return table[i].execute(v, op);
	return CAUSE_ILLEGAL;
}

/* Whether envcfg lets this privilege use a cache-block instruction (CMO 3.2): all bits of `field` clear forbids. */
static bool envcfg_allows(const struct hart *hart, uint64_t field)
{
	if (hart->priv < PRIV_M && !(hart->menvcfg & field))
		return false;
	return hart->priv > PRIV_U || (hart->senvcfg & field);
}

/* cbo.zero stores; the others change nothing that a coherent machine could show, but fault as the manual says. */
enum riscv_cause cache_block_execute(struct engine_vcpu *v, const struct op *op)
{
	struct hart *hart = v->hart;
	uint64_t field = op->id == INSN_CBO_ZERO    ? ENVCFG_CBZE
			 : op->id == INSN_CBO_INVAL ? ENVCFG_CBIE
						    : ENVCFG_CBCFE;
	uint64_t address = hart->x[op->rs1], physical;
	enum riscv_cause cause;
	struct mmu_page page;
	void *host;

	if (!envcfg_allows(hart, field))
		return CAUSE_ILLEGAL;
	v->tval = address;
	if (op->id == INSN_CBO_ZERO) {
		cause = atomic_target(v, address & ~UINT64_C(63), 64, MMU_STORE, &host, &physical);
		v->tval = address;
		if (cause == CAUSE_NONE)
			memset(host, 0, 64);
		return cause;
	}
	cause = mmu_translate(hart, gva(address), 1, MMU_LOAD, mmu_data_privilege(hart), &page);
	if (cause == CAUSE_LOAD_PAGE)
		return CAUSE_STORE_PAGE;
	if (cause == CAUSE_NONE && !memory_host(v->memory, page.base, GUEST_PAGE_SIZE))
		return CAUSE_STORE_ACCESS;
	return cause == CAUSE_LOAD_ACCESS ? CAUSE_STORE_ACCESS : cause;
}
