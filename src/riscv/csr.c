#include "riscv/csr.h"

#include "riscv/mmu.h"
#include "riscv/pmp.h"

/* A register: a plain 64-bit field of struct hart with a mask of writable bits, or functions of its own. */
struct csr {
	const char *name;
	uint16_t field;      /* offset in struct hart of a uint64_t; used where read or write is NULL */
	uint64_t write_mask; /* bits of `field` that software can change */
	uint64_t (*read)(struct hart *hart, unsigned number);
	void (*write)(struct hart *hart, unsigned number, uint64_t value);
	/* Optional: further conditions on access, beyond the privilege in the number. */
	bool (*allowed)(const struct hart *hart, unsigned number);
};

#define FIELD(name_, member, mask)                                                                             \
	{                                                                                                  \
		.name = name_, .field = offsetof(struct hart, member), .write_mask = (mask)                \
	}
#define CUSTOM(name_, read_, write_, ...)                                                                      \
	{                                                                                                  \
		.name = name_, .read = read_, .write = write_, __VA_ARGS__                                 \
	}

#define ALL_BITS UINT64_MAX
/* Every cause that can be delegated: not ecall from M, nor the reserved ones (Privileged 3.1.8). */
#define MEDELEG_MASK UINT64_C(0xb3ff)
#define MIDELEG_MASK (IRQ_BIT(IRQ_SSI) | IRQ_BIT(IRQ_STI) | IRQ_BIT(IRQ_SEI))
#define MIE_MASK     (MIDELEG_MASK | IRQ_BIT(IRQ_MSI) | IRQ_BIT(IRQ_MTI) | IRQ_BIT(IRQ_MEI))
#define COUNTEREN_MASK 7
#define SENVCFG_MASK (ENVCFG_FIOM | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE)
#define MENVCFG_MASK (SENVCFG_MASK | ENVCFG_ADUE | ENVCFG_PBMTE | ENVCFG_STCE)
#define SSTATUS_WRITE (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR)
#define MSTATUS_WRITE                                                                                          \
	(SSTATUS_WRITE | MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MPRV | MSTATUS_TVM | MSTATUS_TW | \
	 MSTATUS_TSR)
#define SSTATUS_READ (SSTATUS_WRITE | MSTATUS_UXL | MSTATUS_SD)
#define XLEN_64      (UINT64_C(2) << 32 | UINT64_C(2) << 34)

static uint64_t *field_of(struct hart *hart, const struct csr *csr)
{
	return (uint64_t *)((char *)hart + csr->field);
}

/* Zicntr and the machine's own counters. */

static uint64_t read_cycle(struct hart *hart, unsigned number)
{
	(void)number;
	return hart->instret + hart->mcycle_offset;
}

static uint64_t read_instret(struct hart *hart, unsigned number)
{
	(void)number;
	return hart->instret + hart->minstret_offset;
}

static uint64_t read_time(struct hart *hart, unsigned number)
{
	(void)number;
	return clock_ticks(hart->cluster->clock);
}

static void write_cycle(struct hart *hart, unsigned number, uint64_t value)
{
	(void)number;
	hart->mcycle_offset = value - hart->instret;
}

static void write_instret(struct hart *hart, unsigned number, uint64_t value)
{
	(void)number;
	/* The write itself is not counted (Privileged 3.1.11). */
	hart->minstret_offset = value - hart->instret - 1;
}

static bool counter_allowed(const struct hart *hart, unsigned number)
{
	uint32_t bit = UINT32_C(1) << (number & 31);

	if (hart->priv < PRIV_M && !(hart->mcounteren & bit))
		return false;
	return hart->priv > PRIV_U || (hart->scounteren & bit);
}

static uint64_t read_zero(struct hart *hart, unsigned number)
{
	(void)hart;
	(void)number;
	return 0;
}

static void write_nothing(struct hart *hart, unsigned number, uint64_t value)
{
	(void)hart;
	(void)number;
	(void)value;
}

static uint64_t read_counteren(struct hart *hart, unsigned number)
{
	return number == CSR_MCOUNTEREN ? hart->mcounteren : hart->scounteren;
}

static void write_counteren(struct hart *hart, unsigned number, uint64_t value)
{
	*(number == CSR_MCOUNTEREN ? &hart->mcounteren : &hart->scounteren) = value & COUNTEREN_MASK;
}

/* Floating-point control (Unprivileged 11.2). */

static bool float_allowed(const struct hart *hart, unsigned number)
{
	(void)number;
	return !hart_fp_off(hart);
}

