/*
 * The architectural state of one RISC-V hart (RV64GC, M/S/U), and what the architecture needs of its surroundings.
 *
 * A hart knows no engine: whichever engine runs it, every bit that the specification calls state is in this
 * struct whenever the engine is not running it (after engine run returns).
 *
 * Thread: all plain fields belong to the thread that runs the hart. The `_Atomic` ones may be changed by any
 * thread, followed by hart_kick: interrupt lines, remote requests and the HSM state.
 *
 * Specifications: RISC-V Unprivileged 20191213 and later ratified extensions; RISC-V Privileged 20211203.
 */
#ifndef DOPPEL_RISCV_HART_H
#define DOPPEL_RISCV_HART_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/types.h"
#include "bus/bus.h"
#include "bus/cpu.h"
#include "bus/power.h"
#include "memory/memory.h"
#include "state/state.h"

#define RISCV_HARTS_MAX 32
#define RISCV_PMP_ENTRIES 16

enum riscv_privilege { PRIV_U = 0, PRIV_S = 1, PRIV_M = 3 };

/* Interrupt numbers (Privileged 3.1.9); the bit in mip and mie is 1 << number. */
enum riscv_interrupt { IRQ_SSI = 1, IRQ_MSI = 3, IRQ_STI = 5, IRQ_MTI = 7, IRQ_SEI = 9, IRQ_MEI = 11 };
#define IRQ_BIT(n) (UINT64_C(1) << (n))

/* Exception causes (Privileged, table 3.6). */
enum riscv_cause {
	CAUSE_FETCH_MISALIGNED = 0,
	CAUSE_FETCH_ACCESS = 1,
	CAUSE_ILLEGAL = 2,
	CAUSE_BREAKPOINT = 3,
	CAUSE_LOAD_MISALIGNED = 4,
	CAUSE_LOAD_ACCESS = 5,
	CAUSE_STORE_MISALIGNED = 6,
	CAUSE_STORE_ACCESS = 7,
	CAUSE_ECALL_U = 8,
	CAUSE_ECALL_S = 9,
	CAUSE_ECALL_M = 11,
	CAUSE_FETCH_PAGE = 12,
	CAUSE_LOAD_PAGE = 13,
	CAUSE_STORE_PAGE = 15,
	CAUSE_NONE = 64, /* not an architectural cause: "no exception" as a return value */
};
#define CAUSE_INTERRUPT (UINT64_C(1) << 63)

/* mstatus fields (Privileged 3.1.6). */
#define MSTATUS_SIE  (UINT64_C(1) << 1)
#define MSTATUS_MIE  (UINT64_C(1) << 3)
#define MSTATUS_SPIE (UINT64_C(1) << 5)
#define MSTATUS_MPIE (UINT64_C(1) << 7)
#define MSTATUS_SPP  (UINT64_C(1) << 8)
#define MSTATUS_MPP  (UINT64_C(3) << 11)
#define MSTATUS_FS   (UINT64_C(3) << 13)
#define MSTATUS_MPRV (UINT64_C(1) << 17)
#define MSTATUS_SUM  (UINT64_C(1) << 18)
#define MSTATUS_MXR  (UINT64_C(1) << 19)
#define MSTATUS_TVM  (UINT64_C(1) << 20)
#define MSTATUS_TW   (UINT64_C(1) << 21)
#define MSTATUS_TSR  (UINT64_C(1) << 22)
#define MSTATUS_UXL  (UINT64_C(3) << 32)
#define MSTATUS_SXL  (UINT64_C(3) << 34)
#define MSTATUS_SD   (UINT64_C(1) << 63)

/* menvcfg and senvcfg fields. */
#define ENVCFG_FIOM  (UINT64_C(1) << 0)
#define ENVCFG_CBIE  (UINT64_C(3) << 4)
#define ENVCFG_CBCFE (UINT64_C(1) << 6)
#define ENVCFG_CBZE  (UINT64_C(1) << 7)
#define ENVCFG_ADUE  (UINT64_C(1) << 61)
#define ENVCFG_PBMTE (UINT64_C(1) << 62)
#define ENVCFG_STCE  (UINT64_C(1) << 63)

/* HSM states (SBI 2.0, 9): the order is that of the specification. */
enum hart_power { HART_STARTED, HART_STOPPED, HART_START_PENDING, HART_STOP_PENDING, HART_SUSPENDED };

