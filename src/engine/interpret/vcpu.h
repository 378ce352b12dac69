/*
 * The interpreter's own structures: predecoded blocks, software TLB, one vCPU.
 *
 * A block is a run of instructions within one 4 KiB page of physical memory, decoded once and kept by physical
 * address. Before a block runs after a fence.i its source bytes are compared with those it was made
 * from, so that changed code is noticed to the byte, whoever wrote it, and unchanged code costs no decoding.
 * The architecture asks for no more: code written without a fence.i may be executed stale (Unprivileged 3).
 *
 * The TLB holds host addresses of pages that need no further check, tagged with a small number for the
 * translation context (satp, effective privilege, SUM, MXR): a change of context flushes nothing.
 *
 * Thread: all of it belongs to the hart's thread, but for `attention` and `stop`.
 */
#ifndef DOPPEL_ENGINE_INTERPRET_VCPU_H
#define DOPPEL_ENGINE_INTERPRET_VCPU_H

#include "base/counter.h"
#include "engine/engine.h"
#include "engine/superpages.h"
#include "riscv/decode.h"
#include "riscv/hart.h"
#include "riscv/mmu.h"

#define PAGE_MASK (~(GUEST_PAGE_SIZE - 1))

/* One predecoded instruction. */
struct op {
	const void *handler; /* label in execute.c */
	int64_t imm;
	uint8_t rd, rs1, rs2, rs3; /* rd is X_SINK for an x0 destination */
	uint8_t rm;
	uint8_t offset; /* from the block's start, in halfwords */
	uint16_t id;    /* enum insn_id */
};

#define BLOCK_OPS_MAX 64
_Static_assert(BLOCK_OPS_MAX * 2 <= UINT8_MAX, "op.offset counts halfwords of four-byte instructions");

struct block {
	uint64_t address;         /* guest-physical, of the first instruction */
	struct block *chain;      /* next in its hash bucket */
	struct block *next[2];    /* successors in the same page: [0] falls through, [1] taken; NULL: not known */
	const uint8_t *source;    /* the guest's bytes */
	const uint8_t *copy;      /* what they were when decoded: `bytes` of them */
	uint32_t generation;      /* of fence.i, in which source and copy were last found equal */
	uint16_t count, bytes;    /* instructions, and their length */
	struct op ops[];          /* count of them and one that ends the block */
};

struct tlb_entry {
	uint64_t tag;    /* virtual page | context; 0 when empty (contexts start at 1) */
	uintptr_t addend; /* host address = addend + virtual address; for fetches see fetch_page */
};

#define TLB_ENTRIES   1024
#define FETCH_ENTRIES 256
#define JUMP_ENTRIES  4096
#define HASH_ENTRIES  16384
#define CONTEXTS      64
#define CONTEXT_IDS   4096 /* they live in the page offset of a tag */

/* Virtual pc to block, for jumps that leave their page and computed ones. */
struct jump_entry {
	uint64_t pc;
	uint64_t key; /* epoch << 12 | fetch context */
	struct block *block;
};

struct context {
	uint64_t satp;
	uint32_t mode; /* privilege and status bits that matter; 0 when empty */
	uint32_t id;
};

struct engine_vcpu {
	struct hart *hart;
	struct memory *memory;

	uint64_t fetch_context, data_context; /* ids now in force */
	uint64_t context_satp;                /* what they are for; context_modes is 0 when they must be made anew */
	uint32_t context_modes;
	uint64_t epoch;                       /* raised when jump entries may be wrong */
	uint32_t generation;                  /* raised by fence.i */
	_Atomic uint32_t attention;           /* look at requests, interrupts and stop */
	_Atomic uint32_t stop;

	/* Between execute and its caller. */
	int64_t given, left;     /* instructions allowed, and not used */
	unsigned charged;        /* used but not retired: instructions that trapped */
	bool exact;              /* stop after exactly `given`, amid a block if need be */
	uint64_t instret_base;   /* hart->instret when execute began */
	uint64_t next_pc;        /* of the instruction behind a system one */
	uint64_t tval;           /* of the exception being raised */

	struct tlb_entry load[TLB_ENTRIES], store[TLB_ENTRIES], fetch[FETCH_ENTRIES];
	struct jump_entry jump[JUMP_ENTRIES];
	struct context contexts[CONTEXTS];
	uint32_t next_context;
	struct superpages superpages;

	struct block *hash[HASH_ENTRIES];
	uint8_t *arena;
	size_t arena_used;
	const void *const *handlers; /* labels of execute, by instruction id; [INSN_IDS] ends a block */
	struct engine_statistics statistics;

	/* A block that is used once: an instruction across two pages, or a block cut short by the limit. */
	_Alignas(8) uint8_t scratch[sizeof(struct block) + (BLOCK_OPS_MAX + 1) * sizeof(struct op)];
	uint8_t scratch_copy[BLOCK_OPS_MAX * 4];
};

static inline void count_cause(struct engine_vcpu *v, enum engine_cause cause)
{
	counter_add(&v->statistics.causes[cause], 1);
}

