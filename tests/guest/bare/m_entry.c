/*
 * A kernel's way in and out, thousands of times by the same code: ecall and sret with each state of sstatus, interrupts
 * that become deliverable by an instruction and are taken before the next, calls that are under way when the mode
 * changes, and jumps of a user to what only the upper bits keep apart from the kernel's code.
 */
#include "paging.h"

#define RAM    UINT64_C(0x80000000)
#define USER   UINT64_C(0x10000) /* the user's code, its stack behind */
#define ROUNDS 200
#define BITS   (STATUS_SIE | STATUS_SPIE | STATUS_SPP | STATUS_SUM)

/* What the last trap was, and where the supervisor was when it left for it. */
struct {
	uint64_t cause, epc, tval, ra, sp, served;
} seen __attribute__((used));
static uint64_t stack[512] __attribute__((aligned(4096)));

/* Does what the user's ecall asks for. */
void serve(void);
/* Goes to a1 by sret with these bits of sstatus and a0 in a0; returns sstatus as the next trap found it. */
uint64_t leave_for(uint64_t argument, uint64_t where, uint64_t status);
/* The instructions that let an interrupt in, each with the place behind it, which is reached only without one. */
uint64_t by_csrsi(void), by_csrs(void), by_csrrs(void), by_csrw(void), by_sie(void), by_sip(void);
extern const char after_csrsi[], after_csrs[], after_csrrs[], after_csrw[], after_sie[], after_sip[];
extern const char in_supervisor[], user_code[], user_end[];

#define LETS_IN(name, instructions)                                                                               \
	".globl by_" name ", after_" name "\nby_" name ": la t0, seen; sd ra, 24(t0); sd sp, 32(t0); li t1, 2\n"  \
	instructions "\nafter_" name ": li a0, 0; j supervisor_back\n"

asm(".option push; .option norvc; .balign 4\n"
    ".globl leave_for\n"
    "leave_for: la t0, seen; sd ra, 24(t0); sd sp, 32(t0); csrw sscratch, sp\n"
    "	li t1, 0x40122; csrc sstatus, t1; csrs sstatus, a2; csrw sepc, a1; la sp, 0x12000; sret\n"
    ".globl in_supervisor\n"
    "in_supervisor: csrr a0, sstatus\n"
    "supervisor_back: la t0, seen; ld ra, 24(t0); ld sp, 32(t0); ret\n"
    ".balign 4\n"
    ".globl supervisor_trap\n"
    "supervisor_trap: csrr t0, scause; li t1, 8; bne t0, t1, 1f; bnez a7, 1f\n"
    "	csrrw sp, sscratch, sp; addi sp, sp, -16; sd a0, 0(sp); sd ra, 8(sp)\n"
    "	call serve\n"
    "	li a7, 0; ld a0, 0(sp); ld ra, 8(sp); addi sp, sp, 16; csrrw sp, sscratch, sp\n"
    "	csrr t0, sepc; addi t0, t0, 4; csrw sepc, t0; sret\n"
    "1:	la t1, seen; sd t0, 0(t1); csrr t0, sepc; sd t0, 8(t1); csrr t0, stval; sd t0, 16(t1)\n"
    "	csrci sip, 2; csrr a0, sstatus; j supervisor_back\n"
    LETS_IN("csrsi", "csrsi sstatus, 2")
    LETS_IN("csrs", "csrs sstatus, t1")
    LETS_IN("csrrs", "csrrs t2, sstatus, t1")
    LETS_IN("csrw", "csrr t2, sstatus; or t2, t2, t1; csrw sstatus, t2")
    LETS_IN("sie", "csrci sie, 2; csrsi sstatus, 2; csrs sie, t1")
    LETS_IN("sip", "csrci sip, 2; csrsi sstatus, 2; csrs sip, t1")
    /* a0 calls under way, with an ecall in each and one on the way back; then an ecall that ends it. */
    ".globl user_code, user_end\n"
    "user_code: li a7, 1; ecall\n"
    "	li a7, 0; call 1f; li a7, 1; ecall\n"
    "1:	addi sp, sp, -16; sd ra, 0(sp); ecall; beqz a0, 2f\n"
    "	addi a0, a0, -1; call 1b; ecall; addi a0, a0, 3\n"
    "2:	ld ra, 0(sp); addi sp, sp, 16; ret\n"
    "	jr a0\n"
    "user_end: .option pop\n");
extern void supervisor_trap(void);
/* Places in the user's code. */
#define ECALL   USER /* its second instruction */
#define RECURSE (USER + 8)
#define JUMP    (USER + (uint64_t)(user_end - user_code) - 4)

/* The kernel's part of the user's calls: calls of its own, and accesses to the user's memory. */
static __attribute__((noinline)) uint64_t user_word(const volatile uint64_t *at)
{
	uint64_t word;

	csr_set(sstatus, STATUS_SUM);
	word = *at;
	csr_clear(sstatus, STATUS_SUM);
	return word;
}

static __attribute__((noinline)) uint64_t sum_of(unsigned depth)
{
	uint64_t word = user_word((const uint64_t *)(USER + PAGE));

	return depth ? word + sum_of(depth - 1) : word;
}

void serve(void)
{
	seen.served += sum_of(3);
}

/* All of these run in S-mode and return how often something was wrong. */

