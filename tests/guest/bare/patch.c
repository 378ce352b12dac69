#include "patch.h"

#include "crowd.h"
#include "supervisor.h"

#ifdef LONG
#define MILLISECONDS 60000
#else
#define MILLISECONDS 1500
#endif
#define NUMBERS  1024 /* changes are counted modulo this, as an immediate can hold */
#define SPINS    500
#define RET      UINT32_C(0x00008067)
#define LI(n)    ((uint32_t)(n) << 20 | 0x513)        /* li a0, n */
#define C_LI(n)  ((uint16_t)(0x4501 | ((n) & 31) << 2)) /* c.li a0, n, below 32 */

/* j over `offset` bytes. */
static uint32_t jump(int32_t offset)
{
	uint32_t o = (uint32_t)offset;

	return (o >> 20 & 1) << 31 | (o >> 1 & 0x3ff) << 21 | (o >> 11 & 1) << 20 | (o >> 12 & 0xff) << 12 | 0x6f;
}

/* What is changed: a whole instruction, one of two bytes, a jump, one at a page's end whose next is on the next page, and
 * one in a loop that runs meanwhile. */
enum site { WORD, SHORT, JUMP, PAGE_END, LOOP, SITES };

static struct code {
	/* First page. */
	uint32_t word[4];
	uint16_t brief[8];
	uint32_t turn[4];
	uint32_t loop[16];
	volatile uint64_t data; /* beside the code, changed all the time */
	uint8_t gap[4096 - 16 - 16 - 16 - 64 - 8 - 8];
	uint32_t end[4]; /* two before the page's end, two behind */
	uint32_t stubs[NUMBERS][2];
	uint8_t rest[4096 - 8];
} codes[CROWD_MAX] __attribute__((aligned(4096)));

static struct {
	volatile uint64_t written, acked, pad[6];
} changes[CROWD_MAX][SITES] __attribute__((aligned(64)));

static volatile uint64_t end, wrong, first_wrong[3];
/* Interrupts instead of remote fences: numbered requests of each hart, and which of them each other has answered. */
static volatile uint64_t requests[CROWD_MAX][8], answers[CROWD_MAX][CROWD_MAX];

static void fence_all(void)
{
	asm volatile("fence" ::: "memory");
}

static void make(struct code *code)
{
	static const uint32_t loop[] = {
		0x0005b283, /* 1: ld t0, 0(a1) */
		LI(0),
		0xfff68693, /* addi a3, a3, -1 */
		0x00068463, /* beqz a3, 2f */
		0xfec288e3, /* beq t0, a2, 1b */
		0x00028593, /* 2: mv a1, t0 */
		RET,
	};

	code->word[0] = code->end[1] = LI(0);
	code->word[1] = code->end[2] = RET;
	code->end[0] = 0x13; /* nop */
	code->brief[0] = 0x0001; /* c.nop */
	code->brief[1] = C_LI(0);
	code->brief[2] = 0x8082; /* c.jr ra */
	code->turn[0] = jump((int32_t)((char *)code->stubs[0] - (char *)code->turn));
	for (unsigned i = 0; i < sizeof loop / sizeof *loop; i++)
		code->loop[i] = loop[i];
	for (unsigned i = 0; i < NUMBERS; i++) {
		code->stubs[i][0] = LI(i);
		code->stubs[i][1] = RET;
	}
}

static void change(struct code *code, enum site site, uint64_t number)
{
	uint32_t n = (uint32_t)(number % NUMBERS);

	switch (site) {
	case WORD:
		*(volatile uint32_t *)code->word = LI(n);
		break;
	case SHORT:
		*(volatile uint16_t *)&code->brief[1] = C_LI(n % 32);
		break;
	case JUMP:
		*(volatile uint32_t *)code->turn = jump((int32_t)((char *)code->stubs[n] - (char *)code->turn));
		break;
	case PAGE_END:
		*(volatile uint32_t *)&code->end[1] = LI(n);
		break;
	default:
		*(volatile uint32_t *)&code->loop[1] = LI(n);
	}
}

