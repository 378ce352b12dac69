#include <assert.h>
#include <string.h>

#include "engine/translate/x64.h"
#include "engine/translate/x64_emit.h"

enum { JMP8 = 0xeb, JMP32 = 0xe9, CALL32 = 0xe8, JCC8 = 0x70, JCC32 = 0x80, SEGMENT_CS = 0x2e };

/* The distance from behind an instruction of `length` bytes at the current place. */
static int64_t distance_to(const struct x64 *a, const void *target, size_t length)
{
	return (int64_t)((uintptr_t)target - (uintptr_t)x64_here(a) - length);
}

/* Opcodes of branches, by bytes from the lowest. */
#define OPCODE_JCC32(cc) (0x0fu | (JCC32 | (unsigned int)(cc)) << 8)

/* An opcode of `count` bytes, at most two, and a displacement of `size`. */
static inline void put_branch(struct x64 *a, unsigned int opcode, size_t count, int32_t distance, size_t size)
{
	uint8_t bytes[6];

	if (x64_has_room(a)) {
		memcpy(a->at, &opcode, 2);
		memcpy(a->at + count, &distance, 4);
		a->at += count + size;
	} else {
		memcpy(bytes, &opcode, 2);
		memcpy(bytes + count, &distance, 4);
		x64_emit_bytes(a, bytes, count + size);
	}
}

/* The same with the distance to the target; false when that is out of reach. */
static inline bool near_branch(struct x64 *a, unsigned int opcode, size_t count, const void *target)
{
	int64_t distance = distance_to(a, target, count + 4);

	if (!x64_fits_i32(distance))
		return false;
	put_branch(a, opcode, count, (int32_t)distance, 4);
	return true;
}

/* `head`, which ends in a branch through the 8 bytes behind it, and the target there. */
static void far_branch(struct x64 *a, const uint8_t *head, size_t count, const void *target)
{
	uint8_t bytes[16];

	memcpy(bytes, head, count);
	memcpy(bytes + count, &target, 8);
	x64_emit_bytes(a, bytes, count + 8);
}

void x64_jmp_rel32(struct x64 *a, const void *target)
{
	/* jmp [rip] */
	static const uint8_t far_jump[] = {0xff, 0x25, 0, 0, 0, 0};

	if (!near_branch(a, JMP32, 1, target))
		far_branch(a, far_jump, sizeof(far_jump), target);
}

void x64_jcc_rel32(struct x64 *a, enum x64_cc cc, const void *target)
{
	/* j!cc over the rest; jmp [rip] */
	const uint8_t far_jump[] = {(uint8_t)(JCC8 | x64_cc_negate(cc)), 14, 0xff, 0x25, 0, 0, 0, 0};

	if (!near_branch(a, OPCODE_JCC32(cc), 2, target))
		far_branch(a, far_jump, sizeof(far_jump), target);
}

void x64_call_rel32(struct x64 *a, const void *target)
{
	/* call [rip + 2]; jmp over the address */
	static const uint8_t far_call[] = {0xff, 0x15, 2, 0, 0, 0, JMP8, 8};

	if (!near_branch(a, CALL32, 1, target))
		far_branch(a, far_call, sizeof(far_call), target);
}

/* The group of opcode ff, SDM 2, table A-6. */
enum { INDIRECT_CALL = 2, INDIRECT_JMP = 4 };

static const struct x64_op indirect = {.bits = 0xff};

void x64_jmp_r(struct x64 *a, enum x64_reg reg)
{
	x64_emit_rr(a, indirect, INDIRECT_JMP, reg);
}

void x64_jmp_m(struct x64 *a, struct x64_mem mem)
{
	x64_emit_rm(a, indirect, INDIRECT_JMP, mem);
}

void x64_call_r(struct x64 *a, enum x64_reg reg)
{
	x64_emit_rr(a, indirect, INDIRECT_CALL, reg);
}

void x64_call_m(struct x64 *a, struct x64_mem mem)
{
	x64_emit_rm(a, indirect, INDIRECT_CALL, mem);
}

void x64_ret(struct x64 *a)
{
	x64_emit_bytes(a, (const uint8_t[]){0xc3}, 1);
}

