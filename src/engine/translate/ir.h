/*
 * The intermediate form: what a front end makes of a stretch of guest code, and a back end makes host code of.
 *
 * A unit is a run of operations with one way in, at its start; branches may lead to operations within it (`inside`). Its values are the guest's general registers ("globals",
 * numbered; global 0 may be declared a constant zero by the front end using IR_ZERO instead), floating-point globals,
 * and constants. There are no temporaries: an operation that needs several steps is one operation here, or
 * several that use a scratch global of the front end's choice.
 *
 * Every operation carries where its guest instruction lies (`at`, bytes from the page's start) and how many
 * instructions of the unit come before it (`before`), so that leaving in the middle is precise: guest state is then
 * as if exactly `before` instructions had been executed.
 *
 * Addresses of code are bytes from the start of the 4 KiB page that the unit lies in (they may be negative or
 * beyond it), so that a unit runs wherever its page is mapped.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_IR_H
#define DOPPEL_ENGINE_TRANSLATE_IR_H

#include <stdbool.h>
#include <stdint.h>

#define IR_GLOBALS 32
#define IR_CONST   0xff /* as operand b: the immediate instead of a global */
#define IR_PAGE    0xfd /* as the base of an access: the page's start */
#define IR_ZERO    0xfe /* as an operand: zero; as a destination: nothing is kept */

enum ir_op {
	/* dst = ... ; size 8, or 4: computed in 32 bits and sign-extended */
	IR_SET,  /* imm */
	IR_HERE, /* the guest address imm bytes from the page's start */
	IR_ADD, IR_SUB, IR_AND, IR_OR, IR_XOR, IR_ANDN, IR_ORN, IR_XNOR, /* a op b; the last three with ~b */
	IR_SHL, IR_SHR, IR_SAR, IR_ROL, IR_ROR,
	IR_LESS, IR_LESS_UNSIGNED, /* a < b ? 1 : 0 */
	IR_MIN, IR_MIN_UNSIGNED, IR_MAX, IR_MAX_UNSIGNED,
	IR_IF_ZERO, IR_IF_NOT_ZERO, /* b == 0 (!= 0) ? 0 : a */
	IR_MUL, IR_MUL_HIGH, IR_MUL_HIGH_UNSIGNED,
	IR_DIV, IR_DIV_UNSIGNED, IR_REM, IR_REM_UNSIGNED,
	IR_SHIFT_ADD,          /* (a << imm) + b; size 4: a is zero-extended from 32 bits first, b and the sum are 64 */
	IR_SIGN_EXTEND, IR_ZERO_EXTEND, /* the low `size` bytes of a */
	IR_COUNT_LEADING, IR_COUNT_TRAILING, IR_COUNT_ONES, /* zeros or ones of the low `size` bytes of a */
	IR_SWAP_BYTES,
	IR_PURE, /* function(a, b) in C, without side effects */

	/* memory: size 1, 2, 4, 8; is_signed for loads */
	IR_LOAD,  /* dst = [a + imm] */
	IR_STORE, /* [a + imm] = b */
	IR_FLOAT_LOAD, IR_FLOAT_STORE, /* float global dst / b */
	IR_FENCE, /* imm: loads behind it wait for stores before it; else every other order is asked for */
	/* atomic, naturally aligned, size 4 or 8, at [a]; dst = what was there, sign-extended */
	IR_ATOMIC_SWAP, IR_ATOMIC_ADD, IR_ATOMIC_AND, IR_ATOMIC_OR, IR_ATOMIC_XOR, /* with b */
	IR_LOAD_RESERVED, IR_STORE_CONDITIONAL, /* dst = 0 when b was stored, else 1 */

	/* floats: size 8 or 4, globals of the float file; rounding as the guest's dynamic mode says */
	IR_FLOAT_ADD, IR_FLOAT_SUB, IR_FLOAT_MUL, IR_FLOAT_DIV, IR_FLOAT_SQRT,
	IR_FLOAT_FMA, /* dst = a * b + c; imm: bit 0 negates the product, bit 1 the addend */
	IR_FLOAT_SIGN, /* dst = a with the sign of b: imm 0 copied, 1 inverted, 2 xor */
	IR_FLOAT_MIN, IR_FLOAT_MAX, /* the number where one is a NaN; -0 is less than 0 */
	IR_FLOAT_EQUAL, IR_FLOAT_LESS, IR_FLOAT_LESS_EQUAL, /* general dst */
	IR_FLOAT_TO_BITS, IR_BITS_TO_FLOAT,
	IR_FLOAT_FROM_INT,    /* from the integer (is_signed) of imm bytes (4, 8) in general a, rounded as c says */
	IR_FLOAT_TO_INT,      /* general dst = integer of imm bytes, a word sign-extended, rounded as c says: enum
			       * ir_rounding; IR_TO_ZERO unless is_signed */
	IR_FLOAT_CLASS,       /* general dst = the bit of a's class: as fclass of RISC-V counts them */
	IR_FLAGS_READ,        /* general dst = the accrued float flags */
	IR_FLAGS_WRITE,       /* the float flags = general a */
	IR_ROUNDING_READ,     /* general dst = the dynamic rounding mode */
	IR_FLOAT_WIDEN, IR_FLOAT_NARROW, /* 4 to 8, 8 to 4 */

