/*
 * Random bytes as code in every privilege mode, under all engines, which must agree after any number of instructions.
 *
 * The input chooses the mode, translation, the flags of each page, the registers, and the code; the code either as
 * it is, or each word made an instruction of the table, with branches that stay near. Physical memory
 * protection keeps the code from being written, so that an engine may keep what it decoded. What engines may do
 * differently ends the comparison: interrupts at another instant, page tables that were changed without a fence, and FS
 * in mstatus, which may be Dirty early and then read.
 */
#include <assert.h>
#include <string.h>

#include "../guest/hart_compare.h"
#include "bare_hart.h"
#include "riscv/csr.h"
#include "riscv/decode.h"
#include "riscv/pmp.h"

#define PAGE        UINT64_C(4096)
#define CODE        (4 * PAGE) /* from RAM on */
#define TABLES      CODE       /* offset: last level, and one page for each level above */
#define LEVELS      5
#define DATA        (TABLES + LEVELS * PAGE) /* offset of what may be written */
#define PAGES       (SIZE / PAGE)
#define LIMIT       600
/* Offsets of the trap handlers of shaped code. */
#define MACHINE_HANDLER    (CODE - 256)
#define SUPERVISOR_HANDLER (CODE - 128)
#define SATP_ASID   (UINT64_C(0xffff) << 44)
#define PTE_A       UINT64_C(0x40)
#define PTE_D       UINT64_C(0x80)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The head of an input. */
struct setup {
	uint8_t mode, entry, mtvec, stvec, delegation, status, environment, first;
	uint8_t flags[PAGES];
	uint64_t seed;
};

static struct target targets[TARGETS_MAX];

static bool is_shaped(const struct setup *setup)
{
	return setup->environment & 4;
}

static uint64_t random_value(uint64_t *seed)
{
	static const uint64_t corners[] = {
		0, 1, UINT64_MAX, 0x7fffffff, 0x80000000, UINT64_C(1) << 63, INT64_MAX, DEVICE, 0x3ff0000000000000,
		0xffffffff7fc00000, 0xffffffff3f800000, 0x7ff0000000000001, 0xfff8000000000000, 31, 63, 0x7fefffffffffffff,
	};
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	switch (z >> 60 & 7) {
	case 0:
		return corners[z % ARRAY_SIZE(corners)];
	case 1:
		return z >> (z & 63);
	case 2:
		return z;
	case 3:
		return RAM + (z & (SIZE - 1));
	default:
		return RAM + DATA + (z & 0x5ff8);
	}
}

static uint64_t load64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof value);
	return le64toh(value);
}

static void store64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof value);
}

static uint64_t entry(uint64_t physical, uint64_t flags)
{
	return physical >> 12 << 10 | flags;
}

/* Pages at their own addresses with the flags of the input, the device behind them, a superpage of 2 MiB behind that. */
static void make_tables(uint8_t *ram, const struct setup *setup)
{
	uint8_t *tables = ram + TABLES;

	memset(tables, 0, LEVELS * PAGE);
	for (uint64_t i = 0; i < PAGES; i++)
		store64(tables + 8 * i, entry(RAM + i * PAGE, setup->flags[i] ^ 0xcf));
	store64(tables + 8 * PAGES, entry(DEVICE, 0xd7));
	store64(tables + PAGE, entry(RAM + TABLES, 1));
	store64(tables + PAGE + 8, entry(RAM, setup->flags[0] ^ 0xdf));
	store64(tables + 2 * PAGE + 8 * 2, entry(RAM + TABLES + PAGE, 1));
	for (uint64_t i = 3; i < LEVELS; i++)
		store64(tables + i * PAGE, entry(RAM + TABLES + (i - 1) * PAGE, 1));
}

/* An instruction made of random bits: operands from them as they are, but for what would mostly end the program. */
static uint32_t shaped(uint32_t bits)
{
	static const uint16_t csrs[] = {
		CSR_FFLAGS, CSR_FRM, CSR_FCSR, CSR_SSTATUS, CSR_SIE, CSR_SSCRATCH, CSR_SEPC, CSR_SCAUSE, CSR_STVAL,
		CSR_SIP, CSR_SATP, CSR_MSTATUS, CSR_MIE, CSR_MSCRATCH, CSR_MEPC, CSR_MCAUSE, CSR_MTVAL, CSR_MIP, CSR_MCYCLE,
		CSR_MINSTRET, CSR_CYCLE, CSR_TIME, CSR_INSTRET, CSR_STIMECMP, CSR_MEDELEG, CSR_MENVCFG, CSR_SCOUNTEREN,
	};
	const struct insn_info *info = &insn_table[1 + (bits * UINT32_C(0x9e3779b1) >> 8) % (INSN_IDS - 1)];
	uint32_t word = (bits & ~info->mask) | info->match, sign = word >> 31;

	switch (info->format) {
	case INSN_FORMAT_B:
		/* Within 32 bytes, on four. */
		return (word & 0x01fff67f) | (sign ? 0xfe000080 : 0);
	case INSN_FORMAT_J:
		/* Within 256 bytes, on four. */
		return (word & 0x0fc00fff) | (sign ? 0xf01ff000 : 0);
	case INSN_FORMAT_CSR:
		return (word & 0xfffff) | (uint32_t)csrs[(word >> 20) % ARRAY_SIZE(csrs)] << 20;
	default:
		return word;
	}
}

