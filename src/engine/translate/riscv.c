/*
 * The RISC-V front end: guest instructions become operations of the intermediate form.
 *
 * What an instruction means is one row of a table wherever one operation says it; the pure instructions without an
 * operation of their own become calls of the functions that riscv/semantics.def defines, so that no instruction is
 * without a translation. Everything privileged is left to the engine.
 */
#include "engine/translate/riscv.h"

#include <string.h>

#include "riscv/csr.h"
#include "riscv/float.h"
#include "riscv/semantics.h"

/* The pure instructions as C functions, from the one place that defines them. */
#define PURE_R(id, expression)                                                                                 \
	static uint64_t pure_##id(uint64_t a, uint64_t b)                                                  \
	{                                                                                                  \
		return (uint64_t)(expression);                                                             \
	}
#define PURE_R1(id, expression)                                                                                \
	static uint64_t pure_##id(uint64_t a, uint64_t b)                                                  \
	{                                                                                                  \
		(void)b;                                                                                   \
		return (uint64_t)(expression);                                                             \
	}
#define PURE_I(id, expression) PURE_R(id, expression)
#include "riscv/semantics.def"
#undef PURE_R
#undef PURE_R1
#undef PURE_I

static uint64_t (*const pure[INSN_IDS])(uint64_t a, uint64_t b) = {
#define PURE_R(id, expression)  [INSN_##id] = pure_##id,
#define PURE_R1(id, expression) [INSN_##id] = pure_##id,
#define PURE_I(id, expression)  [INSN_##id] = pure_##id,
#include "riscv/semantics.def"
};

/* Instructions that are one operation: operands follow from the instruction's format. */
struct row {
	uint8_t op, size, extra; /* extra: condition, is_signed, or the operation's imm, with UNSIGNED of conversions */
	bool known;
};

#define UNSIGNED 0x80

#define ROW(op_, size_, extra_) {.op = (op_), .size = (size_), .extra = (extra_), .known = true}

