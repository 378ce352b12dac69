/*
 * The host's float unit in the guest's service: while floats are live MXCSR rounds as the guest's frm says and collects
 * its flags, and generated code keeps guest floats in host registers.
 */
#if defined(__x86_64__)
#include <xmmintrin.h>

#include "engine/translate/translator.h"
#include "riscv/float.h"

#define MXCSR_DEFAULT 0x1f80u

/* MXCSR.RC by frm: nearest even, toward zero, down, up. Nearest with ties away the host does not have. */
static const uint32_t rounding[] = {0u << 13, 3u << 13, 1u << 13, 2u << 13};

/* MXCSR's sticky flags, from bit 0: invalid, denormal (which RISC-V has not), zero divide, overflow, underflow, precision. */
static const uint8_t flags[] = {FLOAT_NV, 0, FLOAT_DZ, FLOAT_OF, FLOAT_UF, FLOAT_NX};

void floats_init(struct frame *frame)
{
	for (unsigned mxcsr = 0; mxcsr < ARRAY_SIZE(frame->flags_of_mxcsr); mxcsr++)
		for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
			if (mxcsr >> i & 1)
				frame->flags_of_mxcsr[mxcsr] |= flags[i];
	frame->box[0] = UINT64_C(0xffffffff00000000);
	frame->sign64[0] = UINT64_C(1) << 63;
	frame->sign32[0] = UINT64_C(1) << 31;
}

bool floats_begin(struct translator *t)
{
	struct hart *hart = t->interpreter.hart;

	if (hart_fp_off(hart) || hart->frm >= ARRAY_SIZE(rounding))
		return false;
	hart->mstatus |= MSTATUS_FS;
	_mm_setcsr(MXCSR_DEFAULT | rounding[hart->frm]);
	t->frame->floats_live = 1;
	return true;
}

void floats_end(struct translator *t)
{
	if (!t->frame->floats_live)
		return;
	t->interpreter.hart->fflags |= t->frame->flags_of_mxcsr[_mm_getcsr() & 63];
	_mm_setcsr(MXCSR_DEFAULT);
	t->frame->floats_live = 0;
}
#endif
