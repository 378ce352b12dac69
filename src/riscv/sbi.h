/*
 * The Supervisor Binary Interface, answered by the monitor itself (RISC-V SBI 2.0): what firmware in M-mode does on a
 * board is here a paravirtual call. BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, SUSP, STA, PMU and the legacy
 * console calls.
 *
 * Every argument is hostile. Guest memory named by an argument is reached through memory_read and memory_write only.
 *
 * Thread: sbi_call on the calling hart's own thread, from inside engine run; two harts may be in it at once.
 */
#ifndef DOPPEL_RISCV_SBI_H
#define DOPPEL_RISCV_SBI_H

#include "riscv/hart.h"

/* The console behind DBCN: the board connects it to its UART's back end. */
struct sbi_console {
	void (*write)(void *console, const uint8_t *bytes, size_t length);
	/* Returns the bytes read, 0 when there are none now. */
	size_t (*read)(void *console, uint8_t *bytes, size_t room);
	void *console;
};

MUST_USE int sbi_new(struct sbi **sbi, struct hart_cluster *cluster, const struct sbi_console *console,
		     struct error *e);
void sbi_free(struct sbi *sbi);

/* Performs the call in a0..a7; sets a0 (error) and a1 (value), advances pc past the ecall. Calls that do not return
 * to the caller (hart_stop, system_suspend, reset) leave hart->power or the cluster's power sink to say so. */
void sbi_call(struct sbi *sbi, struct hart *hart);

#endif