/* Work that another thread (or the hart's own CSR writes) asks of the engine, a bit each in hart.requests. */
enum hart_request {
	HART_REQUEST_FENCE_I = 1 << 0, /* drop or revalidate cached translations of code */
	HART_REQUEST_FLUSH_TLB = 1 << 1, /* drop every cached address translation */
	HART_REQUEST_START = 1 << 2,   /* HSM start: begin at start_pc with a0 = id, a1 = start_opaque */
};

struct hart;

/* What an engine does for the architecture code, called on the hart's own thread unless said otherwise. */
struct hart_engine_ops {
	/* Any thread: make a running hart look at requests, interrupts and stop flags soon (microseconds). */
	void (*kick)(struct hart *hart);
	/* Drop cached translations of `address`'s page (all pages when !one_page) in address space `asid` (all
	 * of them when !one_asid). May drop more. sfence.vma, satp, PMP changes. */
	void (*flush_tlb)(struct hart *hart, bool one_page, gva_t address, bool one_asid, uint16_t asid);
	/* Code may have changed: what was decoded before is checked before it runs again. fence.i */
	void (*fence_i)(struct hart *hart);
};

struct sbi; /* riscv/sbi.h */

/* What all harts of a machine share. Set up by the board, constant while a hart runs. */
struct hart_cluster {
	struct memory *memory;
	struct bus *bus;
	struct clock *clock;
	struct power_sink power;
	struct sbi *sbi; /* NULL: a guest firmware owns M-mode */
	struct hart *harts[RISCV_HARTS_MAX];
	unsigned count;
	uint64_t reset_pc; /* where a started hart begins after reset */
	uint64_t code_cache; /* bytes that the engine may use for translated code; 0: what it likes */
	/* NULL, or told by engines, on the hart's thread, each time they look around: where the hart is and how many
	 * instructions it executed since. Set while no hart runs. */
	void (*sample)(void *opaque, const struct hart *hart, uint64_t instructions);
	void *sample_opaque;
	void *engine_shared; /* the engine's own, for all harts that it has a vCPU of */
};

#define X_SINK 32 /* x[X_SINK] receives results meant for x0 */

struct hart {
	/* Hot: what an engine touches on every instruction. */
	uint64_t x[33]; /* x[0] is always 0; x[X_SINK] is scratch */
	uint64_t f[32]; /* NaN-boxed when narrower */
	uint64_t pc;
	uint64_t instret; /* instructions retired since reset; minstret and mcycle are this plus an offset */
	uint8_t priv;     /* enum riscv_privilege */
	bool waiting;     /* in WFI: pc is past it already */

	/* Load reservation (Unprivileged 8.2): valid, the physical address and size, and the value read; all 0 when there
	 * is none (hart_end_reservation). */
	bool reserved;
	uint8_t reserved_size;
	uint64_t reserved_address, reserved_value;

	uint8_t fflags, frm;

	/* Machine-level CSRs. */
	uint64_t mstatus, medeleg, mideleg, mie, mtvec, mscratch, mepc, mcause, mtval, menvcfg;
	uint32_t mcounteren;
	uint64_t mcycle_offset, minstret_offset;
	uint8_t pmpcfg[RISCV_PMP_ENTRIES];
	uint64_t pmpaddr[RISCV_PMP_ENTRIES];

	/* Supervisor-level CSRs (sstatus, sie and sip are views of the machine ones). */
	uint64_t stvec, sscratch, sepc, scause, stval, satp, senvcfg, stimecmp;
	uint32_t scounteren;

	/* Asynchronous: any thread, then hart_kick. */
	_Atomic uint64_t mip;       /* software-writable pending bits, and timer bits */
	_Atomic uint64_t mip_lines; /* bits driven by interrupt controllers: MSI, MTI, SEI, MEI */
	_Atomic uint64_t mtimecmp;  /* ACLINT; UINT64_MAX: never */
	_Atomic uint32_t requests;  /* enum hart_request */
	_Atomic uint32_t power;     /* enum hart_power */
	/* Of HART_REQUEST_START, written before the bit is set; or where a suspended hart resumes (sbi_resume). */
	uint64_t start_pc, start_opaque;
	/* True from before the engine looks at `requests` on its way into guest code until it has left it (see
	 * hart_remote_fence). */
	_Atomic bool in_guest;

	_Atomic bool serving; /* requests were taken off the word and are being acted on */

	struct cpu cpu; /* its number, sleeping and waking; the type is hart_cpu_type */
	struct hart_cluster *cluster;
	const struct hart_engine_ops *engine;
	struct engine_vcpu *engine_vcpu; /* the engine's own; NULL without one */
	bool has_engine_area;            /* made by hart_new */
	/* Derived, kept by riscv/: PMP has an active entry, so physical accesses must be checked. */
	bool pmp_active;
	/* SBI's own per-hart state: steal-time area, PMU, suspended resume address. */
	uint64_t sbi_sta_address;
	uint32_t sbi_pmu_started; /* a bit a counter */
};

