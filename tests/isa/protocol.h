/*
 * A fragment of user-level code, where it runs, and what it leaves behind: shared by the harness on the host and by
 * oracle.c, which runs the same fragment as a Linux program under qemu-riscv64.
 *
 * A fragment starts at ISA_CODE with the given registers and goes on until it raises an exception; ebreak is the
 * usual end. Code beyond `code_bytes` is filled with c.ebreak. On the wire: struct isa_start, code_bytes of code,
 * ISA_DATA_SIZE bytes of data; and back: struct isa_end and the data. Both sides are little-endian.
 */
#ifndef ISA_PROTOCOL_H
#define ISA_PROTOCOL_H

#include <stdint.h>

#define ISA_CODE      UINT64_C(0x134400000)
#define ISA_CODE_SIZE 0x20000u
#define ISA_DATA      UINT64_C(0x134500000)
#define ISA_DATA_SIZE 0x4000u
#define ISA_EBREAK    0x9002u /* c.ebreak */

struct isa_state {
	uint64_t x[32];
	uint64_t f[32];
	uint64_t pc;
	uint64_t fcsr;
};

struct isa_start {
	struct isa_state state;
	uint64_t code_bytes;
};

/* How a fragment ended. Loads and stores are one kind: a Linux signal does not tell them apart. */
enum isa_ending {
	ISA_BREAKPOINT = 1,
	ISA_ILLEGAL,
	ISA_MISALIGNED,
	ISA_FAULT,
	ISA_SYSTEM_CALL, /* under an engine only */
	ISA_RAN_ON,      /* did not end within the instruction limit */
	ISA_ODD,         /* ended in a way that user code has no means for */
};

struct isa_end {
	struct isa_state state;
	uint64_t ending;  /* enum isa_ending */
	uint64_t address; /* of ISA_MISALIGNED and ISA_FAULT: where */
};

#endif