	/* control */
	IR_BRANCH, /* if a cond b: leave to imm; else go on */
	/* Jumps: the address of `next` goes into dst, after the target was computed. */
	IR_JUMP,   /* leave to imm */
	IR_CALL,   /* the same, expecting a return to `next` */
	IR_JUMP_TO, IR_CALL_TO, IR_RETURN_TO, /* leave to the address (a + imm) & ~1 */
	IR_CALL_C,  /* run this one instruction by the engine's C code, then go on behind it */
	IR_SYSTEM,  /* the same, but the engine says where to go on */
	IR_LEAVE,   /* leave before this instruction, which the engine does as it likes */
};

enum ir_rounding { IR_TO_NEAREST, IR_TO_ZERO, IR_DOWN, IR_UP, IR_DYNAMIC = 7 };

/* What IR_FLOAT_CLASS gives for most numbers. */
enum ir_float_class {
	IR_CLASS_MINUS_NORMAL = 1 << 1, IR_CLASS_MINUS_ZERO = 1 << 3, IR_CLASS_ZERO = 1 << 4, IR_CLASS_NORMAL = 1 << 6
};

enum ir_condition { IR_EQ, IR_NE, IR_LT, IR_GE, IR_LTU, IR_GEU };

struct ir {
	uint8_t op;   /* enum ir_op */
	uint8_t size; /* bytes */
	uint8_t dst, a, b, c;
	uint8_t condition; /* enum ir_condition */
	bool is_signed; /* of loads and conversions */
	uint16_t inside; /* of a branch or jump: 1 + the operation of this unit that it leads to, or 0 */
	bool label;      /* an operation of this unit leads here */
	uint16_t late;   /* 1 + the operation that overwrites the result unread: done off the hot path only; or 0 */
	uint16_t narrow; /* the same of its upper half: the operation may leave anything there */
	bool is_word;    /* the result is known to be a sign-extended word */
	bool quiet;      /* a comparison or conversion between reading the float flags and writing them back: it raises
			  * nothing, or goes on in another unit; and such writing, which then changes nothing */
	uint8_t group;   /* of accesses with one check (optimize.h); 0: none */
	bool leads;      /* its group: the others come behind it */
	bool stores;     /* its group has stores, which the leader's check allows */
	bool walks;      /* its group runs in a loop that moves it by constants: the page of the last time will mostly do */
	bool stays;      /* it walks, and the base stays where it is: what leads to the page holds until the base is written */
	bool table;      /* its group may lie in two pages, side by side in the host's memory */
	bool apart;      /* or anywhere: the address says in which page it is */
	uint8_t aligned; /* of a leader of such a group: its lowest address must be a multiple of this */
	uint16_t low;    /* from the lowest byte that the group accesses to this access */
	bool ranged;     /* its group has members that lie somewhere in the span: their own registers say where */
	uint8_t from;    /* of a leader: the group's lowest byte lies from_low bytes from this global */
	int32_t from_low;
	uint16_t span;   /* of a leader: bytes from the group's lowest to its highest */
	uint16_t at;     /* of the guest instruction, in its page */
	uint16_t before; /* instructions of the unit before this one */
	int32_t next;    /* address of the instruction behind, for calls and for going on */
	int64_t imm;
	union {
		uint64_t (*function)(uint64_t a, uint64_t b); /* IR_PURE */
		uint32_t word; /* IR_CALL_C, and floats for their rare cases: the instruction */
	};
};

#define UNIT_OPS 160
#define IR_GROUPS 16 /* in a unit */

struct ir_unit {
	struct ir ops[UNIT_OPS];
	unsigned count;
	unsigned instructions; /* guest instructions in all */
	uint16_t at, bytes;    /* where in the page, and how long */
	uint16_t tail, tail_bytes; /* the same of what it goes on with behind its last jump; no bytes: nothing */
	bool floats;           /* has operations on floats: they need IR's float state */
	/* What optimize found, so that nobody looks for what is not there; false in a unit that it has not seen. */
	bool inside;  /* branches or jumps to operations of the unit */
	bool loops;   /* some of them back */
	bool grouped; /* accesses in groups */
	int32_t straddles;     /* where in the page code lies that goes on in the next one, which may be another each time: no
				* jump is linked to it; -1: nowhere */
};

/* What an operation does with globals, by kind. */
enum {
	IR_READS_A = 1,
	IR_READS_B = 2,
	IR_WRITES = 4,
	/* It may be left out or done late: it needs rax and rdx at most. The second: if operand b is a constant. */
	IR_MAY_WAIT = 8,
	IR_MAY_WAIT_CONST = 16,
	/* The low word of the result follows from the low words of the operands alone, which are all that is read: always, if
	 * it is of four bytes, if it is narrow. */
	IR_OF_WORDS = 32,
	IR_OF_WORDS_4 = 64,
	IR_OF_WORDS_NARROW = 128,
};
extern const uint8_t ir_traits[UINT8_MAX + 1];

/* Whether the operation's result goes to general global `dst`. */
static inline bool ir_writes_global(const struct ir *ir)
{
	return ir->dst < IR_GLOBALS && (ir_traits[ir->op] & IR_WRITES);
}

/* Whether operands a and b are general globals. */
static inline bool ir_reads_a(const struct ir *ir)
{
	return ir->a < IR_GLOBALS && (ir_traits[ir->op] & IR_READS_A);
}

static inline bool ir_reads_b(const struct ir *ir)
{
	return ir->b < IR_GLOBALS && (ir_traits[ir->op] & IR_READS_B);
}

#endif