extern const struct state_descriptor hart_state;
extern const struct cpu_type hart_cpu_type;
static inline struct hart *hart_of(struct cpu *cpu)
{
	return cpu_holder(cpu);
}

/*
 * A hart on the heap, after hart_init, with memory behind it that its engine may use as it likes: zeroed, page by
 * page on first touch, never saved. NULL when there is no memory. hart_free accepts NULL.
 */
struct hart *hart_new(struct hart_cluster *cluster, uint32_t id);
void hart_free(struct hart *hart);
#define HART_ENGINE_AREA_AT   ((sizeof(struct hart) + 4095) & ~(size_t)4095)
#define HART_ENGINE_AREA_SIZE ((size_t)512 * 1024)
static inline void *hart_engine_area(struct hart *hart)
{
	return (char *)hart + HART_ENGINE_AREA_AT;
}

/* Everything as after power-on (Privileged 3.4): M-mode, pc = cluster reset_pc, MMU and interrupts off. */
void hart_init(struct hart *hart, struct hart_cluster *cluster, uint32_t id);
void hart_reset(struct hart *hart);
/* Recomputes derived fields after state was loaded from outside. */
void hart_loaded(struct hart *hart);

/* Any thread. Drives one of the lines of mip (MSI, MTI, SEI, MEI) and kicks the hart when it rose. */
void hart_set_line(struct hart *hart, enum riscv_interrupt line, bool level);
/* Any thread: sets or clears software-writable pending bits (SSI by an IPI) and kicks when they were set. */
void hart_set_pending(struct hart *hart, uint64_t bits, bool level);
/* Any thread: the hart looks at requests, interrupts and its engine's stop flag soon, asleep or running. */
static inline void hart_kick(struct hart *hart)
{
	cpu_kick(&hart->cpu);
}
/* Posts `request` bits to every other hart whose id's bit is in `mask` and waits until each has acted on them or is
 * outside guest code (it will act before it enters it again). Own requests are served while it waits.
 * Called on `self`'s thread, from inside run. */
void hart_remote_fence(struct hart *self, uint32_t mask, uint32_t requests);
/* Acts on and clears `requests` of the own hart: called by an engine before guest code and at kicks. */
void hart_serve_requests(struct hart *hart);

/* mip as software reads it: lines and software bits together. */
static inline uint64_t hart_mip(const struct hart *hart)
{
	return atomic_load_explicit(&hart->mip, memory_order_relaxed) |
	       atomic_load_explicit(&hart->mip_lines, memory_order_relaxed);
}
/* The interrupt to take now, or -1: enabled, not masked by mode and delegation, in the order MEI, MSI, MTI, SEI,
 * SSI, STI (Privileged 3.1.9). */
int hart_pending_interrupt(const struct hart *hart);
/* Whether WFI must not wait: any interrupt pending that is enabled in mie, regardless of global enables. */
static inline bool hart_wake(const struct hart *hart)
{
	return (hart_mip(hart) & hart->mie) != 0;
}
/* Sets MTI and STI from mtimecmp and stimecmp and returns the next deadline in ticks that is still
 * ahead (UINT64_MAX: none). */
uint64_t hart_update_timers(struct hart *hart, uint64_t now);

/* Takes a trap (Privileged 3.1.7, 3.1.8, 4.1): pc becomes the handler's. `cause` may carry CAUSE_INTERRUPT. hart->pc is the
 * pc of the trapping instruction. An ecall from S-mode goes to the SBI when the cluster has one. */
void hart_trap(struct hart *hart, uint64_t cause, uint64_t tval);
/* mret and sret; the caller has checked that they are legal now: CAUSE_NONE or CAUSE_ILLEGAL. */
enum riscv_cause hart_mret(struct hart *hart);
enum riscv_cause hart_sret(struct hart *hart);

static inline void hart_sample(const struct hart *hart, uint64_t instructions)
{
	if (__builtin_expect(hart->cluster->sample != NULL, 0))
		hart->cluster->sample(hart->cluster->sample_opaque, hart, instructions);
}

static inline void hart_end_reservation(struct hart *hart)
{
	hart->reserved = false;
	hart->reserved_size = 0;
	hart->reserved_address = hart->reserved_value = 0;
}

static inline bool hart_fp_off(const struct hart *hart)
{
	return (hart->mstatus & MSTATUS_FS) == 0;
}

#endif