static const struct row rows[INSN_IDS] = {
	[INSN_ADD] = ROW(IR_ADD, 8, 0),          [INSN_SUB] = ROW(IR_SUB, 8, 0),
	[INSN_SLL] = ROW(IR_SHL, 8, 0),          [INSN_SLT] = ROW(IR_LESS, 8, 0),
	[INSN_SLTU] = ROW(IR_LESS_UNSIGNED, 8, 0), [INSN_XOR] = ROW(IR_XOR, 8, 0),
	[INSN_SRL] = ROW(IR_SHR, 8, 0),          [INSN_SRA] = ROW(IR_SAR, 8, 0),
	[INSN_OR] = ROW(IR_OR, 8, 0),            [INSN_AND] = ROW(IR_AND, 8, 0),
	[INSN_ADDW] = ROW(IR_ADD, 4, 0),         [INSN_SUBW] = ROW(IR_SUB, 4, 0),
	[INSN_SLLW] = ROW(IR_SHL, 4, 0),         [INSN_SRLW] = ROW(IR_SHR, 4, 0),
	[INSN_SRAW] = ROW(IR_SAR, 4, 0),
	[INSN_ADDI] = ROW(IR_ADD, 8, 0),         [INSN_SLTI] = ROW(IR_LESS, 8, 0),
	[INSN_SLTIU] = ROW(IR_LESS_UNSIGNED, 8, 0), [INSN_XORI] = ROW(IR_XOR, 8, 0),
	[INSN_ORI] = ROW(IR_OR, 8, 0),           [INSN_ANDI] = ROW(IR_AND, 8, 0),
	[INSN_SLLI] = ROW(IR_SHL, 8, 0),         [INSN_SRLI] = ROW(IR_SHR, 8, 0),
	[INSN_SRAI] = ROW(IR_SAR, 8, 0),         [INSN_ADDIW] = ROW(IR_ADD, 4, 0),
	[INSN_SLLIW] = ROW(IR_SHL, 4, 0),        [INSN_SRLIW] = ROW(IR_SHR, 4, 0),
	[INSN_SRAIW] = ROW(IR_SAR, 4, 0),
	[INSN_MUL] = ROW(IR_MUL, 8, 0),          [INSN_MULW] = ROW(IR_MUL, 4, 0),
	[INSN_MULH] = ROW(IR_MUL_HIGH, 8, 0),    [INSN_MULHU] = ROW(IR_MUL_HIGH_UNSIGNED, 8, 0),
	[INSN_DIV] = ROW(IR_DIV, 8, 0),          [INSN_DIVU] = ROW(IR_DIV_UNSIGNED, 8, 0),
	[INSN_REM] = ROW(IR_REM, 8, 0),          [INSN_REMU] = ROW(IR_REM_UNSIGNED, 8, 0),
	[INSN_DIVW] = ROW(IR_DIV, 4, 0),         [INSN_DIVUW] = ROW(IR_DIV_UNSIGNED, 4, 0),
	[INSN_REMW] = ROW(IR_REM, 4, 0),         [INSN_REMUW] = ROW(IR_REM_UNSIGNED, 4, 0),
	[INSN_ANDN] = ROW(IR_ANDN, 8, 0),        [INSN_ORN] = ROW(IR_ORN, 8, 0),
	[INSN_XNOR] = ROW(IR_XNOR, 8, 0),
	[INSN_SEXT_B] = ROW(IR_SIGN_EXTEND, 1, 0), [INSN_SEXT_H] = ROW(IR_SIGN_EXTEND, 2, 0),
	[INSN_ZEXT_H] = ROW(IR_ZERO_EXTEND, 2, 0),
	[INSN_MIN] = ROW(IR_MIN, 8, 0),          [INSN_MINU] = ROW(IR_MIN_UNSIGNED, 8, 0),
	[INSN_MAX] = ROW(IR_MAX, 8, 0),          [INSN_MAXU] = ROW(IR_MAX_UNSIGNED, 8, 0),
	[INSN_ROL] = ROW(IR_ROL, 8, 0),          [INSN_ROR] = ROW(IR_ROR, 8, 0),
	[INSN_RORI] = ROW(IR_ROR, 8, 0),         [INSN_ROLW] = ROW(IR_ROL, 4, 0),
	[INSN_RORW] = ROW(IR_ROR, 4, 0),         [INSN_RORIW] = ROW(IR_ROR, 4, 0),
	[INSN_CLZ] = ROW(IR_COUNT_LEADING, 8, 0), [INSN_CLZW] = ROW(IR_COUNT_LEADING, 4, 0),
	[INSN_CTZ] = ROW(IR_COUNT_TRAILING, 8, 0), [INSN_CTZW] = ROW(IR_COUNT_TRAILING, 4, 0),
	[INSN_CPOP] = ROW(IR_COUNT_ONES, 8, 0),  [INSN_CPOPW] = ROW(IR_COUNT_ONES, 4, 0),
	[INSN_REV8] = ROW(IR_SWAP_BYTES, 8, 0),
	[INSN_CZERO_EQZ] = ROW(IR_IF_ZERO, 8, 0), [INSN_CZERO_NEZ] = ROW(IR_IF_NOT_ZERO, 8, 0),
	[INSN_SH1ADD] = ROW(IR_SHIFT_ADD, 8, 1), [INSN_SH2ADD] = ROW(IR_SHIFT_ADD, 8, 2),
	[INSN_SH3ADD] = ROW(IR_SHIFT_ADD, 8, 3), [INSN_ADD_UW] = ROW(IR_SHIFT_ADD, 4, 0),
	[INSN_SH1ADD_UW] = ROW(IR_SHIFT_ADD, 4, 1), [INSN_SH2ADD_UW] = ROW(IR_SHIFT_ADD, 4, 2),
	[INSN_SH3ADD_UW] = ROW(IR_SHIFT_ADD, 4, 3),

	[INSN_LB] = ROW(IR_LOAD, 1, true),       [INSN_LBU] = ROW(IR_LOAD, 1, false),
	[INSN_LH] = ROW(IR_LOAD, 2, true),       [INSN_LHU] = ROW(IR_LOAD, 2, false),
	[INSN_LW] = ROW(IR_LOAD, 4, true),       [INSN_LWU] = ROW(IR_LOAD, 4, false),
	[INSN_LD] = ROW(IR_LOAD, 8, true),
	[INSN_SB] = ROW(IR_STORE, 1, 0),         [INSN_SH] = ROW(IR_STORE, 2, 0),
	[INSN_SW] = ROW(IR_STORE, 4, 0),         [INSN_SD] = ROW(IR_STORE, 8, 0),
	[INSN_FLW] = ROW(IR_FLOAT_LOAD, 4, 0),   [INSN_FLD] = ROW(IR_FLOAT_LOAD, 8, 0),
	[INSN_FSW] = ROW(IR_FLOAT_STORE, 4, 0),  [INSN_FSD] = ROW(IR_FLOAT_STORE, 8, 0),
	[INSN_FENCE] = ROW(IR_FENCE, 8, 0),

	[INSN_AMOSWAP_W] = ROW(IR_ATOMIC_SWAP, 4, 0),
	[INSN_AMOADD_W] = ROW(IR_ATOMIC_ADD, 4, 0),
	[INSN_AMOAND_W] = ROW(IR_ATOMIC_AND, 4, 0),
	[INSN_AMOOR_W] = ROW(IR_ATOMIC_OR, 4, 0),
	[INSN_AMOXOR_W] = ROW(IR_ATOMIC_XOR, 4, 0),
	[INSN_LR_W] = ROW(IR_LOAD_RESERVED, 4, 0),
	[INSN_SC_W] = ROW(IR_STORE_CONDITIONAL, 4, 0),
	[INSN_AMOSWAP_D] = ROW(IR_ATOMIC_SWAP, 8, 0),
	[INSN_AMOADD_D] = ROW(IR_ATOMIC_ADD, 8, 0),
	[INSN_AMOAND_D] = ROW(IR_ATOMIC_AND, 8, 0),
	[INSN_AMOOR_D] = ROW(IR_ATOMIC_OR, 8, 0),
	[INSN_AMOXOR_D] = ROW(IR_ATOMIC_XOR, 8, 0),
	[INSN_LR_D] = ROW(IR_LOAD_RESERVED, 8, 0),
	[INSN_SC_D] = ROW(IR_STORE_CONDITIONAL, 8, 0),
	[INSN_FSGNJ_S] = ROW(IR_FLOAT_SIGN, 4, 0),
	[INSN_FSGNJN_S] = ROW(IR_FLOAT_SIGN, 4, 1),
	[INSN_FSGNJX_S] = ROW(IR_FLOAT_SIGN, 4, 2),
	[INSN_FMIN_S] = ROW(IR_FLOAT_MIN, 4, 0),
	[INSN_FMAX_S] = ROW(IR_FLOAT_MAX, 4, 0),
	[INSN_FMIN_D] = ROW(IR_FLOAT_MIN, 8, 0),
	[INSN_FMAX_D] = ROW(IR_FLOAT_MAX, 8, 0),

	[INSN_FADD_D] = ROW(IR_FLOAT_ADD, 8, 0), [INSN_FSUB_D] = ROW(IR_FLOAT_SUB, 8, 0),
	[INSN_FMUL_D] = ROW(IR_FLOAT_MUL, 8, 0), [INSN_FDIV_D] = ROW(IR_FLOAT_DIV, 8, 0),
	[INSN_FSQRT_D] = ROW(IR_FLOAT_SQRT, 8, 0),
	[INSN_FMADD_D] = ROW(IR_FLOAT_FMA, 8, 0), [INSN_FMSUB_D] = ROW(IR_FLOAT_FMA, 8, 2),
	[INSN_FNMSUB_D] = ROW(IR_FLOAT_FMA, 8, 1), [INSN_FNMADD_D] = ROW(IR_FLOAT_FMA, 8, 3),
	[INSN_FSGNJ_D] = ROW(IR_FLOAT_SIGN, 8, 0), [INSN_FSGNJN_D] = ROW(IR_FLOAT_SIGN, 8, 1),
	[INSN_FSGNJX_D] = ROW(IR_FLOAT_SIGN, 8, 2),
	[INSN_FEQ_D] = ROW(IR_FLOAT_EQUAL, 8, 0), [INSN_FLT_D] = ROW(IR_FLOAT_LESS, 8, 0),
	[INSN_FLE_D] = ROW(IR_FLOAT_LESS_EQUAL, 8, 0),
	[INSN_FMV_X_D] = ROW(IR_FLOAT_TO_BITS, 8, 0), [INSN_FMV_D_X] = ROW(IR_BITS_TO_FLOAT, 8, 0),
	[INSN_FMV_X_W] = ROW(IR_FLOAT_TO_BITS, 4, 0), [INSN_FMV_W_X] = ROW(IR_BITS_TO_FLOAT, 4, 0),
	[INSN_FADD_S] = ROW(IR_FLOAT_ADD, 4, 0), [INSN_FSUB_S] = ROW(IR_FLOAT_SUB, 4, 0),
	[INSN_FMUL_S] = ROW(IR_FLOAT_MUL, 4, 0), [INSN_FDIV_S] = ROW(IR_FLOAT_DIV, 4, 0),
	[INSN_FSQRT_S] = ROW(IR_FLOAT_SQRT, 4, 0),
	[INSN_FMADD_S] = ROW(IR_FLOAT_FMA, 4, 0), [INSN_FMSUB_S] = ROW(IR_FLOAT_FMA, 4, 2),
	[INSN_FNMSUB_S] = ROW(IR_FLOAT_FMA, 4, 1), [INSN_FNMADD_S] = ROW(IR_FLOAT_FMA, 4, 3),
	[INSN_FEQ_S] = ROW(IR_FLOAT_EQUAL, 4, 0), [INSN_FLT_S] = ROW(IR_FLOAT_LESS, 4, 0),
	[INSN_FLE_S] = ROW(IR_FLOAT_LESS_EQUAL, 4, 0),
	[INSN_FCVT_D_W] = ROW(IR_FLOAT_FROM_INT, 8, 4), [INSN_FCVT_D_L] = ROW(IR_FLOAT_FROM_INT, 8, 8),
	[INSN_FCVT_S_W] = ROW(IR_FLOAT_FROM_INT, 4, 4), [INSN_FCVT_S_L] = ROW(IR_FLOAT_FROM_INT, 4, 8),
	[INSN_FCVT_W_D] = ROW(IR_FLOAT_TO_INT, 8, 4), [INSN_FCVT_L_D] = ROW(IR_FLOAT_TO_INT, 8, 8),
	[INSN_FCVT_W_S] = ROW(IR_FLOAT_TO_INT, 4, 4), [INSN_FCVT_L_S] = ROW(IR_FLOAT_TO_INT, 4, 8),
	[INSN_FCVT_D_WU] = ROW(IR_FLOAT_FROM_INT, 8, 4 | UNSIGNED), [INSN_FCVT_D_LU] = ROW(IR_FLOAT_FROM_INT, 8, 8 | UNSIGNED),
	[INSN_FCVT_S_WU] = ROW(IR_FLOAT_FROM_INT, 4, 4 | UNSIGNED), [INSN_FCVT_S_LU] = ROW(IR_FLOAT_FROM_INT, 4, 8 | UNSIGNED),
	[INSN_FCVT_WU_D] = ROW(IR_FLOAT_TO_INT, 8, 4 | UNSIGNED), [INSN_FCVT_LU_D] = ROW(IR_FLOAT_TO_INT, 8, 8 | UNSIGNED),
	[INSN_FCVT_WU_S] = ROW(IR_FLOAT_TO_INT, 4, 4 | UNSIGNED), [INSN_FCVT_LU_S] = ROW(IR_FLOAT_TO_INT, 4, 8 | UNSIGNED),
	[INSN_FCLASS_D] = ROW(IR_FLOAT_CLASS, 8, 0), [INSN_FCLASS_S] = ROW(IR_FLOAT_CLASS, 4, 0),
	[INSN_FCVT_D_S] = ROW(IR_FLOAT_WIDEN, 8, 0), [INSN_FCVT_S_D] = ROW(IR_FLOAT_NARROW, 4, 0),

	[INSN_BEQ] = ROW(IR_BRANCH, 8, IR_EQ),   [INSN_BNE] = ROW(IR_BRANCH, 8, IR_NE),
	[INSN_BLT] = ROW(IR_BRANCH, 8, IR_LT),   [INSN_BGE] = ROW(IR_BRANCH, 8, IR_GE),
	[INSN_BLTU] = ROW(IR_BRANCH, 8, IR_LTU), [INSN_BGEU] = ROW(IR_BRANCH, 8, IR_GEU),
};