static uint64_t read_fcsr(struct hart *hart, unsigned number)
{
	switch (number) {
	case CSR_FFLAGS:
		return hart->fflags;
	case CSR_FRM:
		return hart->frm;
	default:
		return hart->fflags | (uint64_t)hart->frm << 5;
	}
}

static void write_fcsr(struct hart *hart, unsigned number, uint64_t value)
{
	if (number != CSR_FRM)
		hart->fflags = value & 0x1f;
	if (number != CSR_FFLAGS)
		hart->frm = (number == CSR_FRM ? value : value >> 5) & 7;
	hart->mstatus |= MSTATUS_FS;
}

/* Status. */

uint64_t csr_mstatus(const struct hart *hart)
{
	uint64_t sd = (hart->mstatus & MSTATUS_FS) == MSTATUS_FS ? MSTATUS_SD : 0;

	return hart->mstatus | XLEN_64 | sd;
}

static uint64_t read_status(struct hart *hart, unsigned number)
{
	return csr_mstatus(hart) & (number == CSR_SSTATUS ? SSTATUS_READ : ALL_BITS);
}

static void write_status(struct hart *hart, unsigned number, uint64_t value)
{
	uint64_t mask = number == CSR_SSTATUS ? SSTATUS_WRITE : MSTATUS_WRITE;

	/* MPP holds 0, 1 or 3; a write of 2 leaves it as it was. */
	if ((value & MSTATUS_MPP) == UINT64_C(2) << 11)
		mask &= ~MSTATUS_MPP;
	hart->mstatus = (hart->mstatus & ~mask) | (value & mask);
}

static uint64_t read_misa(struct hart *hart, unsigned number)
{
	(void)hart;
	(void)number;
	return RISCV_MISA;
}

static uint64_t read_hartid(struct hart *hart, unsigned number)
{
	(void)number;
	return hart->cpu.id;
}

/* Interrupt registers: sie and sip show what is delegated. */

static uint64_t read_ie(struct hart *hart, unsigned number)
{
	return hart->mie & (number == CSR_SIE ? hart->mideleg : ALL_BITS);
}

static void write_ie(struct hart *hart, unsigned number, uint64_t value)
{
	uint64_t mask = MIE_MASK & (number == CSR_SIE ? hart->mideleg : ALL_BITS);

	hart->mie = (hart->mie & ~mask) | (value & mask);
}

static uint64_t read_ip(struct hart *hart, unsigned number)
{
	hart_update_timers(hart, clock_ticks(hart->cluster->clock));
	return hart_mip(hart) & (number == CSR_SIP ? hart->mideleg : ALL_BITS);
}

static void write_ip(struct hart *hart, unsigned number, uint64_t value)
{
	uint64_t mask = IRQ_BIT(IRQ_SSI);

	if (number == CSR_SIP)
		mask &= hart->mideleg;
	else
		mask |= IRQ_BIT(IRQ_SEI) | (hart->menvcfg & ENVCFG_STCE ? 0 : IRQ_BIT(IRQ_STI));
	atomic_fetch_and(&hart->mip, ~(mask & ~value));
	atomic_fetch_or(&hart->mip, mask & value);
}

static void write_tvec(struct hart *hart, unsigned number, uint64_t value)
{
	/* Modes above 1 are reserved (Privileged 3.1.7): taken as direct. */
	*(number == CSR_MTVEC ? &hart->mtvec : &hart->stvec) = value & 2 ? value & ~UINT64_C(3) : value;
}

static uint64_t read_tvec(struct hart *hart, unsigned number)
{
	return number == CSR_MTVEC ? hart->mtvec : hart->stvec;
}

/* CBIE has the values 0, 1 and 3; 2 is reserved (CMO 3.2). */
static uint64_t legal_cbie(uint64_t value)
{
	return (value & ENVCFG_CBIE) == UINT64_C(2) << 4 ? value & ~ENVCFG_CBIE : value;
}

static uint64_t read_envcfg(struct hart *hart, unsigned number)
{
	return number == CSR_MENVCFG ? hart->menvcfg : hart->senvcfg;
}

static void write_envcfg(struct hart *hart, unsigned number, uint64_t value)
{
	uint64_t changed = hart->menvcfg;

	if (number == CSR_SENVCFG) {
		hart->senvcfg = legal_cbie(value) & SENVCFG_MASK;
		return;
	}
	hart->menvcfg = legal_cbie(value) & MENVCFG_MASK;
	changed ^= hart->menvcfg;
	if (changed & (ENVCFG_ADUE | ENVCFG_PBMTE))
		hart->engine->flush_tlb(hart, false, gva(0), false, 0);
	if (changed & ENVCFG_STCE)
		atomic_fetch_and(&hart->mip, ~IRQ_BIT(IRQ_STI));
	hart_update_timers(hart, clock_ticks(hart->cluster->clock));
}

