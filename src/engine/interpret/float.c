/*
 * Floating-point instructions: registers in and out of riscv/float.h's functions, boxed and unboxed.
 */
#include "riscv/float.h"

#include "engine/interpret/vcpu.h"
#include "riscv/decode.h"

/* What one instruction works on: `rm` is resolved. */
struct operation {
	struct hart *hart;
	const struct op *op;
	unsigned rm;
	unsigned flags;
};

typedef void float_function(struct operation *o);

#define float_unbox64(v) (v)
#define float_box64(v)   (v)
#define SIGN16 UINT16_C(0x8000)
#define SIGN32 UINT32_C(0x80000000)
#define SIGN64 UINT64_C(0x8000000000000000)
#define F(bits, n) float_unbox##bits(o->hart->f[o->op->n])
#define X(n)       o->hart->x[o->op->n]

/* One definition per instruction and width; `out` is the f or x register that receives the value. */
#define TO_F(id, bits, value)                                                                                  \
	static void do_##id(struct operation *o)                                                           \
	{                                                                                                  \
		o->hart->f[o->op->rd] = float_box##bits(value);                                            \
	}
#define TO_X(id, value)                                                                                        \
	static void do_##id(struct operation *o)                                                           \
	{                                                                                                  \
		X(rd) = (uint64_t)(value);                                                                 \
	}

#define ARITHMETIC(S, b, T)                                                                                    \
	TO_F(FADD_##S, b, float##b##_add(F(b, rs1), F(b, rs2), o->rm, &o->flags))                          \
	TO_F(FSUB_##S, b, float##b##_sub(F(b, rs1), F(b, rs2), o->rm, &o->flags))                          \
	TO_F(FMUL_##S, b, float##b##_mul(F(b, rs1), F(b, rs2), o->rm, &o->flags))                          \
	TO_F(FDIV_##S, b, float##b##_div(F(b, rs1), F(b, rs2), o->rm, &o->flags))                          \
	TO_F(FSQRT_##S, b, float##b##_sqrt(F(b, rs1), o->rm, &o->flags))                                   \
	TO_F(FMADD_##S, b, float##b##_fma(F(b, rs1), F(b, rs2), F(b, rs3), o->rm, &o->flags))              \
	TO_F(FMSUB_##S, b, float##b##_fma(F(b, rs1), F(b, rs2), F(b, rs3) ^ SIGN##b, o->rm, &o->flags))    \
	TO_F(FNMSUB_##S, b, float##b##_fma(F(b, rs1) ^ SIGN##b, F(b, rs2), F(b, rs3), o->rm, &o->flags))   \
	TO_F(FNMADD_##S, b,                                                                                \
	     float##b##_fma(F(b, rs1) ^ SIGN##b, F(b, rs2), F(b, rs3) ^ SIGN##b, o->rm, &o->flags))        \
	TO_F(FSGNJ_##S, b, (T)((F(b, rs1) & ~SIGN##b) | (F(b, rs2) & SIGN##b)))                            \
	TO_F(FSGNJN_##S, b, (T)((F(b, rs1) & ~SIGN##b) | (~F(b, rs2) & SIGN##b)))                          \
	TO_F(FSGNJX_##S, b, (T)(F(b, rs1) ^ (F(b, rs2) & SIGN##b)))                                        \
	TO_F(FMIN_##S, b, float##b##_min(F(b, rs1), F(b, rs2), &o->flags))                                 \
	TO_F(FMAX_##S, b, float##b##_max(F(b, rs1), F(b, rs2), &o->flags))                                 \
	TO_X(FLE_##S, float##b##_le(F(b, rs1), F(b, rs2), &o->flags))                                      \
	TO_X(FLT_##S, float##b##_lt(F(b, rs1), F(b, rs2), &o->flags))                                      \
	TO_X(FEQ_##S, float##b##_eq(F(b, rs1), F(b, rs2), &o->flags))                                      \
	TO_X(FCLASS_##S, float##b##_class(F(b, rs1)))                                                      \
	TO_X(FCVT_W_##S, (int64_t)float##b##_to_i32(F(b, rs1), o->rm, &o->flags))                          \
	TO_X(FCVT_WU_##S, (int64_t)(int32_t)float##b##_to_u32(F(b, rs1), o->rm, &o->flags))                \
	TO_X(FCVT_L_##S, float##b##_to_i64(F(b, rs1), o->rm, &o->flags))                                   \
	TO_X(FCVT_LU_##S, float##b##_to_u64(F(b, rs1), o->rm, &o->flags))                                  \
	TO_F(FCVT_##S##_W, b, float##b##_from_i32((int32_t)X(rs1), o->rm, &o->flags))                      \
	TO_F(FCVT_##S##_WU, b, float##b##_from_u32((uint32_t)X(rs1), o->rm, &o->flags))                    \
	TO_F(FCVT_##S##_L, b, float##b##_from_i64((int64_t)X(rs1), o->rm, &o->flags))                      \
	TO_F(FCVT_##S##_LU, b, float##b##_from_u64(X(rs1), o->rm, &o->flags))

ARITHMETIC(H, 16, uint16_t)
ARITHMETIC(S, 32, uint32_t)
ARITHMETIC(D, 64, uint64_t)

TO_F(FCVT_S_D, 32, float64_to_32(F(64, rs1), o->rm, &o->flags))
TO_F(FCVT_S_H, 32, float16_to_32(F(16, rs1), o->rm, &o->flags))
TO_F(FCVT_D_S, 64, float32_to_64(F(32, rs1), o->rm, &o->flags))
TO_F(FCVT_D_H, 64, float16_to_64(F(16, rs1), o->rm, &o->flags))
TO_F(FCVT_H_S, 16, float32_to_16(F(32, rs1), o->rm, &o->flags))
TO_F(FCVT_H_D, 16, float64_to_16(F(64, rs1), o->rm, &o->flags))
/* Moves carry bits as they are, boxed or not. */
TO_X(FMV_X_H, (int64_t)(int16_t)o->hart->f[o->op->rs1])
TO_X(FMV_X_W, (int64_t)(int32_t)o->hart->f[o->op->rs1])
TO_X(FMV_X_D, o->hart->f[o->op->rs1])
TO_F(FMV_H_X, 16, (uint16_t)X(rs1))
TO_F(FMV_W_X, 32, (uint32_t)X(rs1))
TO_F(FMV_D_X, 64, X(rs1))

static float_function *const functions[INSN_IDS] = {
#define INSN(...)
#define INSN_VIA(group, id, ...) FUNCTION_##group(id)
#define FUNCTION_float(id)       [INSN_##id] = do_##id,
#define FUNCTION_atomic(id)
#define FUNCTION_system(id)
#define FUNCTION_cache_block(id)
#include "riscv/insn.def"
};

bool float_execute(struct hart *hart, const struct op *op)
{
	/* The accrued flags go in, which lets the host path skip what is known already. */
	struct operation o = {.hart = hart, .op = op, .rm = op->rm, .flags = hart->fflags};

	if (o.rm == FLOAT_DYN)
		o.rm = hart->frm;
	if (unlikely(o.rm > FLOAT_RMM) && insn_format_rounds(insn_table[op->id].format))
		return false;
	functions[op->id](&o);
	hart->fflags = (uint8_t)o.flags;
	hart->mstatus |= MSTATUS_FS;
	return true;
}
