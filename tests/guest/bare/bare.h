/*
 * What the bare payloads share: a few hundred lines between reset and a verdict, for the `virt` memory map.
 *
 * A payload is a main() that makes checks and returns; the machine then ends through the finisher: exit status
 * 0 when each check held, 1 otherwise, SKIPPED when the payload had nothing to run on. Text goes to the UART.
 *
 * Payloads named m_* and smpN_* start in M-mode at 0x80000000 in place of firmware, those named s_* and sN_* in
 * S-mode at 0x80200000 above an SBI.
 */
#ifndef DOPPEL_TESTS_BARE_H
#define DOPPEL_TESTS_BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART     UINT64_C(0x10000000)
#define FINISHER UINT64_C(0x100000)
#define CLINT    UINT64_C(0x2000000)
/* Nothing answers here, in this machine and in QEMU's. */
#define HOLE    UINT64_C(0x8000000)
#define SKIPPED 77

enum { U = 0, S = 1, M = 3 };

enum {
	FETCH_ACCESS = 1,
	ILLEGAL = 2,
	BREAKPOINT = 3,
	LOAD_MISALIGNED = 4,
	LOAD_ACCESS = 5,
	STORE_MISALIGNED = 6,
	STORE_ACCESS = 7,
	ECALL_U = 8,
	ECALL_S = 9,
	ECALL_M = 11,
	FETCH_PAGE = 12,
	LOAD_PAGE = 13,
	STORE_PAGE = 15,
};
/* A cause in a place where a value is expected. */
#define FAULT(cause) ((uint64_t)(cause) << 32)
#define INTERRUPT    (UINT64_C(1) << 63)
enum { SSI = 1, MSI = 3, STI = 5, MTI = 7, SEI = 9, MEI = 11 };
#define BIT(n) (UINT64_C(1) << (n))

#define STATUS_SIE  BIT(1)
#define STATUS_MIE  BIT(3)
#define STATUS_SPIE BIT(5)
#define STATUS_MPIE BIT(7)
#define STATUS_SPP  BIT(8)
#define STATUS_MPP  (UINT64_C(3) << 11)
#define STATUS_FS   (UINT64_C(3) << 13)
#define STATUS_MPRV BIT(17)
#define STATUS_SUM  BIT(18)
#define STATUS_MXR  BIT(19)
#define STATUS_TVM  BIT(20)
#define STATUS_TW   BIT(21)
#define STATUS_TSR  BIT(22)

#define ENVCFG_ADUE  BIT(61)
#define ENVCFG_PBMTE BIT(62)
#define ENVCFG_STCE  BIT(63)
#define menvcfg      0x30a
#define stimecmp     0x14d

#define NAME_OF(x)  #x
#define CSR_NAME(x) NAME_OF(x)
#define csr_read(csr)                                                                                             \
	({                                                                                                        \
		uint64_t value_;                                                                                  \
		asm volatile("csrr %0, " CSR_NAME(csr) : "=r"(value_)::"memory");                                 \
		value_;                                                                                           \
	})
#define csr_write(csr, v) asm volatile("csrw " CSR_NAME(csr) ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_set(csr, v)   asm volatile("csrs " CSR_NAME(csr) ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_clear(csr, v) asm volatile("csrc " CSR_NAME(csr) ", %0" ::"r"((uint64_t)(v)) : "memory")
#define fence_vma()       asm volatile("sfence.vma" ::: "memory")
#define naked             __attribute__((naked, noinline, used))

void print(const char *text);
void print_hex(uint64_t value);
void print_decimal(uint64_t value);

/* Counts a check, and tells of it when `got` is not `want`. */
void check_at(const char *what, unsigned line, uint64_t got, uint64_t want);
#define check(got, want) check_at(#got, __LINE__, (uint64_t)(got), (uint64_t)(want))
/* A check that QEMU 7.2 is known to fail where the specification is clear; a comment says how. Left out there. */
#define check_strictly(got, want)                                                                                 \
	do {                                                                                                      \
		if (!on_qemu())                                                                                   \
			check(got, want);                                                                         \
	} while (0)
/* Told with each failed check from now on: what a loop is at. NULL: nothing. */
void context(const char *name, uint64_t a, uint64_t b, uint64_t c);
/* Says that part of a payload does not apply here. */
void note(const char *text);
/* Ends the machine at once. */
void finish(unsigned code) __attribute__((noreturn));
/* main has returned. */
void verdict(void) __attribute__((noreturn));

int main(void);

/* M-mode payloads only, from here on. */

struct trap {
	uint64_t cause, epc, tval, status, a0, taken;
};

/* Runs code(a0, a1) in a mode with its own stack until the first trap into M-mode, which is returned: the ecall
 * of that mode when the code has returned (then .a0 is its result). mstatus is as the caller set it, but for
 * MPP: MPIE becomes MIE in M-mode, and so on. Of hart 0 only. */
struct trap run(unsigned mode, const void *code, uint64_t a0, uint64_t a1);
/* What the S-mode handler saw of a delegated trap in the last run; it then makes an ecall. */
extern struct trap s_trap;
/* Added to the stack pointer and the return address that `run` gives, for code that runs in another mapping. */
extern uint64_t run_offset;

/* A load, store or fetch at an address: the cause of the trap it made in M-mode, or 0; *last has the whole of
 * it. Loads and stores are made as if in `mode` (MPRV), of 1 to 8 bytes. A fetch needs an ecall at the address. */
uint64_t try_load(unsigned mode, uint64_t address, unsigned size);
uint64_t try_store(unsigned mode, uint64_t address, unsigned size);
uint64_t try_fetch(unsigned mode, uint64_t address);
/* One of them: 'r', 'w' or 'x', of 8 bytes. */
uint64_t try_access(char access, unsigned mode, uint64_t address);
extern struct trap last;

/* An independent implementation whose few known differences from the specification a payload steps around. */
bool on_qemu(void);

/* Starts the other harts at `entry` (with its hart id), once. */
void start_others(void (*entry)(uint64_t id));

#endif