static uint8_t global(unsigned x)
{
	return x ? (uint8_t)x : IR_ZERO;
}

/* Whether the instruction rounds as the dynamic mode says, or in the one way its operation has built in. */
static bool rounding_fits(const struct insn *insn, const struct row *row)
{
	switch (insn_table[insn->id].format) {
	case INSN_FORMAT_FTOXRM:
		if (row->extra & UNSIGNED)
			return insn->rm == FLOAT_RTZ;
		/* The inexact flag of a double out of a word's range would be raised wrongly. */
		return insn->rm == FLOAT_DYN || insn->rm == FLOAT_RTZ ||
		       (insn->rm < FLOAT_RMM && !(row->size == 8 && row->extra == 4));
	case INSN_FORMAT_FR4:
	case INSN_FORMAT_FRM1:
	case INSN_FORMAT_FRM2:
	case INSN_FORMAT_XTOFRM:
		/* Widening is exact; integers are mostly, which their operation looks at. */
		return insn->rm == FLOAT_DYN || row->op == IR_FLOAT_WIDEN ||
		       (row->op == IR_FLOAT_FROM_INT && insn->rm <= FLOAT_RMM);
	default:
		return true;
	}
}

static void operands(struct ir *ir, const struct insn *insn)
{
	switch (insn_table[insn->id].format) {
	case INSN_FORMAT_R:
		ir->dst = global(insn->rd);
		ir->a = global(insn->rs1);
		ir->b = global(insn->rs2);
		break;
	case INSN_FORMAT_R1:
		ir->dst = global(insn->rd);
		ir->a = global(insn->rs1);
		ir->b = IR_ZERO;
		break;
	case INSN_FORMAT_I:
	case INSN_FORMAT_SH5:
	case INSN_FORMAT_SH6:
		ir->dst = global(insn->rd);
		ir->a = global(insn->rs1);
		ir->b = IR_CONST;
		ir->imm = insn->imm;
		break;
	case INSN_FORMAT_S:
	case INSN_FORMAT_B:
		ir->a = global(insn->rs1);
		ir->b = global(insn->rs2);
		ir->imm = insn->imm;
		break;
	case INSN_FORMAT_FLOAD:
		ir->dst = insn->rd;
		ir->a = global(insn->rs1);
		ir->imm = insn->imm;
		break;
	case INSN_FORMAT_FSTORE:
		ir->a = global(insn->rs1);
		ir->b = insn->rs2;
		ir->imm = insn->imm;
		break;
	case INSN_FORMAT_FCMP:
	case INSN_FORMAT_FTOX:
	case INSN_FORMAT_FTOXRM:
		ir->dst = global(insn->rd);
		ir->a = insn->rs1;
		ir->b = insn->rs2;
		ir->c = insn->rm;
		break;
	case INSN_FORMAT_XTOF:
	case INSN_FORMAT_XTOFRM:
		ir->dst = insn->rd;
		ir->a = global(insn->rs1);
		ir->c = insn->rm;
		break;
	default:
		ir->dst = insn->rd;
		ir->a = insn->rs1;
		ir->b = insn->rs2;
		ir->c = insn->rs3;
	}
}

