/* External interrupts: the UART's, through the PLIC, as MEI and as SEI; claim, completion, priority and
 * threshold. */
#include "bare.h"

#define PLIC   UINT64_C(0xc000000)
#define SOURCE 10 /* the UART's */

static volatile uint8_t *const uart = (volatile uint8_t *)UART;

static volatile uint32_t *word(uint64_t offset)
{
	return (volatile uint32_t *)(PLIC + offset);
}
#define PRIORITY  word(4 * SOURCE)
#define PENDING   (*word(0x1000) >> SOURCE & 1)
#define ENABLE(c) word(0x2000 + 0x80 * (c))
#define LIMIT(c)  word(0x200000 + 0x1000 * (c))
#define CLAIM(c)  word(0x200004 + 0x1000 * (c))

static naked void spin(void)
{
	asm("li t0, 20000; 1: addi t0, t0, -1; bnez t0, 1b; ret");
}

/* The transmitter is empty: with its interrupt enabled the UART drives its line until it is told not to. */
static void line(bool level)
{
	uart[1] = level ? 2 : 0;
}

/* What was requested stays so when the line falls (PLIC 1.0.0, 5): it has to be claimed. */
static void quiet(void)
{
	line(false);
	*PRIORITY = 1;
	*LIMIT(0) = 0;
	*ENABLE(0) = 1u << SOURCE;
	*CLAIM(0) = *CLAIM(0);
	csr_write(mie, 0);
	csr_write(mideleg, 0);
	*PRIORITY = 0;
	for (unsigned i = 0; i < 2; i++) {
		*ENABLE(i) = 0;
		*LIMIT(i) = 0;
	}
	csr_clear(mstatus, STATUS_MIE | STATUS_MPIE | STATUS_SIE);
}

/* Context 0 is hart 0 in M-mode, 1 in S-mode. */
static void through(unsigned c, uint64_t bit)
{
	context("context", c, 0, 0);
	quiet();
	*PRIORITY = 3;
	*ENABLE(c) = 1u << SOURCE;
	check(csr_read(mip) & bit, 0);
	line(true);
	check(csr_read(mip) & bit, bit);
	check(PENDING, 1);
	/* A threshold as high as the priority masks it. */
	*LIMIT(c) = 3;
	check(csr_read(mip) & bit, 0);
	*LIMIT(c) = 2;
	check(csr_read(mip) & bit, bit);
	*PRIORITY = 0;
	check(csr_read(mip) & bit, 0);
	*PRIORITY = 7;
	check(csr_read(mip) & bit, bit);
	/* Claimed, it is out of the way until it is completed; the line is still up then. */
	check(*CLAIM(c), SOURCE);
	check(csr_read(mip) & bit, 0);
	check(PENDING, 0);
	check(*CLAIM(c), 0);
	*CLAIM(c) = SOURCE;
	/* QEMU 7.2 waits for the line to rise anew. */
	check_strictly(csr_read(mip) & bit, bit);
	check_strictly(*CLAIM(c), SOURCE);
	line(false);
	*CLAIM(c) = SOURCE;
	check(csr_read(mip) & bit, 0);
	*ENABLE(c) = 0;
	line(true);
	check(csr_read(mip) & bit, 0);
	quiet();
}

static void taken(void)
{
	context("taken", 0, 0, 0);
	*PRIORITY = 1;
	*ENABLE(0) = 1u << SOURCE;
	line(true);
	csr_write(mie, BIT(MEI));
	csr_set(mstatus, STATUS_MPIE);
	check(run(M, spin, 0, 0).cause, INTERRUPT | MEI);
	csr_clear(mstatus, STATUS_MPIE);
	check(run(M, spin, 0, 0).cause, ECALL_M);
	check(run(U, spin, 0, 0).cause, INTERRUPT | MEI);
	/* It is the first of all (Privileged 3.1.9); QEMU 7.2 takes the lowest number. */
	csr_set(mip, BIT(SSI) | BIT(STI));
	csr_write(mie, -1);
	check_strictly(run(S, spin, 0, 0).cause, INTERRUPT | MEI);
	csr_clear(mip, BIT(SSI) | BIT(STI));
	quiet();
	*PRIORITY = 1;
	*ENABLE(1) = 1u << SOURCE;
	line(true);
	csr_write(mideleg, BIT(SEI));
	csr_write(mie, BIT(SEI));
	csr_set(mstatus, STATUS_SIE);
	check(run(S, spin, 0, 0).cause, ECALL_S);
	check(s_trap.cause, INTERRUPT | SEI);
	quiet();
}

/* SEIP has a bit of its own for software beside the line, and a read of mip shows either (Privileged 3.1.9). */
static void software_bit(void)
{
	context("software SEI", 0, 0, 0);
	csr_set(mip, BIT(SEI));
	check(csr_read(mip) & BIT(SEI), BIT(SEI));
	csr_clear(mip, BIT(SEI));
	check(csr_read(mip) & BIT(SEI), 0);
	*PRIORITY = 1;
	*ENABLE(1) = 1u << SOURCE;
	line(true);
	check(csr_read(mip) & BIT(SEI), BIT(SEI));
	/* A set of another bit must not make the line's level stick in software's. */
	csr_set(mip, BIT(SSI));
	line(false);
	check(*CLAIM(1), SOURCE);
	*CLAIM(1) = SOURCE;
	check_strictly(csr_read(mip) & BIT(SEI), 0);
	csr_clear(mip, BIT(SSI) | BIT(SEI));
	quiet();
}

/* All three entries of the vector of S-mode. */
asm(".text; .balign 256; s_table: .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; c.li a0, \\n; c.j 1f; .endr; 1: ecall");
extern const char s_table[];

static void supervisor_vectors(void)
{
	uint64_t kept = csr_read(stvec);

	csr_write(stvec, (uint64_t)s_table | 1);
	csr_write(mideleg, BIT(SSI) | BIT(STI) | BIT(SEI));
	csr_set(mstatus, STATUS_SIE);
	for (unsigned i = SSI; i <= SEI; i += 4) {
		context("stvec", i, 0, 0);
		csr_write(mie, BIT(i));
		csr_set(mip, BIT(i));
		last = run(S, spin, 0, 0);
		check(last.cause, ECALL_S);
		check(last.a0, i);
		check(csr_read(scause), INTERRUPT | i);
		csr_clear(mip, BIT(i));
		csr_set(mstatus, STATUS_SIE);
	}
	csr_write(medeleg, BIT(ECALL_U));
	last = run(U, spin, 0, 0);
	check(last.a0, 0);
	csr_write(medeleg, 0);
	csr_write(stvec, kept);
	quiet();
}

int main(void)
{
	through(0, BIT(MEI));
	through(1, BIT(SEI));
	taken();
	software_bit();
	supervisor_vectors();
	return 0;
}
