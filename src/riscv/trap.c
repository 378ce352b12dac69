/*
 * Traps and returns from them (Privileged 3.1.6 to 3.1.9, 3.3.2, 4.1).
 */
#include "riscv/hart.h"
#include "riscv/sbi.h"

/* In the order in which simultaneous interrupts are taken (Privileged 3.1.9). */
static const uint8_t priority[] = {IRQ_MEI, IRQ_MSI, IRQ_MTI, IRQ_SEI, IRQ_SSI, IRQ_STI};

static int first_of(uint64_t pending)
{
	for (unsigned i = 0; i < ARRAY_SIZE(priority); i++)
		if (pending & IRQ_BIT(priority[i]))
			return priority[i];
	return -1;
}

int hart_pending_interrupt(const struct hart *hart)
{
	uint64_t pending = hart_mip(hart) & hart->mie;
	uint64_t machine = pending & ~hart->mideleg, supervisor = pending & hart->mideleg;
	bool machine_on = hart->priv < PRIV_M || (hart->mstatus & MSTATUS_MIE);
	bool supervisor_on =
		hart->priv < PRIV_S || (hart->priv == PRIV_S && (hart->mstatus & MSTATUS_SIE));

	if (machine_on && machine)
		return first_of(machine);
	return supervisor_on && supervisor ? first_of(supervisor) : -1;
}

static uint64_t vector(uint64_t tvec, uint64_t cause)
{
	uint64_t base = tvec & ~UINT64_C(3);

	return (tvec & 1) && (cause & CAUSE_INTERRUPT) ? base + 4 * (cause & 63) : base;
}

static void enter_supervisor(struct hart *hart, uint64_t cause, uint64_t tval)
{
	uint64_t status = hart->mstatus & ~(MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_SIE);

	if (hart->mstatus & MSTATUS_SIE)
		status |= MSTATUS_SPIE;
	if (hart->priv == PRIV_S)
		status |= MSTATUS_SPP;
	hart->mstatus = status;
	hart->scause = cause;
	hart->sepc = hart->pc;
	hart->stval = tval;
	hart->priv = PRIV_S;
	hart->pc = vector(hart->stvec, cause);
}

static void enter_machine(struct hart *hart, uint64_t cause, uint64_t tval)
{
	uint64_t status = hart->mstatus & ~(MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MIE);

	if (hart->mstatus & MSTATUS_MIE)
		status |= MSTATUS_MPIE;
	hart->mstatus = status | (uint64_t)hart->priv << 11;
	hart->mcause = cause;
	hart->mepc = hart->pc;
	hart->mtval = tval;
	hart->priv = PRIV_M;
	hart->pc = vector(hart->mtvec, cause);
}

void hart_trap(struct hart *hart, uint64_t cause, uint64_t tval)
{
	uint64_t delegated = cause & CAUSE_INTERRUPT ? hart->mideleg : hart->medeleg;

	hart_end_reservation(hart);
	if (cause == CAUSE_ECALL_S && hart->cluster->sbi) {
		sbi_call(hart->cluster->sbi, hart);
		return;
	}
	/* Without firmware there is no M-mode to go to: what is not delegated is the supervisor's all the same. */
	if (hart->priv <= PRIV_S && ((delegated >> (cause & 63) & 1) || hart->cluster->sbi))
		enter_supervisor(hart, cause, tval);
	else
		enter_machine(hart, cause, tval);
}

enum riscv_cause hart_mret(struct hart *hart)
{
	uint64_t status = hart->mstatus;
	uint8_t previous = status >> 11 & 3;

	if (hart->priv != PRIV_M)
		return CAUSE_ILLEGAL;
	status &= ~(MSTATUS_MIE | MSTATUS_MPP);
	if (status & MSTATUS_MPIE)
		status |= MSTATUS_MIE;
	status |= MSTATUS_MPIE;
	if (previous != PRIV_M)
		status &= ~MSTATUS_MPRV;
	hart->mstatus = status;
	hart->priv = previous;
	hart->pc = hart->mepc;
	return CAUSE_NONE;
}

enum riscv_cause hart_sret(struct hart *hart)
{
	uint64_t status = hart->mstatus;
	uint8_t previous = status & MSTATUS_SPP ? PRIV_S : PRIV_U;

	if (hart->priv < PRIV_S || (hart->priv == PRIV_S && (status & MSTATUS_TSR)))
		return CAUSE_ILLEGAL;
	status &= ~(MSTATUS_SIE | MSTATUS_SPP | MSTATUS_MPRV);
	if (status & MSTATUS_SPIE)
		status |= MSTATUS_SIE;
	status |= MSTATUS_SPIE;
	hart->mstatus = status;
	hart->priv = previous;
	hart->pc = hart->sepc;
	return CAUSE_NONE;
}