#define AHEAD    512
#define DISPATCH 12 /* instructions that are worth a copy */
#define STRAIGHT 40 /* instructions without a branch for a unit to be longer than others */

struct builder {
	struct ir_unit *unit;
	unsigned at; /* of the next instruction, in the page */
	bool done;   /* control does not reach behind the last operation */
	bool status; /* floats may have been switched on or off */
	unsigned farthest;  /* target of a branch ahead */
	unsigned straight;  /* instructions up to the last branch */
	uint64_t ahead[AHEAD / 64]; /* targets of branches, by half words from the start: a bit each */
};

static struct ir *append(struct builder *b, const struct insn *insn, enum ir_op op)
{
	struct ir_unit *unit = b->unit;
	struct ir *ir = &unit->ops[unit->count++];

	*ir = (struct ir){
		.op = (uint8_t)op,
		.size = 8,
		.dst = IR_ZERO,
		.a = IR_ZERO,
		.b = IR_ZERO,
		.at = (uint16_t)b->at,
		.before = (uint16_t)unit->instructions,
		.next = (int32_t)(b->at + insn->length),
	};
	return ir;
}

/* A branch or jump: where it leads to within reach, the unit goes on even if control does not reach that place from
 * the instruction before. A loop back to the start ends the unit, unless a branch leads on. */