/* Sstc. */

static bool stimecmp_allowed(const struct hart *hart, unsigned number)
{
	(void)number;
	return hart->priv == PRIV_M || ((hart->menvcfg & ENVCFG_STCE) && (hart->mcounteren & 2));
}

static uint64_t read_stimecmp(struct hart *hart, unsigned number)
{
	(void)number;
	return hart->stimecmp;
}

static void write_stimecmp(struct hart *hart, unsigned number, uint64_t value)
{
	(void)number;
	hart->stimecmp = value;
	hart_update_timers(hart, clock_ticks(hart->cluster->clock));
}

/* Translation. */

static bool satp_allowed(const struct hart *hart, unsigned number)
{
	(void)number;
	return hart->priv == PRIV_M || !(hart->mstatus & MSTATUS_TVM);
}

static uint64_t read_satp(struct hart *hart, unsigned number)
{
	(void)number;
	return hart->satp;
}

static void write_satp(struct hart *hart, unsigned number, uint64_t value)
{
	(void)number;
	/* A write with an unsupported mode has no effect at all (Privileged 4.1.11). */
	if (mmu_mode_supported(value))
		hart->satp = value;
}

/* Physical memory protection. */

static uint64_t read_pmpcfg(struct hart *hart, unsigned number)
{
	return pmp_read_cfg(hart, number - CSR_PMPCFG0);
}

static void write_pmpcfg(struct hart *hart, unsigned number, uint64_t value)
{
	pmp_write_cfg(hart, number - CSR_PMPCFG0, value);
}

static bool pmpcfg_allowed(const struct hart *hart, unsigned number)
{
	(void)hart;
	/* RV64 has the even ones only. */
	return (number & 1) == 0;
}

static uint64_t read_pmpaddr(struct hart *hart, unsigned number)
{
	return pmp_read_address(hart, number - CSR_PMPADDR0);
}

static void write_pmpaddr(struct hart *hart, unsigned number, uint64_t value)
{
	pmp_write_address(hart, number - CSR_PMPADDR0, value);
}

#define ABSENT_COUNTER CUSTOM("mhpmcounter", read_zero, write_nothing)

