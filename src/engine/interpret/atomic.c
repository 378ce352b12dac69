/*
 * LR, SC and AMOs as host atomics (Unprivileged 8): sequentially consistent, which satisfies every aq and rl.
 *
 * SC succeeds when the reserved bytes still hold the value that LR read: a store of the same value in between goes
 * unnoticed, as on other monitors, and no lock-free algorithm that is correct under ABA-free LR/SC of Linux
 * or the C library depends on noticing it.
 */
#include "engine/interpret/vcpu.h"
#include "riscv/decode.h"

static enum riscv_cause load_reserved(struct engine_vcpu *v, const struct op *op, unsigned size)
{
	struct hart *hart = v->hart;
	uint64_t physical, value;
	void *host;
	enum riscv_cause cause = atomic_target(v, hart->x[op->rs1], size, MMU_LOAD, &host, &physical);

	if (cause != CAUSE_NONE)
		return cause;
	if (size == 4)
		value = (uint64_t)(int32_t)le32toh(__atomic_load_n((uint32_t *)host, __ATOMIC_SEQ_CST));
	else
		value = le64toh(__atomic_load_n((uint64_t *)host, __ATOMIC_SEQ_CST));
	hart->reserved = true;
	hart->reserved_size = (uint8_t)size;
	hart->reserved_address = physical;
	hart->reserved_value = value;
	hart->x[op->rd] = value;
	return CAUSE_NONE;
}

static bool exchange_if_equal(void *host, unsigned size, uint64_t expected, uint64_t value)
{
	if (size == 4) {
		uint32_t old = htole32((uint32_t)expected);

		return __atomic_compare_exchange_n((uint32_t *)host, &old, htole32((uint32_t)value), false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	expected = htole64(expected);
	return __atomic_compare_exchange_n((uint64_t *)host, &expected, htole64(value), false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static enum riscv_cause store_conditional(struct engine_vcpu *v, const struct op *op, unsigned size)
{
	struct hart *hart = v->hart;
	uint64_t physical;
	bool done;
	void *host;
	enum riscv_cause cause = atomic_target(v, hart->x[op->rs1], size, MMU_STORE, &host, &physical);

	if (cause != CAUSE_NONE)
		return cause;
	done = hart->reserved && hart->reserved_size == size && hart->reserved_address == physical &&
	       exchange_if_equal(host, size, hart->reserved_value, hart->x[op->rs2]);
	hart_end_reservation(hart);
	hart->x[op->rd] = !done;
	return CAUSE_NONE;
}

/* What an AMO leaves in memory; minima and maxima compare at the access's own width. */
static uint64_t combine(unsigned id, uint64_t memory, uint64_t operand)
{
	switch (id) {
	case INSN_AMOSWAP_W:
	case INSN_AMOSWAP_D:
		return operand;
	case INSN_AMOADD_W:
	case INSN_AMOADD_D:
		return memory + operand;
	case INSN_AMOXOR_W:
	case INSN_AMOXOR_D:
		return memory ^ operand;
	case INSN_AMOAND_W:
	case INSN_AMOAND_D:
		return memory & operand;
	case INSN_AMOOR_W:
	case INSN_AMOOR_D:
		return memory | operand;
	case INSN_AMOMIN_W:
	case INSN_AMOMIN_D:
		return (int64_t)memory < (int64_t)operand ? memory : operand;
	case INSN_AMOMAX_W:
	case INSN_AMOMAX_D:
		return (int64_t)memory > (int64_t)operand ? memory : operand;
	case INSN_AMOMINU_W:
	case INSN_AMOMINU_D:
		return memory < operand ? memory : operand;
	default:
		return memory > operand ? memory : operand;
	}
}

/* A word sign-extended to 64 bits keeps its signed and its unsigned order. */
static uint64_t widen(uint64_t value, unsigned size)
{
	return size == 4 ? (uint64_t)(int32_t)(uint32_t)value : value;
}

static enum riscv_cause modify(struct engine_vcpu *v, const struct op *op, unsigned size)
{
	struct hart *hart = v->hart;
	uint64_t operand = widen(hart->x[op->rs2], size), old, physical;
	void *host;
	enum riscv_cause cause = atomic_target(v, hart->x[op->rs1], size, MMU_STORE, &host, &physical);

	if (cause != CAUSE_NONE)
		return cause;
	do {
		old = size == 4 ? le32toh(__atomic_load_n((uint32_t *)host, __ATOMIC_RELAXED))
				: le64toh(__atomic_load_n((uint64_t *)host, __ATOMIC_RELAXED));
		old = widen(old, size);
	} while (!exchange_if_equal(host, size, old, combine(op->id, old, operand)));
	hart->x[op->rd] = old;
	return CAUSE_NONE;
}

enum riscv_cause atomic_execute(struct engine_vcpu *v, const struct op *op)
{
	/* funct3 is 2 for words and 3 for doublewords. */
	unsigned size = insn_table[op->id].match >> 12 & 1 ? 8 : 4;

	switch (op->id) {
	case INSN_LR_W:
	case INSN_LR_D:
		return load_reserved(v, op, size);
	case INSN_SC_W:
	case INSN_SC_D:
		return store_conditional(v, op, size);
	default:
		return modify(v, op, size);
	}
}