/* An opcode of `count` bytes and a displacement of `size` zero bytes, whose place is the result. */
static inline uint8_t *branch(struct x64 *a, unsigned int opcode, size_t count, size_t size)
{
	put_branch(a, opcode, count, 0, size);
	return a->overflow ? a->at : a->at - size;
}

uint8_t *x64_jmp_forward(struct x64 *a)
{
	return branch(a, JMP32, 1, 4);
}

uint8_t *x64_jcc_forward(struct x64 *a, enum x64_cc cc)
{
	return branch(a, OPCODE_JCC32(cc), 2, 4);
}

void x64_patch_here(struct x64 *a, uint8_t *place)
{
	ptrdiff_t distance = a->at - (place + 4);

	if (a->overflow)
		return;
	assert(x64_fits_i32(distance));
	memcpy(place, &distance, 4);
}

uint8_t *x64_jmp_forward8(struct x64 *a)
{
	return branch(a, JMP8, 1, 1);
}

uint8_t *x64_jcc_forward8(struct x64 *a, enum x64_cc cc)
{
	return branch(a, JCC8 | (unsigned int)cc, 1, 1);
}

void x64_patch_here8(struct x64 *a, uint8_t *place)
{
	ptrdiff_t distance = a->at - (place + 1);

	if (a->overflow)
		return;
	assert(x64_fits_i8(distance));
	*place = (uint8_t)distance;
}

/* A store is atomic for the fetching of instructions, too, where it stays in one cache line; aligned it does. Prefixes of a
 * segment, which mean nothing to a jump, fill the gap at no cost. */
static uint8_t *patchable(struct x64 *a, unsigned int opcode, size_t count)
{
	static const uint8_t prefixes[4] = {SEGMENT_CS, SEGMENT_CS, SEGMENT_CS};
	size_t gap = -((uintptr_t)a->at + count) & 3;

	if (x64_has_room(a)) {
		memcpy(a->at, prefixes, sizeof prefixes);
		a->at += gap;
	} else {
		x64_emit_bytes(a, prefixes, gap);
	}
	return branch(a, opcode, count, 4);
}

uint8_t *x64_jmp_patchable(struct x64 *a)
{
	return patchable(a, JMP32, 1);
}

uint8_t *x64_jcc_patchable(struct x64 *a, enum x64_cc cc)
{
	return patchable(a, OPCODE_JCC32(cc), 2);
}

uint8_t *x64_call_patchable(struct x64 *a)
{
	return patchable(a, CALL32, 1);
}

static int32_t *displacement(const uint8_t *place)
{
	assert((uintptr_t)place % 4 == 0);
	return (int32_t *)(uintptr_t)place;
}

void x64_patch(uint8_t *place, const uint8_t *target)
{
	int64_t distance = (int64_t)((uintptr_t)target - (uintptr_t)place - 4);

	assert(x64_fits_i32(distance));
	__atomic_store_n(displacement(place), (int32_t)distance, __ATOMIC_RELEASE);
}

const uint8_t *x64_patched(const uint8_t *place)
{
	return place + 4 + __atomic_load_n(displacement(place), __ATOMIC_RELAXED);
}

void x64_int3(struct x64 *a)
{
	x64_emit_bytes(a, (const uint8_t[]){0xcc}, 1);
}

/* SDM 2, NOP: the recommended sequences of one to nine bytes. */
void x64_nop(struct x64 *a, size_t count)
{
	enum { LONGEST = 9 };
	static const uint8_t nops[LONGEST][LONGEST] = {
		{0x90},
		{0x66, 0x90},
		{0x0f, 0x1f, 0x00},
		{0x0f, 0x1f, 0x40},
		{0x0f, 0x1f, 0x44},
		{0x66, 0x0f, 0x1f, 0x44},
		{0x0f, 0x1f, 0x80},
		{0x0f, 0x1f, 0x84},
		{0x66, 0x0f, 0x1f, 0x84},
	};

	while (count > 0 && !a->overflow) {
		size_t part = count < LONGEST ? count : LONGEST;

		x64_emit_bytes(a, nops[part - 1], part);
		count -= part;
	}
}

void x64_align(struct x64 *a, size_t alignment)
{
	assert(alignment && (alignment & (alignment - 1)) == 0);
	x64_nop(a, -(uintptr_t)x64_here(a) & (alignment - 1));
}