/* Goes on behind the instruction that trapped, within the first 2 KiB, and so does not trap for ever. */
static void make_handler(uint8_t *at, uint32_t csr, uint32_t back)
{
	const uint32_t words[] = {
		0x00002ff3 | csr << 20, /* csrr t6, epc */
		0x004f8f93,             /* addi t6, t6, 4 */
		0x035f9f93,             /* slli t6, t6, 53 */
		0x035fdf93,             /* srli t6, t6, 53 */
		0x00000f17,             /* auipc t5, 0 */
		0x00ef5f13,             /* srli t5, t5, 14 */
		0x00ef1f13,             /* slli t5, t5, 14 */
		0x01efefb3,             /* or t6, t6, t5 */
		0x000f9073 | csr << 20, /* csrw epc, t6 */
		back,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		uint32_t word = htole32(words[i]);

		memcpy(at + 4 * i, &word, sizeof word);
	}
}

static void make_code(uint8_t *ram, const struct setup *setup, const uint8_t *code, size_t length)
{
	memcpy(ram, code, length < CODE ? length : CODE);
	if (!is_shaped(setup))
		return;
	make_handler(ram + MACHINE_HANDLER, CSR_MEPC, 0x30200073);
	make_handler(ram + SUPERVISOR_HANDLER, CSR_SEPC, 0x10200073);
	for (size_t at = 0; at < MACHINE_HANDLER && at + 4 <= length; at += 4) {
		uint32_t bits;

		memcpy(&bits, ram + at, sizeof bits);
		/* Some stay what they are: mostly compressed ones. */
		if (bits % 8 == 3)
			continue;
		bits = htole32(shaped(le32toh(bits)));
		memcpy(ram + at, &bits, sizeof bits);
	}
}

/* Locked, so that M-mode obeys too: code is never written, data never executed; tables are written only where
 * the hart may set A and D. */
static void protect(struct hart *hart, bool writable_tables)
{
	hart->pmpaddr[0] = RAM >> 2 | ((CODE >> 3) - 1);
	hart->pmpcfg[0] = 0x80 | 0x18 | 4 | 1;
	hart->pmpaddr[1] = (RAM + TABLES) >> 2;
	hart->pmpcfg[1] = 0x80;
	hart->pmpaddr[2] = (RAM + DATA) >> 2;
	hart->pmpcfg[2] = (uint8_t)(0x80 | 8 | (writable_tables ? 2 : 0) | 1);
	hart->pmpaddr[3] = UINT64_MAX >> 10;
	hart->pmpcfg[3] = 0x80 | 0x18 | 2 | 1;
}

static uint64_t fresh_satp(const struct setup *setup)
{
	static const uint8_t modes[4] = {0, 8, 9, 10};
	uint64_t mode = modes[setup->mode >> 2 & 3], levels = mode ? mode - 5 : LEVELS;

	return mode << 60 | (uint64_t)(setup->mode >> 4) << 44 | (RAM + TABLES + (levels - 1) * PAGE) >> 12;
}

static void prepare(struct target *t, const struct setup *setup, const uint8_t *code, size_t length)
{
	static const uint8_t privileges[4] = {PRIV_U, PRIV_S, PRIV_M, PRIV_U};
	struct hart *hart = t->hart;
	uint64_t seed = setup->seed, satp = fresh_satp(setup);
	bool updates = setup->environment & 1;

	memset(t->ram, 0, SIZE);
	make_code(t->ram, setup, code, length);
	make_tables(t->ram, setup);
	t->device = 0;
	clock_set(&t->clock, 1000);
	hart_reset(hart);
	hart->priv = privileges[setup->mode & 3];
	hart->satp = satp >> 60 ? satp : 0;
	hart->pc = RAM + setup->entry * 2u;
	hart->mtvec = RAM + (is_shaped(setup) ? MACHINE_HANDLER : setup->mtvec * 16u);
	hart->stvec = RAM + (is_shaped(setup) ? SUPERVISOR_HANDLER : setup->stvec * 16u);
	hart->medeleg = setup->delegation * 0x101u & 0xb3ff;
	/* MPRV is never set outside of M-mode: whatever leads there clears it. */
	hart->mstatus |= (uint64_t)setup->status << 13 &
			 (MSTATUS_SUM | MSTATUS_MXR | (hart->priv == PRIV_M ? MSTATUS_MPRV : 0));
	hart->mstatus |= setup->status & 1 ? 0 : MSTATUS_FS;
	hart->menvcfg = updates ? ENVCFG_CBZE | ENVCFG_CBCFE | ENVCFG_CBIE | ENVCFG_ADUE : 0;
	hart->senvcfg = hart->menvcfg & 0xff;
	hart->mcounteren = hart->scounteren = setup->environment >> 4;
	for (unsigned i = 1; i < 32; i++)
		hart->x[i] = random_value(&seed);
	for (unsigned i = 0; i < 32; i++)
		hart->f[i] = random_value(&seed);
	for (uint64_t at = DATA; at < SIZE; at += 8)
		store64(t->ram + at, at * 0x0123456789abcdef);
	protect(hart, updates);
	hart_loaded(hart);
	t->engine->state_loaded(t->vcpu, NULL);
}

