/* Every exception: cause, epc and tval, in each mode, taken in M-mode and delegated to S-mode. */
#include "bare.h"

/* Cause 0, a misaligned fetch, can not occur where instructions are aligned to two bytes. */

extern const char fault_here[], illegal_here[], illegal16_here[], break_here[], ebreak16_here[];

static naked void load_at(void)
{
	asm(".globl fault_here; fault_here: ld a0, 0(a0); ret");
}
static naked void store_at(void)
{
	asm("sd a0, 0(a0); ret");
}
static naked void amo_at(void)
{
	asm("amoadd.d a0, a0, (a0); ret");
}
static naked void lr_at(void)
{
	asm("lr.d a0, (a0); ret");
}
static naked void illegal(void)
{
	asm(".balign 4; .globl illegal_here; illegal_here: .word 0xffffffff");
}
static naked void illegal16(void)
{
	asm(".balign 4; .globl illegal16_here; illegal16_here: .half 0; .half 0");
}
static naked void breakpoint(void)
{
	asm(".option push; .option norvc; .globl break_here; break_here: ebreak; .option pop");
}
static naked void breakpoint16(void)
{
	asm(".globl ebreak16_here; ebreak16_here: c.ebreak");
}
static naked void machine_csr(void)
{
	asm("csrr a0, mstatus; ret");
}
static naked void read_only_csr(void)
{
	asm("csrw cycle, a0; ret");
}
static naked void absent_csr(void)
{
	asm("csrr a0, 0x8ff; ret");
}
static naked void nothing(void)
{
	asm("ret");
}

static const uint64_t ecall_of[] = {[U] = ECALL_U, [S] = ECALL_S, [M] = ECALL_M};

/* Runs the code with its cause delegated or not; the trap, wherever it was taken. */
static struct trap take(unsigned mode, const void *code, uint64_t a0, uint64_t cause, bool delegated)
{
	struct trap t;

	csr_write(medeleg, delegated ? BIT(cause) : 0);
	t = run(mode, code, a0, 0);
	csr_write(medeleg, 0);
	/* Traps of M-mode are never delegated. */
	check(s_trap.taken, delegated && mode != M);
	if (!s_trap.taken)
		return t;
	check(t.cause, ECALL_S);
	check(s_trap.status & STATUS_SPP ? S : U, mode);
	return s_trap;
}

struct example {
	const void *code;
	uint64_t a0, cause, epc, tval;
};

static void one(const struct example *e, unsigned mode, bool delegated)
{
	struct trap t;

	context("mode, delegated, cause", mode, delegated, e->cause);
	t = take(mode, e->code, e->a0, e->cause, delegated);
	check(t.cause, e->cause);
	check(t.epc, e->epc);
	if (e->cause == BREAKPOINT && t.tval == 0)
		return; /* 0 is as good as the address there (Privileged 3.1.16) */
	check(t.tval, e->tval);
	if (!delegated)
		check(t.status >> 11 & 3, mode);
}

#define HERE(f) (uint64_t)(f)

static void each_cause(void)
{
	static uint64_t words[4] __attribute__((aligned(16)));
	uint64_t odd = (uint64_t)words + 4;
	const struct example examples[] = {
		{(const void *)HOLE, 0, FETCH_ACCESS, HOLE, HOLE},
		{illegal, 0, ILLEGAL, HERE(illegal_here), 0xffffffff},
		{illegal16, 0, ILLEGAL, HERE(illegal16_here), 0},
		{read_only_csr, 0, ILLEGAL, HERE(read_only_csr), 0xc0051073},
		{absent_csr, 0, ILLEGAL, HERE(absent_csr), 0x8ff02573},
		{breakpoint, 0, BREAKPOINT, HERE(break_here), HERE(break_here)},
		{breakpoint16, 0, BREAKPOINT, HERE(ebreak16_here), HERE(ebreak16_here)},
		{lr_at, odd, LOAD_MISALIGNED, HERE(lr_at), odd},
		{load_at, HOLE + 8, LOAD_ACCESS, HERE(fault_here), HOLE + 8},
		{store_at, HOLE + 16, STORE_ACCESS, HERE(store_at), HOLE + 16},
		{amo_at, odd, STORE_MISALIGNED, HERE(amo_at), odd},
		{amo_at, HOLE + 16, STORE_ACCESS, HERE(amo_at), HOLE + 16},
	};
	/* QEMU 7.2 gives an AMO the causes of a load; they are those of a store (Privileged, table 3.6). */
	size_t count = sizeof(examples) / sizeof(examples[0]) - (on_qemu() ? 2 : 0);

	for (size_t i = 0; i < count; i++)
		for (unsigned mode = U; mode <= M; mode += mode == S ? 2 : 1)
			for (unsigned delegated = 0; delegated < 2; delegated++)
				one(&examples[i], mode, delegated);
}

static void each_ecall(void)
{
	extern const char run_back[];
	struct trap t;

	for (unsigned mode = U; mode <= M; mode += mode == S ? 2 : 1) {
		context("ecall of mode", mode, 0, 0);
		t = take(mode, nothing, 0, ecall_of[mode], false);
		check(t.cause, ecall_of[mode]);
		check(t.epc, run_back);
		check(t.tval, 0);
	}
	t = take(U, nothing, 0, ECALL_U, true);
	check(t.cause, ECALL_U);
	check(t.epc, run_back);
}

/* Supervisor and user have no business with machine CSRs. */
static void each_privilege(void)
{
	check(run(M, machine_csr, 0, 0).cause, ECALL_M);
	for (unsigned mode = U; mode <= S; mode++) {
		struct trap t = run(mode, machine_csr, 0, 0);

		context("machine csr in mode", mode, 0, 0);
		check(t.cause, ILLEGAL);
		check(t.epc, machine_csr);
		check(t.tval, 0x30002573);
	}
}

int main(void)
{
	each_cause();
	each_ecall();
	each_privilege();
	return 0;
}
