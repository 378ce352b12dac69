/*
 * What a board of x86-64 needs of the engine that runs its CPUs: the interrupt controllers and the timer, which the host's
 * kernel emulates with them, and the ways past the vCPU's thread.
 *
 * The board makes the platform when its RAM is there, before any device; then the cpus (cpu.h), whose `platform` this is. At a
 * reset it calls platform_reset, x86_cpu_reset and its own boot state for each CPU, then platform_loaded; the machine calls the
 * engine's state_loaded for each. At a save platform_store comes first; at a load platform_loaded last.
 *
 * Hardware that this gives: local APICs at 0xfee00000 (x2APIC too), an IOAPIC of X86_LINES inputs at 0xfec00000, whose id is 0,
 * 8259s at ports 0x20, 0x21, 0xa0, 0xa1 with 0x4d0 and 0x4d1, an 8254 at 0x40 to 0x43 and 0x61. Line n is input n of the IOAPIC,
 * for n < 16 also of the 8259s; the 8254 drives input 0 (so no override of source 0 in the MADT). 12 KiB of guest-physical
 * addresses from X86_HOST_PAGES are the host's own (reserve them in the memory map).
 *
 * The paravirtual clock and time stamp counters stand while the machine's clock (base/clock.h) does: the platform listens to it.
 *
 * Thread: the owner while no vCPU runs, unless said otherwise.
 */
#ifndef DOPPEL_X86_PLATFORM_H
#define DOPPEL_X86_PLATFORM_H

#include "base/clock.h"
#include "bus/bus.h"
#include "bus/cpu.h"
#include "bus/irq.h"
#include "bus/msi.h"
#include "bus/power.h"
#include "memory/memory.h"
#include "state/state.h"
#include "x86/chips.h"
#include "x86/cpu.h"

#define X86_IOAPIC_BASE     UINT64_C(0xfec00000)
#define X86_LAPIC_BASE      UINT64_C(0xfee00000)
#define X86_HOST_PAGES      UINT64_C(0xfeffc000) /* 4 pages, on hosts whose real mode needs them */
#define X86_HOST_PAGES_SIZE UINT64_C(0x4000)

/* What a host has and is not to be used, for tests; and a ring is to be used where it would not be. */
enum x86_without {
	X86_WITHOUT_DIRTY_RING = 1,
	X86_WITHOUT_MANUAL_PROTECT = 2,
	X86_WITHOUT_TSC_OFFSET = 4,
	X86_WITH_DIRTY_RING = 8,
};

struct x86_platform_config {
	struct memory *memory;   /* complete; gets a tracker */
	struct bus *bus, *ports; /* MMIO and port accesses go there; `bus` gets doorbells */
	struct clock *clock;     /* gets a listener */
	struct power_sink power;
	uint16_t output_port; /* writes of a byte there may come a moment late, if before all other accesses; 0: none */
	unsigned cpus;
	const char *cpu_model; /* as x86_model_parse takes; NULL: host */
	unsigned without;      /* enum x86_without */
};

/* The engine's own struct starts with this. */
struct x86_platform {
	struct memory *memory;
	struct bus *bus, *ports;
	struct clock *clock;
	struct power_sink power;
	struct irq_line lines[X86_LINES]; /* any thread may drive them */
	const struct msi_controller *msi;
	/* A section of the board's: chips is up to date after platform_store. */
	struct x86_chips chips;
	struct x86_cpuid cpuid; /* of every CPU but for its number */
	uint32_t tsc_khz;       /* 0: unknown */
	struct x86_cpu *cpus[CPUS_MAX]; /* as x86_cpu_new made them */
	unsigned cpu_count, cpus_most;
};

struct x86_engine {
	/* -EOPNOTSUPP with a list when the host can not give the model; a host's errno with what lacks. */
	MUST_USE int (*platform_new)(struct x86_platform **out, const struct x86_platform_config *config,
				     struct error *e);
	/* When its vCPUs and cpus are gone; accepts NULL. */
	void (*platform_free)(struct x86_platform *platform);
	/* Chips as after power-on, the paravirtual clock at 0. */
	void (*platform_reset)(struct x86_platform *platform);
	/* Brings chips up to date, and takes what was loaded into it. The host may refuse it. */
	MUST_USE int (*platform_store)(struct x86_platform *platform, struct error *e);
	MUST_USE int (*platform_loaded)(struct x86_platform *platform, struct error *e);
};

#endif