/* An exception that C takes. */
static inline void count_trap(struct engine_vcpu *v, enum riscv_cause cause)
{
	if (cause >= CAUSE_FETCH_PAGE && cause <= CAUSE_STORE_PAGE)
		count_cause(v, ENGINE_CAUSE_FAULT);
	else
		count_cause(v, cause == CAUSE_ECALL_S && v->hart->cluster->sbi ? ENGINE_CAUSE_SBI : ENGINE_CAUSE_TRAP);
}

/* `mode`: of enum order user, supervisor, supervisor with SUM, machine. */
static inline void count_tlb_miss(struct engine_vcpu *v, unsigned mode)
{
	count_cause(v, ENGINE_CAUSE_TLB);
	counter_add(&v->statistics.tlb_misses[mode], 1);
}

static inline unsigned tlb_index(uint64_t address)
{
	return (address >> GUEST_PAGE_SHIFT) & (TLB_ENTRIES - 1);
}

/* tlb.c */
void tlb_flush_all(struct engine_vcpu *v);
void tlb_flush(struct engine_vcpu *v, bool one_page, uint64_t address, bool one_asid, uint16_t asid);
void tlb_drop_writes(struct engine_vcpu *v);
/* Recomputes the contexts in force from satp, privilege and mstatus. */
void tlb_update_contexts(struct engine_vcpu *v);
/* The accesses that the TLB did not answer: fill it when the page allows. On an exception v->tval is set. */
enum riscv_cause slow_load(struct engine_vcpu *v, uint64_t address, unsigned size, uint64_t *value);
enum riscv_cause slow_store(struct engine_vcpu *v, uint64_t address, unsigned size, uint64_t value);
/* Host and physical address of a naturally aligned atomic or cache-block access. */
enum riscv_cause atomic_target(struct engine_vcpu *v, uint64_t address, unsigned size, enum mmu_access access,
			       void **host, uint64_t *physical);
/* Host address of the page that holds pc and its physical address, or the exception. *host is NULL when the page may not
 * be kept: fetch instruction by instruction. */
enum riscv_cause fetch_page(struct engine_vcpu *v, uint64_t pc, const uint8_t **host, uint64_t *physical);

/* block.c */
/* The block that begins at virtual pc, verified for this generation; NULL with *cause (and v->tval) set when the fetch
 * faults. Valid until the next call of block_at or block_drop_all. */
struct block *block_at(struct engine_vcpu *v, uint64_t pc, enum riscv_cause *cause);
/* As block_at, at most `count` instructions, in the scratch block. */
struct block *block_cut(struct engine_vcpu *v, uint64_t pc, unsigned count, enum riscv_cause *cause);
/* The block at `pc`, which lies in the same page as `from` at `from_pc`. Never faults. */
struct block *block_near(struct engine_vcpu *v, const struct block *from, uint64_t from_pc, uint64_t pc);
void block_drop_all(struct engine_vcpu *v);
/* The same, and gives the memory back to the host, if that is worth it. */
void block_rest(struct engine_vcpu *v);
MUST_USE int block_init(struct engine_vcpu *v, struct error *e);
void block_finish(struct engine_vcpu *v);
/* The raw bits of an instruction of the block, for the trap value. */
uint32_t block_raw(const struct block *block, const struct op *op);

/* float.c: one floating-point instruction that neither loads nor stores; false when its rounding mode is illegal. */
bool float_execute(struct hart *hart, const struct op *op);

/* atomic.c */
enum riscv_cause atomic_execute(struct engine_vcpu *v, const struct op *op);

/* system.c: instructions that touch privileged state. hart->pc is the instruction's, v->next_pc the next one's. */
enum system_result {
	SYSTEM_CONTINUE = CAUSE_NONE,     /* go on behind it */
	SYSTEM_LEAVE = CAUSE_NONE + 1,    /* hart->pc is set: let the engine look around */
	/* less than CAUSE_NONE: the exception to raise */
};
unsigned system_execute(struct engine_vcpu *v, const struct op *op);
/* The operands of an instruction, for the functions here, without a handler. */
struct op op_of(const struct insn *insn);
enum riscv_cause cache_block_execute(struct engine_vcpu *v, const struct op *op);

/* execute.c: runs from hart->pc until v->given instructions are used up, attention is asked for, or privileged state
 * changed. Sets v->left. With v NULL: returns the labels for v->handlers. */
const void *const *execute(struct engine_vcpu *v);

/* interpret.c: the parts that an engine uses which interprets only what it cannot do itself. */
MUST_USE int interpret_init(struct engine_vcpu *v, struct hart *hart, struct error *e);
/* Serves requests, timers and interrupts before guest code runs on. true: an exit is in *out. */
bool interpret_prepare(struct engine_vcpu *v, struct engine_exit *out);
void interpret_take_interrupt(struct engine_vcpu *v);
/* One pass of execute with hart->instret kept; returns the instructions used, those that trapped included. */
int64_t interpret_step(struct engine_vcpu *v, int64_t given, bool exact);

#endif
