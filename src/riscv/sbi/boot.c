/* The state that firmware leaves behind for a supervisor. */
#include <string.h>

#include "riscv/sbi/sbi.h"

/* All synchronous causes that exist, but the ecalls from S and M. */
#define DELEGATED_EXCEPTIONS UINT64_C(0xb1ff)
#define DELEGATED_INTERRUPTS (IRQ_BIT(IRQ_SSI) | IRQ_BIT(IRQ_STI) | IRQ_BIT(IRQ_SEI))
/* cycle, time and instret. */
#define COUNTERS_ENABLED 7
#define ENVIRONMENT      (ENVCFG_STCE | ENVCFG_PBMTE | ENVCFG_ADUE | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE)
/* XLEN 64 in S and U. The unit for floating point is on, as usual firmware leaves it. */
#define STATUS (UINT64_C(2) << 32 | UINT64_C(2) << 34 | UINT64_C(1) << 13)

#define PMP_NAPOT_RWX     0x1f
#define PMP_ALL_OF_MEMORY ((UINT64_C(1) << 54) - 1)

static void open_memory(struct hart *hart)
{
	memset(hart->pmpcfg, 0, sizeof(hart->pmpcfg));
	memset(hart->pmpaddr, 0, sizeof(hart->pmpaddr));
	hart->pmpcfg[0] = PMP_NAPOT_RWX;
	hart->pmpaddr[0] = PMP_ALL_OF_MEMORY;
}

void sbi_boot_state(struct hart *hart)
{
	hart->priv = PRIV_S;
	hart->waiting = false;
	hart_end_reservation(hart);
	hart->mstatus = STATUS;
	hart->medeleg = DELEGATED_EXCEPTIONS;
	hart->mideleg = DELEGATED_INTERRUPTS;
	hart->mie = 0;
	hart->menvcfg = ENVIRONMENT;
	hart->senvcfg = 0;
	hart->mcounteren = COUNTERS_ENABLED;
	hart->scounteren = COUNTERS_ENABLED;
	hart->stvec = 0;
	hart->satp = 0;
	hart->stimecmp = UINT64_MAX;
	open_memory(hart);
	hart_loaded(hart);
	hart_update_timers(hart, clock_ticks(hart->cluster->clock));
	if (hart->engine)
		hart->engine->flush_tlb(hart, false, gva(0), false, 0);
}
