/*
 * The architectural state of one x86-64 CPU, in terms of the architecture: any engine that runs it brings this up to date and
 * takes it from here (engine.h: store_state, state_loaded).
 *
 * Thread: the owner, while no vCPU runs.
 *
 * Specifications: Intel SDM volumes 1 to 4 (2022 and later), AMD64 APM volume 2.
 */
#ifndef DOPPEL_X86_CPU_H
#define DOPPEL_X86_CPU_H

#include "bus/cpu.h"
#include "state/state.h"
#include "x86/cpuid.h"

/* In the order of their numbers in instructions. */
enum x86_register {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15, X86_REGISTERS
};
enum x86_segment_register { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_LDTR, X86_TR, X86_SEGMENTS };

/* Attributes of a segment: bits 8 to 23 of its descriptor's second word, without the limit's, and "unusable" (SDM 3, 24.4.1). */
#define X86_SEGMENT_TYPE     0xfu
#define X86_SEGMENT_CODE     (1u << 4) /* or data; clear: a system segment */
#define X86_SEGMENT_DPL      (3u << 5)
#define X86_SEGMENT_PRESENT  (1u << 7)
#define X86_SEGMENT_AVL      (1u << 12)
#define X86_SEGMENT_LONG     (1u << 13)
#define X86_SEGMENT_32       (1u << 14)
#define X86_SEGMENT_PAGES    (1u << 15)
#define X86_SEGMENT_UNUSABLE (1u << 16)

struct x86_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, the last one that is in */
	uint32_t attributes;
	uint16_t selector;
};

struct x86_table {
	uint64_t base;
	uint16_t limit;
};

#define X86_CR0_PE   (UINT64_C(1) << 0)
#define X86_CR0_ET   (UINT64_C(1) << 4)
#define X86_CR0_NW   (UINT64_C(1) << 29)
#define X86_CR0_CD   (UINT64_C(1) << 30)
#define X86_CR0_PG   (UINT64_C(1) << 31)
#define X86_CR4_PAE  (UINT64_C(1) << 5)
#define X86_EFER_SCE (UINT64_C(1) << 0)
#define X86_EFER_LME (UINT64_C(1) << 8)
#define X86_EFER_LMA (UINT64_C(1) << 10)
#define X86_RFLAGS_FIXED UINT64_C(2)

/* A processor's state towards others (SDM 3, 9.4.3: INIT and startup messages). */
enum x86_power {
	X86_RUNNING,
	X86_WAITS_FOR_INIT, /* not the first processor, since power-on */
	X86_WAITS_FOR_START,
	X86_HALTED,
	X86_STARTS, /* a startup message came */
	X86_POWERS,
};

/* Events between two instructions: what is being delivered, and what waits to be. */
struct x86_events {
	bool exception_injected, exception_pending, exception_has_code, exception_has_payload;
	uint8_t exception;
	uint32_t exception_code;
	uint64_t exception_payload;
	bool interrupt_injected, interrupt_soft;
	uint8_t interrupt;
	uint8_t shadow; /* 1: after mov ss; 2: after sti */
	bool nmi_injected, nmi_pending, nmi_masked;
	uint32_t startup_vector;
	bool smm, smi_pending, smm_inside_nmi, init_latched;
	bool triple_fault_pending;
};

struct x86_msr {
	uint32_t index;
	uint64_t value;
};

struct engine_vcpu;

/* What an engine does for a CPU that it runs. Any thread. */
struct x86_cpu_hooks {
	/* It looks around soon, if it runs guest code. */
	void (*kick)(struct engine_vcpu *vcpu);
	/* It is halted, or waits for another to start it, amid a run. */
	bool (*asleep)(const struct engine_vcpu *vcpu);
	/* The vCPU's thread, outside of a run: as cpu_type's, of time that the host's kernel does not tell the guest of. */
	bool (*stolen)(struct engine_vcpu *vcpu, uint64_t ns);
};

