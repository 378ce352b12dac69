/*
 * The x86-64 back end: units of the intermediate form become host code.
 *
 * Needs BMI1, BMI2, LZCNT, POPCNT and FMA (x86-64-v3): the engine's probe says so on hosts without.
 *
 * Thread: the owner of the code cache.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_EMIT_H
#define DOPPEL_ENGINE_TRANSLATE_EMIT_H

#include "engine/translate/frame.h"
#include "engine/translate/ir.h"

/* Why generated code came back. hart->pc is exact in every case; frame.budget holds what is left. */
enum emit_exit {
	EMIT_EXIT_LINK,   /* pc has no unit linked yet; frame.link names the place to patch */
	EMIT_EXIT_LOOKUP, /* pc is not in the jump table */
	EMIT_EXIT_BUDGET, /* the next unit has more instructions than may still run */
	EMIT_EXIT_FLOATS, /* the unit at pc needs floats live */
	EMIT_EXIT_ENGINE, /* the engine must do the instruction at pc */
	EMIT_EXIT_TRAP,   /* C changed the state of the hart, and wants to be asked anew */
};
#define EMIT_EXITS (EMIT_EXIT_TRAP + 1)

/* What leads a group, and what is in it. */
enum emit_group { EMIT_LOADS, EMIT_STORES, EMIT_LOAD_BEFORE_STORES, EMIT_GROUPS };

/* Addresses of the code that units share, as they run. emit_runtime makes it once at the start of a cache. */
struct emit_runtime {
	/* unsigned enter(struct hart *hart, const void *code): runs units until one leaves; an enum emit_exit. */
	const void *enter;
	const void *leave_link;   /* edx: the link taken */
	const void *leave_for[EMIT_EXITS]; /* by why: all but links, traps; edx: address in the page */
	const void *lookup;       /* rax: virtual pc, which has no jump entry in its place; goes there */
	const void *jump;         /* rax: virtual pc; goes there, through the jump table */
	/* State is in memory; for C to return to. */
	const void *leave_trap, *leave_engine;
	/* By mode, and whether it is a store; rax: address; edx: access, as below. Returns with rax as it was, and in rcx what
	 * to add to it for the host address. */
	const void *slow_access[FRAME_MODES][2];
	/* The same for the leader of a group, by mode and enum emit_group. rax: the group's lowest address; edx: access, of the
	 * leader; ecx: from there to the leader, and in bits 16 to 31 to the group's last byte. Returns with ZF and rcx as
	 * above, or without ZF: the group lies in two pages, or does not allow what its members want. */
	const void *slow_group[FRAME_MODES][EMIT_GROUPS];
	/* By mode, and whether it is for stores; rax: lowest address, edx: bytes from there to the highest, at most in the next
	 * page. Returns in rcx and rdx what to add to addresses of the two pages; 0 and 1: they can not be had. */
	const void *two_pages[FRAME_MODES][2];
	const void *call_c;       /* edx: instruction; ecx: address in the page | instructions behind << 16 */
	/* emit_system.c; edx: address in the page, of the instruction or (SUM) of the next one. */
	const void *user_call, *supervisor_return, *sum_on, *sum_off;
	const void *pure;         /* rcx: function; rax, rdx: operands; the result in rax */
	bool alone;               /* no other hart: atomic operations need no lock. The owner's to set; false after emit_runtime */
};

#define EMIT_ACCESS_STORE   (1u << 16)
#define EMIT_ACCESS_ALIGNED (1u << 17) /* an exception unless naturally aligned */
#define EMIT_ACCESS_REFUND  18         /* from this bit on: instructions to give back if it does not happen */

/* The C functions that generated code calls. */
struct emit_callbacks {
	/* A TLB miss. `access`: bits 0 to 11 the instruction's place in the page, 12 to 15 the size, and what is defined
	 * above. NULL: the TLB has it now. Else where to go on, with pc and budget set, all registers loaded from the hart
	 * and no return expected. */
	const void *(*slow_access)(struct hart *hart, uint64_t address, uint32_t access);
	/* Has the TLB have the address's page, if it can; nothing else happens. False: it has not. */
	bool (*probe)(struct hart *hart, uint64_t address, bool store);
	/* Does one instruction. `place`: bits 0 to 15 its place in the page, from 16 how many of the unit's
	 * instructions come behind it. NULL, not for IR_SYSTEM: go on behind it; else as above. */
	const void *(*call_c)(struct hart *hart, uint32_t word, uint32_t place);
	/* Code for hart->pc, which is not in the jump table. NULL: leave for it. */
	const void *(*lookup)(struct hart *hart);
};

enum emit_kind {
	EMIT_SAME,
	EMIT_PLAIN,    /* its accesses are not grouped */
	EMIT_APART,    /* those of tables may be to two pages that lie apart */
	EMIT_NO_TABLES /* those of tables are not grouped */
};

/* A place in the code where a jump to another unit of the same page can be put. */
struct emit_link {
	uint8_t *place;   /* for x64_patch, in the writer's view */
	int32_t to;       /* address in the page */
	uint8_t to_kind;  /* enum emit_kind: of the unit that it leads to */
};

#define EMIT_LINKS_MAX (UNIT_OPS * 3 + IR_GROUPS + 2)

struct emit_result {
	struct emit_link links[EMIT_LINKS_MAX];
	unsigned link_count;
	const void *invalid; /* where the entry jumps when the unit must not run any more */
};

void emit_runtime(struct x64 *a, struct emit_runtime *out, const struct emit_callbacks *callbacks);

/* Emits `unit` for `mode`; links are numbered from `first_link`. Look at a->overflow after. */
void emit_unit(struct x64 *a, const struct ir_unit *unit, enum frame_mode mode, const struct emit_runtime *runtime,
	       uint32_t first_link, struct emit_result *out);

/* The first instruction of a unit, this many bytes, may be replaced by a jump at any time. */
#define EMIT_ENTRY_BYTES 7

#endif