/* The function's result; *acked is what was known to be good when it was surely not older. */
static uint64_t call(uint64_t owner, enum site site, uint64_t *acked)
{
	struct code *code = &codes[owner];
	const void *starts[] = {code->word, code->brief, code->turn, code->end, code->loop};
	register uint64_t a0 asm("a0") = 0;
	register uint64_t a1 asm("a1") = (uint64_t)&changes[owner][site].acked;
	register uint64_t a2 asm("a2") = *acked;
	register uint64_t a3 asm("a3") = SPINS;

	asm volatile("jalr %4"
		     : "+r"(a0), "+r"(a1), "+r"(a2), "+r"(a3)
		     : "r"(starts[site])
		     : "ra", "t0", "memory");
	if (site == LOOP)
		*acked = a1;
	return a0;
}

static void observe(uint64_t owner, enum site site)
{
	uint64_t modulus = site == SHORT ? 32 : NUMBERS, acked = changes[owner][site].acked, written, value;

	asm volatile("fence r, rw" ::: "memory");
	value = call(owner, site, &acked);
	fence_all();
	written = changes[owner][site].written;
	if (written - acked >= modulus || (value - acked) % modulus <= written - acked)
		return;
	wrong = wrong + 1;
	first_wrong[0] = site;
	first_wrong[1] = value;
	first_wrong[2] = acked;
}

static bool on_trap(uint64_t cause, uint64_t epc)
{
	uint64_t id = csr_read(sscratch), seen[CROWD_MAX];

	(void)epc;
	if (cause != (INTERRUPT | SSI))
		return false;
	csr_clear(sip, BIT(SSI));
	fence_all();
	for (unsigned i = 0; i < crowd_harts; i++)
		seen[i] = requests[i][0];
	asm volatile("fence; fence.i" ::: "memory");
	for (unsigned i = 0; i < crowd_harts; i++)
		answers[i][id] = seen[i];
	return true;
}

static void by_interrupt(uint64_t id, uint64_t number)
{
	requests[id][0] = number;
	asm volatile("fence; fence.i" ::: "memory");
	if (SBI(IPI, 0, (BIT(crowd_harts) - 1) & ~BIT(id), 0).error)
		wrong = wrong + 1;
	for (unsigned i = 0; i < crowd_harts; i++)
		while (i != id && answers[id][i] != number)
			continue;
}

static void change_one(uint64_t id, enum site site, uint64_t request, bool interrupt)
{
	uint64_t number = changes[id][site].written + 1;

	changes[id][site].written = number;
	asm volatile("fence w, w" ::: "memory");
	change(&codes[id], site, number);
	fence_all();
	if (interrupt)
		by_interrupt(id, request);
	else if (SBI(RFENCE, 0, BIT(crowd_harts) - 1, 0).error)
		wrong = wrong + 1;
	fence_all();
	changes[id][site].acked = number;
}

static void work(uint64_t id)
{
	uint64_t random = id, count = 0, request = 0;

	while (now() < end) {
		for (unsigned i = 0; i < 8; i++) {
			observe(random_next(&random) % crowd_harts, (enum site)(random_next(&random) % SITES));
			codes[id].data = codes[id].data + 1;
			count++;
		}
		if (codes[id].data != count)
			wrong = wrong + 1;
		change_one(id, (enum site)(random_next(&random) % SITES), ++request, random_next(&random) & 1);
	}
}

static void hart(uint64_t id)
{
	csr_write(sscratch, id);
	csr_write(sie, BIT(SSI));
	csr_set(sstatus, STATUS_SIE);
	crowd_barrier();
	work(id);
	crowd_barrier();
}

void patch_run(unsigned harts)
{
	uint64_t changed = 0;

	for (unsigned i = 0; i < harts; i++)
		make(&codes[i]);
	asm volatile("fence; fence.i" ::: "memory");
	trap_hook = on_trap;
	end = now() + MILLISECONDS * TICKS_PER_MS;
	crowd_begin(harts, hart);
	hart(crowd_boot);
	csr_write(sie, 0);
	for (unsigned i = 0; i < harts; i++)
		for (unsigned j = 0; j < SITES; j++)
			changed += changes[i][j].acked;
	print("note: ");
	print_decimal(changed);
	print(" changes\n");
	context("site, value, made good", first_wrong[0], first_wrong[1], first_wrong[2]);
	/* QEMU 7.2 keeps what it translated from a word while another hart wrote it, until the next write. */
	if (on_doppel())
		check(wrong, 0);
	context("changes", changed, 0, 0);
	check(changed > 0, 1);
}
