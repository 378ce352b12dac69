/*
 * What a board of x86-64 needs of the engine that runs its CPUs: the interrupt controllers and the timer, which the host's
 * kernel emulates with them, and the ways past the vCPU's thread.
 *
 * The board makes the platform when its RAM is there, before any device; then the cpus (cpu.h), whose `platform` this is.
 * Thread: the owner while no vCPU runs, unless said otherwise.
 */
#ifndef DOPPEL_X86_PLATFORM_H
#define DOPPEL_X86_PLATFORM_H

#include "base/clock.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "bus/msi.h"
#include "bus/power.h"
#include "memory/memory.h"
#include "state/state.h"

#define X86_LINES 24 /* inputs of the IOAPIC: global system interrupts 0 to 23 */

struct x86_platform_config {
	struct memory *memory;   /* complete; gets a tracker */
	struct bus *bus, *ports; /* MMIO and port accesses go there; `bus` gets doorbells */
	struct clock *clock;
	struct power_sink power;
	unsigned cpus;
};

/* The engine's own struct starts with this. */
struct x86_platform {
	struct memory *memory;
	struct bus *bus, *ports;
	struct clock *clock;
	struct power_sink power;
	struct irq_line lines[X86_LINES]; /* any thread may drive them */
	const struct msi_controller *msi;
	/* State of the controllers and of what else all CPUs share (IOAPIC, PICs, PIT, clock): a section of the board's. */
	const struct state_descriptor *state;
	void *state_object;
};

struct x86_engine {
	MUST_USE int (*platform_new)(struct x86_platform **out, const struct x86_platform_config *config,
				     struct error *e);
	/* When its vCPUs are gone; accepts NULL. */
	void (*platform_free)(struct x86_platform *platform);
	/* Everything of the state object as after power-on. */
	void (*platform_reset)(struct x86_platform *platform);
	/* Brings the state object up to date, and takes what was loaded into it. The host may refuse it. */
	MUST_USE int (*platform_store)(struct x86_platform *platform, struct error *e);
	MUST_USE int (*platform_loaded)(struct x86_platform *platform, struct error *e);
};

#endif