static void leads_to(struct builder *b, const struct insn *insn, int64_t to)
{
	unsigned behind = b->at + insn->length;

	if (to == b->unit->at && b->farthest < behind)
		b->done = true;
	if (to < (int64_t)behind || to < b->unit->at || (to - b->unit->at) / 2 >= AHEAD)
		return;
	b->ahead[(to - b->unit->at) / 128] |= UINT64_C(1) << (to - b->unit->at) / 2 % 64;
	if (to > b->farthest)
		b->farthest = (unsigned)to;
}

/* Whether the unit ends before the next instruction. */
static bool ends(struct builder *b)
{
	unsigned half_words = (b->at - b->unit->at) / 2u, count = b->unit->count;

	if (b->done && b->unit->ops[count - 1].op < IR_SYSTEM && half_words < AHEAD &&
	    (b->ahead[half_words / 64] >> half_words % 64 & 1))
		b->done = false;
	return b->done;
}

/* jal and jalr: x1 and x5 are the link registers by convention (Unprivileged 2.5). */
static bool is_link(unsigned x)
{
	return x == 1 || x == 5;
}

static void jump(struct builder *b, const struct insn *insn, int64_t to)
{
	struct ir *ir = append(b, insn, is_link(insn->rd) ? IR_CALL : IR_JUMP);

	ir->dst = global(insn->rd);
	ir->imm = to;
	b->done = true;
	if (ir->op == IR_JUMP)
		leads_to(b, insn, to);
}