static uint64_t returns(uint64_t status)
{
	bool to_supervisor = status & STATUS_SPP;
	uint64_t where = to_supervisor ? (uint64_t)in_supervisor : ECALL, wrong = 0;
	uint64_t enabled = status & STATUS_SPIE ? to_supervisor ? STATUS_SIE : STATUS_SPIE : 0;
	uint64_t want = enabled | (status & STATUS_SUM) | (to_supervisor ? STATUS_SPIE : 0);

	for (unsigned i = 0; i < ROUNDS; i++) {
		seen.epc = seen.cause = 0;
		wrong += (leave_for(0, where, status) & BITS) != want;
		wrong += !to_supervisor && (seen.cause != ECALL_U || seen.epc != ECALL + 4 || seen.tval != 0);
	}
	csr_clear(sstatus, BITS);
	return wrong;
}

static uint64_t lets_in(uint64_t (*function)(void), const char *behind)
{
	uint64_t wrong = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		csr_clear(sstatus, BITS);
		csr_set(sie, BIT(SSI));
		seen.cause = 0;
		/* Now and then nothing is pending, and it goes on. */
		if (i % 3)
			csr_set(sip, BIT(SSI));
		function();
		if (i % 3 || behind == after_sip)
			wrong += seen.cause != (INTERRUPT | SSI) || seen.epc != (uint64_t)behind;
		else
			wrong += seen.cause != 0;
	}
	csr_clear(sstatus, BITS);
	return wrong;
}

/* A return that lets it in: nothing of what it returns to is executed. */
static uint64_t returns_let_in(uint64_t status)
{
	uint64_t where = status & STATUS_SPP ? (uint64_t)in_supervisor : ECALL, wrong = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		seen.cause = 0;
		csr_set(sie, BIT(SSI));
		csr_set(sip, BIT(SSI));
		leave_for(0, where, status);
		wrong += seen.cause != (INTERRUPT | SSI) || seen.epc != where;
	}
	csr_clear(sstatus, BITS);
	return wrong;
}

static uint64_t calls_under_way(uint64_t depth)
{
	uint64_t wrong = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		seen.served = 0;
		leave_for(depth, RECURSE, 0);
		/* An ecall at each of depth + 1 entries, one behind each of depth calls; each reads four words. */
		wrong += seen.cause != ECALL_U || seen.served != 4 * (2 * depth + 1);
		wrong += user_word((const uint64_t *)(USER + PAGE)) != 1;
	}
	return wrong;
}

/* Code of the supervisor is no user's, whatever stands in the bits that only repeat the sign. */
static uint64_t upper_bits(void)
{
	uint64_t wrong = 0;

	for (uint64_t bits = 0; bits < 256; bits++) {
		uint64_t where = (uint64_t)in_supervisor ^ (bits & 127) << 57;

		leave_for(where, JUMP, 0);
		wrong += seen.cause != FETCH_PAGE || seen.epc != where || seen.tval != where;
	}
	return wrong;
}

static void inside(const void *code, uint64_t a0, uint64_t a1)
{
	uint64_t stvec_kept = csr_read(stvec);

	csr_write(stvec, supervisor_trap);
	last = run(S, code, a0, a1);
	csr_write(stvec, stvec_kept);
	check(last.cause, ECALL_S);
	check(last.a0, 0);
}

static void prepare(void)
{
	uint64_t *page = paging_page();

	for (unsigned i = 0; i < (unsigned)(user_end - user_code) / 4 + 1; i++)
		((uint32_t *)page)[i] = ((const volatile uint32_t *)(uint64_t)user_code)[i];
	asm volatile("fence.i" ::: "memory");
	stack[0] = 1;
	paging_map(USER, (uint64_t)page, 0, PTE_ALL | PTE_U);
	paging_map(USER + PAGE, (uint64_t)stack, 0, PTE_ALL | PTE_U);
	paging_map(RAM, RAM, 2, PTE_ALL | PTE_G);
	paging_on(1);
	csr_write(medeleg, BIT(ECALL_U) | BIT(FETCH_PAGE) | BIT(LOAD_PAGE));
	csr_write(mideleg, BIT(SSI));
}

int main(void)
{
	static const struct {
		uint64_t (*function)(void);
		const char *behind;
	} ways[] = {{by_csrsi, after_csrsi}, {by_csrs, after_csrs}, {by_csrrs, after_csrrs},
		    {by_csrw, after_csrw},   {by_sie, after_sie},   {by_sip, after_sip}};

	paging_reset(3);
	prepare();
	for (unsigned i = 0; i < 16; i++) {
		uint64_t status = (i & 1 ? STATUS_SIE : 0) | (i & 2 ? STATUS_SPIE : 0) | (i & 4 ? STATUS_SPP : 0) |
				  (i & 8 ? STATUS_SUM : 0);

		context("sret, sstatus", status, 0, 0);
		inside(returns, status, 0);
	}
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
		context("interrupt, way", i, 0, 0);
		inside(lets_in, (uint64_t)ways[i].function, (uint64_t)ways[i].behind);
	}
	context("interrupt by sret", 0, 0, 0);
	inside(returns_let_in, 0, 0);
	inside(returns_let_in, STATUS_SPP | STATUS_SPIE, 0);
	for (uint64_t depth = 0; depth < 20; depth += 3) {
		context("calls under way", depth, 0, 0);
		inside(calls_under_way, depth, 0);
	}
	context("upper bits of a jump", 0, 0, 0);
	inside(upper_bits, 0, 0);
	return 0;
}
