/* What M-mode payloads use: modes, probes of memory, other harts. */
#include "bare.h"

struct trap trap_record, s_trap, last;
uint64_t run_offset;
void (*volatile others_ready)(uint64_t id) __attribute__((section(".data"))) = NULL;

uint64_t run_in(unsigned mode, const void *code, uint64_t a0, uint64_t a1);
void open_memory(void);
void unexpected(uint64_t cause, uint64_t epc, uint64_t tval) __attribute__((noreturn));

/* Without an entry that matches, S and U have no memory at all (Privileged 3.7.1). */
void open_memory(void)
{
	csr_write(pmpaddr0, -1);
	csr_write(pmpcfg0, 0x1f);
}

void unexpected(uint64_t cause, uint64_t epc, uint64_t tval)
{
	print("FAIL trap outside of run: cause ");
	print_hex(cause);
	print(" epc ");
	print_hex(epc);
	print(" tval ");
	print_hex(tval);
	print("\n");
	finish(2);
}

struct trap run(unsigned mode, const void *code, uint64_t a0, uint64_t a1)
{
	s_trap.taken = 0;
	run_in(mode, code, a0, a1);
	return *(volatile struct trap *)&trap_record;
}

/* Accesses under MPRV; a0 the address, a1 the bits of mstatus that make it (MPRV, and MPP's difference from M). */
#define PROBE(name, instruction)                                                                                  \
	static naked void name(void)                                                                              \
	{                                                                                                         \
		asm("li t0, 0x1800; csrc mstatus, t0; csrs mstatus, a1; " instruction                             \
		    "; li t0, 0x20000; csrc mstatus, t0; ret");                                                   \
	}

PROBE(load_1, "lbu a0, 0(a0)")
PROBE(load_2, "lhu a0, 0(a0)")
PROBE(load_4, "lwu a0, 0(a0)")
PROBE(load_8, "ld a0, 0(a0)")
PROBE(store_1, "sb zero, 0(a0)")
PROBE(store_2, "sh zero, 0(a0)")
PROBE(store_4, "sw zero, 0(a0)")
PROBE(store_8, "sd zero, 0(a0)")

static uint64_t access(const void *code, unsigned mode, uint64_t address)
{
	last = run(M, code, address, STATUS_MPRV | (uint64_t)mode << 11);
	return last.cause == ECALL_M ? 0 : last.cause;
}

uint64_t try_load(unsigned mode, uint64_t address, unsigned size)
{
	return access(size == 1 ? load_1 : size == 2 ? load_2 : size == 4 ? load_4 : load_8, mode, address);
}

uint64_t try_store(unsigned mode, uint64_t address, unsigned size)
{
	return access(size == 1 ? store_1 : size == 2 ? store_2 : size == 4 ? store_4 : store_8, mode, address);
}

uint64_t try_fetch(unsigned mode, uint64_t address)
{
	last = run(mode, (const void *)address, 0, 0);
	return last.cause == ECALL_U + mode ? 0 : last.cause;
}

uint64_t try_access(char access, unsigned mode, uint64_t address)
{
	if (access == 'x')
		return try_fetch(mode, address);
	return access == 'r' ? try_load(mode, address, 8) : try_store(mode, address, 8);
}

bool on_qemu(void)
{
	return csr_read(mimpid) != 0 && csr_read(mimpid) == csr_read(marchid);
}

void start_others(void (*entry)(uint64_t id))
{
	asm volatile("fence" ::: "memory");
	others_ready = entry;
}