/* Whether the instruction before was auipc of the register that this jalr jumps by: the pair is a far jump. */
static bool follows_auipc(const struct builder *b, const struct insn *insn)
{
	const struct ir *before = b->unit->count ? &b->unit->ops[b->unit->count - 1] : NULL;

	return before && before->op == IR_HERE && before->dst == insn->rs1;
}

static void jump_register(struct builder *b, const struct insn *insn)
{
	bool call = is_link(insn->rd), back = !insn->rd && is_link(insn->rs1);
	struct ir *ir;

	if (follows_auipc(b, insn)) {
		jump(b, insn, (b->unit->ops[b->unit->count - 1].imm + insn->imm) & ~INT64_C(1));
		return;
	}
	ir = append(b, insn, call ? IR_CALL_TO : back ? IR_RETURN_TO : IR_JUMP_TO);
	ir->dst = global(insn->rd);
	ir->a = global(insn->rs1);
	ir->imm = insn->imm;
	b->done = true;
}

/* Whether a fence orders earlier stores (or output) before later loads (or input): Unprivileged 2.7. */
static bool orders_stores_before_loads(const struct insn *insn)
{
	unsigned before = insn->raw >> 24 & 15, after = insn->raw >> 20 & 15;

	return (before & 5) && (after & 10);
}

static void by_table(struct builder *b, const struct insn *insn, const struct row *row)
{
	struct ir *ir = append(b, insn, (enum ir_op)row->op);

	ir->size = row->size;
	ir->word = insn->raw;
	operands(ir, insn);
	if (row->op == IR_FENCE) {
		ir->imm = orders_stores_before_loads(insn);
	} else if (row->op == IR_BRANCH) {
		ir->condition = row->extra;
		ir->imm += (int64_t)b->at;
		leads_to(b, insn, ir->imm);
	} else if (row->op == IR_LOAD) {
		ir->is_signed = row->extra;
	} else if (row->op == IR_FLOAT_FROM_INT || row->op == IR_FLOAT_TO_INT) {
		ir->is_signed = !(row->extra & UNSIGNED);
		ir->imm = row->extra & ~UNSIGNED;
	} else if (row->extra || row->op == IR_FLOAT_SIGN || row->op == IR_FLOAT_FMA) {
		ir->imm = row->extra;
	}
}

static void by_function(struct builder *b, const struct insn *insn)
{
	struct ir *ir = append(b, insn, IR_PURE);

	operands(ir, insn);
	ir->function = pure[insn->id];
}

