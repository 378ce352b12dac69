/*
 * A bare hart under any engine of the table, for fragments (protocol.h) and for small Linux-like programs.
 *
 * The hart has RAM, no device and no interrupt. Every exception of the code under test goes to machine mode, where
 * a wfi ends the run; mcause, mepc and mtval then say what happened.
 *
 * Thread: one.
 */
#ifndef ISA_MACHINE_H
#define ISA_MACHINE_H

#include "base/error.h"
#include "engine/engine.h"
#include "protocol.h"
#include "riscv/hart.h"

enum isa_mode {
	ISA_MACHINE, /* M-mode, physical addresses */
	ISA_USER,    /* U-mode, physical addresses */
	ISA_PAGED,   /* U-mode behind Sv39, neighbouring pages far apart in physical memory */
	ISA_MODES,
};

extern const char *const isa_mode_names[ISA_MODES];

struct isa_machine {
	struct memory memory;
	struct bus bus;
	struct clock clock;
	struct hart_cluster cluster;
	struct hart *hart;
	const struct engine *engine;
	struct engine_vcpu *vcpu;
	uint64_t trap; /* physical address of the trap handler */
	uint64_t instructions; /* executed by all runs together */
};

/* A machine with `size` bytes of RAM at `base` (both page aligned), and one more page behind for the trap handler. */
MUST_USE int isa_machine_init(struct isa_machine *m, const struct engine *engine, uint64_t base, uint64_t size,
			      struct error *e);
void isa_machine_finish(struct isa_machine *m);

/* Sets the hart up to run at `pc` in `priv`, floating point on, all memory allowed, x and f zero. */
void isa_machine_reset(struct isa_machine *m, uint8_t priv, uint64_t pc);
/* Tells the engine that hart or memory were changed from outside. */
void isa_machine_changed(struct isa_machine *m);
/* Runs until an exception of the code under test, which is returned (enum isa_ending), or ISA_RAN_ON. */
enum isa_ending isa_machine_run(struct isa_machine *m, uint64_t limit);

/* Fragments: the machine must have been made by isa_fragment_init. */
MUST_USE int isa_fragment_init(struct isa_machine *m, const struct engine *engine, struct error *e);
/* `data` (ISA_DATA_SIZE bytes) is the data before and after. */
void isa_fragment_run(struct isa_machine *m, enum isa_mode mode, const struct isa_start *start, const void *code,
		      uint8_t *data, struct isa_end *end);

#endif