/* What the comparison can not go on from: tables that were written to, but for A and D, and others in use. */
static bool is_beyond(const struct target *t, const struct setup *setup)
{
	static uint8_t fresh[SIZE];
	uint64_t satp = t->hart->satp;

	make_tables(fresh, setup);
	for (uint64_t at = TABLES; at < DATA; at += 8)
		if ((load64(fresh + at) ^ load64(t->ram + at)) & ~(PTE_A | PTE_D))
			return true;
	return satp >> 60 && ((satp ^ fresh_satp(setup)) & ~SATP_ASID);
}

static uint64_t interrupts(const struct target *t)
{
	struct engine_statistics statistics;

	t->engine->statistics(t->vcpu, &statistics);
	return statistics.causes[ENGINE_CAUSE_INTERRUPT];
}

/* From the start on, `first` instructions and then the rest of `count`. */
static enum engine_exit_reason run(struct target *t, const struct setup *setup, const uint8_t *code, size_t length,
				   uint64_t count)
{
	uint64_t first = setup->first < count ? setup->first : 0;
	struct engine_exit exit = {.reason = ENGINE_EXIT_LIMIT};

	prepare(t, setup, code, length);
	if (first)
		t->engine->run(t->vcpu, first, &exit);
	if (exit.reason == ENGINE_EXIT_LIMIT)
		t->engine->run(t->vcpu, count - first, &exit);
	assert(t->hart->instret <= count);
	return exit.reason;
}

static bool differ(const struct target *a, const struct target *b, bool tell)
{
	return harts_differ(a->hart, b->hart, tell, 0) || a->device != b->device ||
	       memcmp(a->ram, b->ram, SIZE) != 0;
}

struct input {
	struct setup setup;
	const uint8_t *code;
	size_t length;
};

/* Whether the two differ after `count` instructions, and how they ended. */
static bool differ_after(const struct input *in, struct target *other, uint64_t count, bool tell)
{
	enum engine_exit_reason a = run(&targets[0], &in->setup, in->code, in->length, count);
	enum engine_exit_reason b = run(other, &in->setup, in->code, in->length, count);

	if (tell)
		printf("exits %d and %d\n", a, b);
	return a != b || differ(&targets[0], other, tell);
}

/* Whether FS was Initial or Clean within `count` instructions: an engine may then have it Dirty early, and software that
 * reads it may put that anywhere. */
static bool had_clean_floats(const struct input *in, struct target *t, uint64_t count)
{
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t state;

		run(t, &in->setup, in->code, in->length, i);
		state = t->hart->mstatus & MSTATUS_FS;
		if (state != 0 && state != MSTATUS_FS)
			return true;
	}
	return false;
}

/* Searches the first instruction that makes a difference, tells of it and ends, unless it is to be forgiven. */
static void explain(const struct input *in, struct target *other)
{
	uint64_t same = 0, different = LIMIT;
	uint32_t word = 0;

	while (different - same > 1) {
		uint64_t middle = same + (different - same) / 2;

		if (differ_after(in, other, middle, false))
			different = middle;
		else
			same = middle;
	}
	if (had_clean_floats(in, other, different))
		return;
	differ_after(in, other, different - 1, false);
	if (targets[0].hart->pc - RAM < CODE)
		memcpy(&word, targets[0].ram + (targets[0].hart->pc - RAM), sizeof word);
	printf("instruction %" PRIu64 ", mode %u, pc %" PRIx64 ": %08x\n", different, targets[0].hart->priv,
	       targets[0].hart->pc, le32toh(word));
	differ_after(in, other, different, true);
	fflush(stdout);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned count;
	struct input in;

	if (count == 0)
		count = targets_make(targets);
	if (size < sizeof in.setup + 2)
		return 0;
	memcpy(&in.setup, data, sizeof in.setup);
	in.code = data + sizeof in.setup;
	in.length = size - sizeof in.setup;
	for (unsigned i = 1; i < count; i++) {
		uint64_t before = interrupts(&targets[0]) + interrupts(&targets[i]);
		bool found = differ_after(&in, &targets[i], LIMIT, false);

		if (found && interrupts(&targets[0]) + interrupts(&targets[i]) == before &&
		    !is_beyond(&targets[0], &in.setup) && !is_beyond(&targets[i], &in.setup))
			explain(&in, &targets[i]);
	}
	return 0;
}