static bool is_csr(const struct insn *insn)
{
	return insn_table[insn->id].format == INSN_FORMAT_CSR;
}

/* Reading the float flags, or writing them without reading: what compilers put around quiet comparisons. Functions of
 * libm begin by reading the rounding mode. */
static bool flags_access(struct builder *b, const struct insn *insn)
{
	bool read = insn->id == INSN_CSRRS && insn->rs1 == 0, write = insn->id == INSN_CSRRW && insn->rd == 0;
	struct ir *ir;

	if (is_csr(insn) && insn->imm == CSR_FRM && read)
		ir = append(b, insn, IR_ROUNDING_READ);
	else if (is_csr(insn) && insn->imm == CSR_FFLAGS && (read || write))
		ir = append(b, insn, read ? IR_FLAGS_READ : IR_FLAGS_WRITE);
	else
		return false;
	ir->dst = global(insn->rd);
	ir->a = global(insn->rs1);
	b->unit->floats = true;
	return true;
}

/* Instructions that C does amid a unit. */
static bool by_call(const struct insn *insn, const struct insn_info *info)
{
	if (is_csr(insn) || (info->flags & INSN_ATOMIC) || info->format == INSN_FORMAT_CBO)
		return true;
	return (info->flags & INSN_FLOAT) && !(info->flags & (INSN_LOAD | INSN_STORE));
}

/* Instructions that C does, after which control is elsewhere or the unit does not hold any more. */
static bool is_system(const struct insn *insn)
{
	return insn->id == INSN_ECALL || insn->id == INSN_EBREAK || insn->id == INSN_SRET || insn->id == INSN_MRET ||
	       insn->id == INSN_SFENCE_VMA || insn->id == INSN_SINVAL_VMA || insn->id == INSN_FENCE_I ||
	       insn->id == INSN_WFI || insn->id == INSN_PAUSE;
}

static void one(struct builder *b, const struct insn *insn)
{
	const struct row *row = &rows[insn->id];
	const struct insn_info *info = &insn_table[insn->id];

	if (info->flags & INSN_FLOAT)
		b->unit->floats = true;
	if (insn->id == INSN_LUI || insn->id == INSN_AUIPC) {
		struct ir *ir = append(b, insn, insn->id == INSN_LUI ? IR_SET : IR_HERE);

		ir->dst = global(insn->rd);
		ir->imm = insn->id == INSN_LUI ? insn->imm : (int64_t)b->at + insn->imm;
	} else if (insn->id == INSN_JAL) {
		jump(b, insn, (int64_t)b->at + insn->imm);
	} else if (insn->id == INSN_JALR) {
		jump_register(b, insn);
	} else if (row->known && rounding_fits(insn, row)) {
		by_table(b, insn, row);
	} else if (pure[insn->id]) {
		by_function(b, insn);
	} else if (flags_access(b, insn)) {
		return;
	} else if (by_call(insn, info)) {
		append(b, insn, IR_CALL_C)->word = insn->raw;
		b->status |= is_csr(insn) && (insn->imm == CSR_SSTATUS || insn->imm == CSR_MSTATUS);
	} else {
		append(b, insn, is_system(insn) ? IR_SYSTEM : IR_LEAVE)->word = insn->raw;
		b->done = true;
	}
}

/* The instruction at `at`, if it lies wholly in the page. */
static bool fetch(struct page_copy *page, unsigned at, struct insn *insn)
{
	uint32_t word;

	if (unlikely(at + 4 > GUEST_PAGE_SIZE)) {
		if (at + 2 > GUEST_PAGE_SIZE || insn_length(page_half(page, at)) == 4)
			return false;
		word = page_half(page, at);
	} else {
		word = page_word(page, at);
	}
	*insn = insn_decode(word);
	return true;
}

/* What a dispatch may consist of before its jump: nothing that changes the machine's state or needs C. */
static bool is_plain(const struct insn *insn)
{
	if (insn_table[insn->id].flags & INSN_FLOAT)
		return false;
	return insn->id == INSN_LUI || insn->id == INSN_AUIPC || rows[insn->id].known || pure[insn->id];
}

