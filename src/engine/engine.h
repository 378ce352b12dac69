/*
 * The contract between a machine and whatever executes its vCPUs.
 *
 * An engine executes vCPUs of one guest architecture; memory, bus, devices, boards, snapshots and migration are
 * the same code whichever engine runs. Between two calls of `run` (after store_state, where an engine has it) the whole
 * architectural state of the vCPU is in architecture terms (struct hart for RISC-V, struct x86_cpu for x86-64), so that a
 * guest saved under one engine resumes under another.
 *
 * Thread: each vCPU has one thread, which calls run; kick may come from any thread; everything else from the owner while
 * no run is under way.
 */
#ifndef DOPPEL_ENGINE_ENGINE_H
#define DOPPEL_ENGINE_ENGINE_H

#include "base/error.h"
#include "base/types.h"

enum engine_arch { ENGINE_RISCV64, ENGINE_X86_64 };

enum engine_exit_reason {
	ENGINE_EXIT_KICKED,  /* someone asked: look at why, then run again */
	ENGINE_EXIT_LIMIT,   /* the instruction limit was reached, exactly */
	ENGINE_EXIT_IDLE,    /* the vCPU waits for an interrupt; sleep until `deadline` or a kick */
	ENGINE_EXIT_STOPPED, /* the vCPU is switched off (HSM); sleep until a kick */
	ENGINE_EXIT_FAILED,  /* the engine cannot go on; `message` tells why */
};

struct engine_exit {
	enum engine_exit_reason reason;
	uint64_t deadline; /* ENGINE_EXIT_IDLE: guest clock ticks, UINT64_MAX for none */
	char message[160];
};

/* Why guest code was left, for the monitor's own code at least: what engine_causes names. */
enum engine_cause {
	ENGINE_CAUSE_SLICE,     /* a slice of instructions is used up, or someone wants attention: a look around */
	ENGINE_CAUSE_INTERRUPT, /* the guest takes one */
	ENGINE_CAUSE_FAULT,     /* a page fault of the guest's */
	ENGINE_CAUSE_TRAP,      /* another exception of the guest's that is not taken in generated code */
	ENGINE_CAUSE_SBI,       /* a call of the firmware */
	ENGINE_CAUSE_SYSTEM,    /* an instruction on privileged state */
	ENGINE_CAUSE_TLB,       /* a walk of the page tables */
	ENGINE_CAUSE_LOOKUP,    /* translated code is looked up */
	ENGINE_CAUSE_LINK,      /* a jump between units is taken for the first time */
	ENGINE_CAUSE_FLOAT,     /* the host's float unit changes hands */
	ENGINE_CAUSE_EMULATE,   /* the interpreter does what is not translated: device accesses, rare states */
	ENGINE_CAUSE_PORT,      /* an access to a port of x86 that a device of the monitor's answers */
	ENGINE_CAUSE_MMIO,      /* another access to a device of the monitor's, where the engine counts them apart */
	ENGINE_CAUSE_IDLE,      /* it waits for an interrupt */
	ENGINE_CAUSE_KICK,      /* the monitor wants it out */
	ENGINE_CAUSES,
};

/* Modes that have a TLB of their own: user, supervisor, supervisor with leave to access user pages (SUM), machine. */
#define ENGINE_MODES 4

/* Counted since the vCPU was made (base/counter.h): read while it runs, the values are a moment old. All of it is
 * uint64_t. */
struct engine_statistics {
	uint64_t instructions, blocks_built, exits, exceptions;
	uint64_t causes[ENGINE_CAUSES];
	uint64_t tlb_misses[ENGINE_MODES];
	/* What the vCPUs of a cluster share, so the same for each: bytes of translated code and of room for it, units and
	 * pages of guest code there, and how often a piece of the room was used anew. 0 for engines without. */
	uint64_t code_used, code_size, code_units, code_pages, code_recycled;
};

/* What probe found: whether the engine can run here, and how well, in one line for a person. */
struct engine_report {
	bool usable;
	bool preferred; /* sensible as a default on this host */
	char summary[200];
	char remedy[200]; /* empty when nothing is lacking */
};

struct engine_vcpu; /* each engine's own */
struct cpu;
struct x86_engine; /* x86/platform.h */

struct engine {
	const char *name; /* "interpret" */
	const char *help;
	enum engine_arch arch;
	/* Memory that it may come to use: bytes a vCPU, and times the cluster's code_cache. */
	uint64_t vcpu_bytes;
	unsigned cache_copies;
	/* Tells the truth by measuring; never fails. */
	void (*probe)(struct engine_report *report);
	/* The same without measuring, for who wants this engine and no other: `preferred` says nothing. NULL: probe is quick. */
	void (*look)(struct engine_report *report);
	/* Of engines for x86-64: what else it does for a board of that architecture. NULL otherwise. */
	const struct x86_engine *x86;
	/* A vCPU that executes `cpu`, of the engine's architecture, which stays the caller's and must outlive it. What the
	 * vCPUs of a cluster share is made with the first, by the cluster's code_cache, and goes with the last. */
	int (*vcpu_new)(struct engine_vcpu **vcpu, struct cpu *cpu, struct error *e);
	void (*vcpu_free)(struct engine_vcpu *vcpu);
	/* Executes guest code until an exit, at most `limit` instructions, those that trap included (0: no limit). */
	void (*run)(struct engine_vcpu *vcpu, uint64_t limit, struct engine_exit *out);
	/* Any thread: a run under way, or the next one, returns ENGINE_EXIT_KICKED soon. Sticky until it has. */
	void (*stop)(struct engine_vcpu *vcpu);
	/* After dirty tracking was started or collected, while the vCPU does not run: no cached right to write
	 * without marking survives. */
	void (*drop_write_access)(struct engine_vcpu *vcpu);
	/* For engines that keep architectural state elsewhere between two runs: brings the cpu's up to date. NULL: it always
	 * is. */
	int (*store_state)(struct engine_vcpu *vcpu, struct error *e);
	/* Architectural state was loaded from outside: takes it, and no cached translation or decoded code survives. Fails
	 * when the host refuses the state. */
	int (*state_loaded)(struct engine_vcpu *vcpu, struct error *e);
	/* On the vCPU's thread, while it does not run: it has had little to do for long. What it can make again, such as
	 * decoded and translated code, leaves memory. NULL: there is none. */
	void (*rest)(struct engine_vcpu *vcpu);
	void (*statistics)(const struct engine_vcpu *vcpu, struct engine_statistics *out);
};

/* All engines in this build, best first, ends with NULL. engine/engines.c */
extern const struct engine *const engines[];
/* "interrupt", and what that means, by enum engine_cause. engine/engines.c */
extern const struct engine_cause_name {
	const char *name, *help;
} engine_causes[ENGINE_CAUSES];
/* "user", ... by mode of the TLB. */
extern const char *const engine_modes[ENGINE_MODES];
/* "riscv64", "x86_64" */
const char *engine_arch_name(enum engine_arch arch);
/* By name, or NULL. */
const struct engine *engine_find(const char *name);
/* Whether it can run here at all, without measuring how well. */
void engine_look(const struct engine *engine, struct engine_report *report);
/* The first preferred usable engine for `arch`, or NULL. */
const struct engine *engine_default(enum engine_arch arch);
/* The first usable one for `arch`, preferred or not, or NULL; *report is its report, or that of the last one asked. */
const struct engine *engine_usable(enum engine_arch arch, struct engine_report *report);

#endif
