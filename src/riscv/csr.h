/*
 * Control and status registers (Privileged 2), one table row each: csr.c.
 *
 * Thread: the hart's own, while it runs guest code or is stopped.
 */
#ifndef DOPPEL_RISCV_CSR_H
#define DOPPEL_RISCV_CSR_H

#include "riscv/hart.h"

enum csr_number {
	CSR_FFLAGS = 0x001, CSR_FRM = 0x002, CSR_FCSR = 0x003,
	CSR_SSTATUS = 0x100, CSR_SIE = 0x104, CSR_STVEC = 0x105, CSR_SCOUNTEREN = 0x106, CSR_SENVCFG = 0x10a,
	CSR_SSCRATCH = 0x140, CSR_SEPC = 0x141, CSR_SCAUSE = 0x142, CSR_STVAL = 0x143, CSR_SIP = 0x144,
	CSR_STIMECMP = 0x14d, CSR_SATP = 0x180,
	CSR_MSTATUS = 0x300, CSR_MISA = 0x301, CSR_MEDELEG = 0x302, CSR_MIDELEG = 0x303, CSR_MIE = 0x304,
	CSR_MTVEC = 0x305, CSR_MCOUNTEREN = 0x306, CSR_MENVCFG = 0x30a, CSR_MCOUNTINHIBIT = 0x320,
	CSR_MHPMEVENT3 = 0x323, CSR_MSCRATCH = 0x340, CSR_MEPC = 0x341, CSR_MCAUSE = 0x342, CSR_MTVAL = 0x343,
	CSR_MIP = 0x344, CSR_PMPCFG0 = 0x3a0, CSR_PMPADDR0 = 0x3b0,
	CSR_MCYCLE = 0xb00, CSR_MINSTRET = 0xb02, CSR_MHPMCOUNTER3 = 0xb03,
	CSR_CYCLE = 0xc00, CSR_TIME = 0xc01, CSR_INSTRET = 0xc02, CSR_HPMCOUNTER3 = 0xc03,
	CSR_MVENDORID = 0xf11, CSR_MARCHID = 0xf12, CSR_MIMPID = 0xf13, CSR_MHARTID = 0xf14,
	CSR_MCONFIGPTR = 0xf15,
};

/* What a CSR instruction did; on CSR_ILLEGAL nothing changed and the caller raises CAUSE_ILLEGAL. */
enum csr_result { CSR_OK, CSR_ILLEGAL };

/* One CSR instruction on register `number`. Reads the old value into *old when `reads`, and when `writes` stores
 * `(old & ~clear) | set` as far as the register is writable. The rules of Zicsr on which of both happen are the
 * caller's. hart->instret must be exact. */
enum csr_result csr_access(struct hart *hart, unsigned number, bool reads, bool writes, uint64_t clear,
			   uint64_t set, uint64_t *old);

/* Reads for inspection, without regard to privilege: false when there is no such register. */
bool csr_peek(struct hart *hart, unsigned number, uint64_t *value);
/* NULL when there is no such register. */
const char *csr_name(unsigned number);

/* misa: RV64, A C D F I M S U. */
#define RISCV_MISA                                                                                             \
	(UINT64_C(2) << 62 | 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 12 | 1 << 18 | 1 << 20)

/* The present value of mstatus as software reads it: SD and the fixed fields included. */
uint64_t csr_mstatus(const struct hart *hart);

#endif