/* A few plain instructions from `at` on up to a computed jump: how many in all; 0: it is something else. */
static unsigned find_dispatch(struct page_copy *page, unsigned at, struct insn insns[DISPATCH])
{
	for (unsigned i = 0; i < DISPATCH && fetch(page, at, &insns[i]); at += insns[i++].length) {
		if (insns[i].id == INSN_JALR)
			return insns[i].rd || is_link(insns[i].rs1) ? 0 : i + 1;
		if (!is_plain(&insns[i]))
			return 0;
	}
	return 0;
}

/* The handlers of an interpreter jump to one dispatch. With a copy of it behind each, the host predicts the computed
 * jump for each handler by itself. */
static void copy_dispatch(struct builder *b, struct page_copy *page, unsigned limit)
{
	struct ir_unit *unit = b->unit;
	const struct ir *last = &unit->ops[unit->count - 1];
	struct insn insns[DISPATCH];
	unsigned count;

	if (last->op != IR_JUMP || last->dst != IR_ZERO || last->imm < 0 || last->imm >= (int64_t)GUEST_PAGE_SIZE ||
	    (last->imm >= unit->at && last->imm < unit->at + unit->bytes) ||
	    unit->instructions + DISPATCH > limit || unit->count + DISPATCH > UNIT_OPS)
		return;
	count = find_dispatch(page, (unsigned)last->imm, insns);
	if (!count)
		return;
	b->at = unit->tail = (uint16_t)last->imm;
	unit->count--;
	for (unsigned i = 0; i < count; b->at += insns[i++].length) {
		one(b, &insns[i]);
		unit->instructions++;
	}
	unit->tail_bytes = (uint16_t)(b->at - unit->tail);
}

#define LAST_HALF (GUEST_PAGE_SIZE - 2)

bool riscv_straddles(const uint8_t *page)
{
	uint16_t half;

	memcpy(&half, page + LAST_HALF, sizeof half);
	return insn_length(half) == 4;
}

static struct builder begin(struct ir_unit *unit, unsigned at, bool straddles)
{
	unit->count = unit->instructions = 0;
	unit->at = (uint16_t)at;
	unit->tail = unit->tail_bytes = 0;
	unit->floats = unit->inside = unit->loops = unit->grouped = false;
	unit->straddles = straddles ? (int32_t)LAST_HALF : -1;
	return (struct builder){.unit = unit, .at = at};
}

void riscv_straddling_to_ir(struct ir_unit *unit, uint32_t word)
{
	struct builder b = begin(unit, LAST_HALF, true);
	struct insn insn = insn_decode(word);

	one(&b, &insn);
	unit->instructions = unit->ops[0].op != IR_LEAVE;
	unit->bytes = insn.length;
}

/* A long stretch without branches, as of a hash, is one unit beyond the limit: all of it runs. */
static bool goes_on(const struct builder *b, unsigned limit)
{
	const struct ir_unit *unit = b->unit;

	return unit->instructions < limit || unit->instructions - b->straight >= STRAIGHT;
}

bool riscv_to_ir(struct ir_unit *unit, struct page_copy *page, unsigned at, unsigned limit)
{
	struct builder b = begin(unit, at, riscv_straddles(page->source));

	while (!ends(&b) && goes_on(&b, limit) && unit->count + 3 < UNIT_OPS) {
		struct insn insn;

		if (!fetch(page, b.at, &insn))
			break;
		/* A unit with floats wants them from its start: what switches them on is not one. */
		if (b.status && !unit->floats && (insn_table[insn.id].flags & INSN_FLOAT))
			break;
		one(&b, &insn);
		if (unit->ops[unit->count - 1].op == IR_BRANCH)
			b.straight = unit->instructions + 1;
		/* What is left to the engine is not part of the unit. */
		if (unit->ops[unit->count - 1].op == IR_LEAVE)
			break;
		unit->instructions++;
		b.at += insn.length;
	}
	unit->bytes = (uint16_t)(b.at - at);
	if (unit->count == 0)
		return false;
	/* What the engine does follows from the bytes, too. */
	if (unit->ops[unit->count - 1].op == IR_LEAVE)
		unit->bytes = (uint16_t)(unit->ops[unit->count - 1].next - (int32_t)at);
	copy_dispatch(&b, page, limit);
	return true;
}