static const struct csr csrs[4096] = {
	[CSR_FFLAGS] = CUSTOM("fflags", read_fcsr, write_fcsr, .allowed = float_allowed),
	[CSR_FRM] = CUSTOM("frm", read_fcsr, write_fcsr, .allowed = float_allowed),
	[CSR_FCSR] = CUSTOM("fcsr", read_fcsr, write_fcsr, .allowed = float_allowed),

	[CSR_SSTATUS] = CUSTOM("sstatus", read_status, write_status),
	[CSR_SIE] = CUSTOM("sie", read_ie, write_ie),
	[CSR_STVEC] = CUSTOM("stvec", read_tvec, write_tvec),
	[CSR_SCOUNTEREN] = CUSTOM("scounteren", read_counteren, write_counteren),
	[CSR_SENVCFG] = CUSTOM("senvcfg", read_envcfg, write_envcfg),
	[CSR_SSCRATCH] = FIELD("sscratch", sscratch, ALL_BITS),
	[CSR_SEPC] = FIELD("sepc", sepc, ~UINT64_C(1)),
	[CSR_SCAUSE] = FIELD("scause", scause, ALL_BITS),
	[CSR_STVAL] = FIELD("stval", stval, ALL_BITS),
	[CSR_SIP] = CUSTOM("sip", read_ip, write_ip),
	[CSR_STIMECMP] = CUSTOM("stimecmp", read_stimecmp, write_stimecmp, .allowed = stimecmp_allowed),
	[CSR_SATP] = CUSTOM("satp", read_satp, write_satp, .allowed = satp_allowed),

	[CSR_MSTATUS] = CUSTOM("mstatus", read_status, write_status),
	[CSR_MISA] = CUSTOM("misa", read_misa, write_nothing),
	[CSR_MEDELEG] = FIELD("medeleg", medeleg, MEDELEG_MASK),
	[CSR_MIDELEG] = FIELD("mideleg", mideleg, MIDELEG_MASK),
	[CSR_MIE] = CUSTOM("mie", read_ie, write_ie),
	[CSR_MTVEC] = CUSTOM("mtvec", read_tvec, write_tvec),
	[CSR_MCOUNTEREN] = CUSTOM("mcounteren", read_counteren, write_counteren),
	[CSR_MENVCFG] = CUSTOM("menvcfg", read_envcfg, write_envcfg),
	[CSR_MCOUNTINHIBIT] = CUSTOM("mcountinhibit", read_zero, write_nothing),
	[CSR_MHPMEVENT3 ... CSR_MHPMEVENT3 + 28] = CUSTOM("mhpmevent", read_zero, write_nothing),
	[CSR_MSCRATCH] = FIELD("mscratch", mscratch, ALL_BITS),
	[CSR_MEPC] = FIELD("mepc", mepc, ~UINT64_C(1)),
	[CSR_MCAUSE] = FIELD("mcause", mcause, ALL_BITS),
	[CSR_MTVAL] = FIELD("mtval", mtval, ALL_BITS),
	[CSR_MIP] = CUSTOM("mip", read_ip, write_ip),
	[CSR_PMPCFG0 ... CSR_PMPCFG0 + 15] =
		CUSTOM("pmpcfg", read_pmpcfg, write_pmpcfg, .allowed = pmpcfg_allowed),
	[CSR_PMPADDR0 ... CSR_PMPADDR0 + 63] = CUSTOM("pmpaddr", read_pmpaddr, write_pmpaddr),

	[CSR_MCYCLE] = CUSTOM("mcycle", read_cycle, write_cycle),
	[CSR_MINSTRET] = CUSTOM("minstret", read_instret, write_instret),
	[CSR_MHPMCOUNTER3 ... CSR_MHPMCOUNTER3 + 28] = ABSENT_COUNTER,

	[CSR_CYCLE] = CUSTOM("cycle", read_cycle, write_nothing, .allowed = counter_allowed),
	[CSR_TIME] = CUSTOM("time", read_time, write_nothing, .allowed = counter_allowed),
	[CSR_INSTRET] = CUSTOM("instret", read_instret, write_nothing, .allowed = counter_allowed),
	[CSR_HPMCOUNTER3 ... CSR_HPMCOUNTER3 + 28] =
		CUSTOM("hpmcounter", read_zero, write_nothing, .allowed = counter_allowed),

	[CSR_MVENDORID] = CUSTOM("mvendorid", read_zero, write_nothing),
	[CSR_MARCHID] = CUSTOM("marchid", read_zero, write_nothing),
	[CSR_MIMPID] = CUSTOM("mimpid", read_zero, write_nothing),
	[CSR_MHARTID] = CUSTOM("mhartid", read_hartid, write_nothing),
	[CSR_MCONFIGPTR] = CUSTOM("mconfigptr", read_zero, write_nothing),
};

static uint64_t read_register(struct hart *hart, const struct csr *csr, unsigned number)
{
	return csr->read ? csr->read(hart, number) : *field_of(hart, csr);
}

static void write_register(struct hart *hart, const struct csr *csr, unsigned number, uint64_t value)
{
	uint64_t *field;

	if (csr->write) {
		csr->write(hart, number, value);
		return;
	}
	field = field_of(hart, csr);
	*field = (*field & ~csr->write_mask) | (value & csr->write_mask);
}

/* Privilege and read-only rules that lie in the number itself (Privileged 2.1). */
static bool number_allows(const struct hart *hart, unsigned number, bool writes)
{
	bool read_only = number >> 10 == 3;

	return hart->priv >= (number >> 8 & 3) && !(writes && read_only);
}

enum csr_result csr_access(struct hart *hart, unsigned number, bool reads, bool writes, uint64_t clear,
			   uint64_t set, uint64_t *old)
{
	const struct csr *csr = &csrs[number & 4095];
	uint64_t value = 0;

	if (!csr->name || !number_allows(hart, number, writes))
		return CSR_ILLEGAL;
	if (csr->allowed && !csr->allowed(hart, number))
		return CSR_ILLEGAL;
	if (reads)
		value = read_register(hart, csr, number);
	if (writes) {
		uint64_t base = value;

		/* SEI in mip: what is written back is the software bit alone, not the controller's line
		 * (Privileged 3.1.9). */
		if (number == CSR_MIP && clear != ALL_BITS)
			base = atomic_load(&hart->mip);
		write_register(hart, csr, number, (base & ~clear) | set);
	}
	if (reads)
		*old = value;
	return CSR_OK;
}

bool csr_peek(struct hart *hart, unsigned number, uint64_t *value)
{
	const struct csr *csr = &csrs[number & 4095];

	if (!csr->name)
		return false;
	*value = read_register(hart, csr, number);
	return true;
}

const char *csr_name(unsigned number)
{
	return csrs[number & 4095].name;
}