#define X86_MSRS_MAX   384
#define X86_XSAVE_SIZE 12288
#define X86_LAPIC_SIZE 1024

struct x86_platform; /* x86/platform.h */

struct x86_cpu {
	uint64_t registers[X86_REGISTERS];
	uint64_t rip, rflags;
	struct x86_segment segments[X86_SEGMENTS];
	struct x86_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
	bool pdptrs_valid; /* of PAE paging, when what the CPU holds is known to differ from memory's */
	uint64_t pdptrs[4];
	uint64_t dr[4], dr6, dr7;
	uint64_t xcr0;
	uint8_t xsave[X86_XSAVE_SIZE]; /* standard format (SDM 1, 13.4); as much of it as the features need, then zeros */
	/* All that software can see and is nowhere else here. One that is not listed has its value of power-on. Ascending. */
	uint32_t msr_count;
	struct x86_msr msrs[X86_MSRS_MAX];
	struct x86_events events;
	/* The local APIC's registers as in memory-mapped form (SDM 3, table 10-1), its id in x2APIC form in x2APIC mode. */
	uint8_t lapic[X86_LAPIC_SIZE];
	uint8_t power; /* enum x86_power */
	uint64_t tsc;  /* while the machine's clock stands: what the counter reads then */
	uint32_t tsc_khz; /* its rate; 0: the host's */
	struct x86_cpuid cpuid; /* what the guest sees */

	struct cpu cpu; /* its number, sleeping and waking; the type is x86_cpu_type */
	struct x86_platform *platform;
	struct engine_vcpu *engine_vcpu; /* the engine's own; NULL without one */
	const struct x86_cpu_hooks *engine;
};

extern const struct state_descriptor x86_cpu_state;
extern const struct cpu_type x86_cpu_type;
static inline struct x86_cpu *x86_cpu_of(struct cpu *cpu)
{
	return cpu_holder(cpu);
}

/* The next of the platform's CPUs, after x86_cpu_reset; sees the platform's CPUID, with its own number. NULL when there is no
 * memory. x86_cpu_free accepts NULL. */
struct x86_cpu *x86_cpu_new(struct x86_platform *platform);
void x86_cpu_free(struct x86_cpu *cpu);

/*
 * Everything as after power-on (SDM 3, 10.1.4): real mode, RIP 0xfff0 in a segment at 0xffff0000, CPU 0 running and others
 * waiting for it. Two things are as the firmware of a PC leaves them, since none runs: memory is cached (MTRRs on, write-back by
 * default), and the first CPU takes the interrupts of the 8259 pair at LINT0, NMI at LINT1.
 * A kind of board then sets where and how CPU 0 begins.
 */
void x86_cpu_reset(struct x86_cpu *cpu);
/* Programmer error when the list is full. */
void x86_cpu_set_msr(struct x86_cpu *cpu, uint32_t index, uint64_t value);
/* False: it is not listed. */
bool x86_cpu_get_msr(const struct x86_cpu *cpu, uint32_t index, uint64_t *value);

/* For modes of entry, before RIP and registers are set. Segments are flat, their selectors 0x10 (code) and 0x18 (data) of a
 * table that the board lays out if its protocol wants one; TR is a busy TSS at 0. */
/* Protected mode without paging. */
void x86_cpu_enter_protected(struct x86_cpu *cpu);
/* 64-bit mode, with page tables at the physical address `cr3`. */
void x86_cpu_enter_long(struct x86_cpu *cpu, uint64_t cr3);

/* For engines that tell what they could not go on from, once: lines of registers into the log, whatever a guest has filled it with. */
void x86_cpu_log(const struct x86_cpu *cpu);

#define X86_MSR_TSC          0x10u
#define X86_MSR_APIC_BASE    0x1bu
#define X86_MSR_TSC_ADJUST   0x3bu
#define X86_MSR_MTRR_DEFAULT 0x2ffu
#define X86_MSR_TSC_DEADLINE 0x6e0u
#define X86_MSR_EFER         0xc0000080u

#endif
