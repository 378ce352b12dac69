/*
 * The Supervisor Binary Interface, answered by the monitor itself (RISC-V SBI 2.0): what firmware in M-mode
 * does on a board is here a paravirtual call. BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, SUSP, STA, PMU and the
 * legacy console, timer and shutdown calls. docs/internals/sbi.md lists what each one answers.
 *
 * Every argument is hostile. Guest memory named by an argument is reached through memory_read and memory_write
 * only.
 *
 * Thread: sbi_call, sbi_resume, sbi_boot_state and sbi_sta_update on the hart's own thread, from inside engine
 * run or while the hart does not run; two harts may be in them at once.
 */
#ifndef DOPPEL_RISCV_SBI_H
#define DOPPEL_RISCV_SBI_H

#include "riscv/hart.h"

/* The console behind DBCN and the legacy console calls: the board connects it to its UART's back end. Calls are
 * made one at a time (under a lock of the sbi), from any hart's thread. Either function may be NULL: output is
 * then dropped, input is never there. */
struct sbi_console {
	void (*write)(void *console, const uint8_t *bytes, size_t length);
	/* Returns the bytes read, at most `room`; 0 when there are none now. */
	size_t (*read)(void *console, uint8_t *bytes, size_t room);
	void *console;
};

/* What BASE answers. The implementation identifier is not one of those the specification has assigned. */
#define SBI_SPEC_VERSION           UINT64_C(0x02000000)
#define SBI_IMPLEMENTATION_ID      UINT64_C(0x446f7070) /* "Dopp" */
#define SBI_IMPLEMENTATION_VERSION UINT64_C(0x00010000)

/* Copies `console`; `cluster` must outlive the sbi. -ENOMEM. */
MUST_USE int sbi_new(struct sbi **sbi, struct hart_cluster *cluster, const struct sbi_console *console,
		     struct error *e);
void sbi_free(struct sbi *sbi);

/* Performs the call in a0..a7; sets a0 (error) and a1 (value), advances pc past the ecall. Calls that do not
 * return to the caller (hart_stop, hart_suspend, system_suspend, reset) leave hart->power or the cluster's
 * power sink to say so, and hart->waiting set when the hart is suspended: the engine looks at both before it
 * goes on. */
void sbi_call(struct sbi *sbi, struct hart *hart);

/* The state in which firmware hands a hart to a supervisor (SBI 2.0, 9.1; here also what Linux expects of a
 * platform): S-mode, translation and interrupts off, everything delegated but the ecall from S, all of memory
 * open, Sstc, Svpbmt, Svadu and the cache-block instructions enabled, no timer set. General registers and pc
 * stay as they are. */
void sbi_boot_state(struct hart *hart);

/* Whether the hart may execute, as far as HSM suspension goes. A hart in HART_SUSPENDED with an enabled
 * interrupt pending leaves that state here: after a retentive suspend behind its ecall, otherwise at the resume
 * address with sbi_boot_state, a0 = id and a1 = opaque; its timer and pending interrupts survive. An engine
 * calls this before guest code, and before it takes interrupts. */
bool sbi_resume(struct hart *hart);

/* Tells the guest how long this hart was runnable but not run, in nanoseconds since it was made. Nothing happens
 * while the guest has set no area (STA), or the hart is not started. */
void sbi_sta_update(struct hart *hart, uint64_t steal_ns);
/* Adds to what the guest's area says, so that it never runs backwards over a reset or a move to another process. False:
 * there is no area. */
bool sbi_sta_add(struct hart *hart, uint64_t ns);

#endif
