#include "corners.h"

#include <string.h>

#include "riscv/decode.h"
#include "values.h"

enum { RESULT = 5, LEFT = 6, RIGHT = 7, OPERANDS = 8, RESULTS = 9, FLAGS = 10, COUNT = 11 };

/* Operands are read one quadruple after the other; each gives x and f result and flags. */
#define QUADRUPLE 32
#define TRIPLE    24
#define CASES     (ISA_DATA_SIZE / (QUADRUPLE + TRIPLE))

static void emit(struct isa_fragment *f, uint32_t word)
{
	f->items[f->count++] = (struct isa_item){
		.word = word, .length = (uint8_t)insn_length((uint16_t)word), .target = -1};
}

static uint32_t load(uint32_t match, uint32_t rd, uint32_t base, uint32_t offset)
{
	return match | rd << 7 | base << 15 | offset << 20;
}

static uint32_t store(uint32_t match, uint32_t rs2, uint32_t base, uint32_t offset)
{
	return match | rs2 << 20 | base << 15 | (offset >> 5) << 25 | (offset & 31) << 7;
}

static bool reads_float(uint8_t format)
{
	return format == INSN_FORMAT_FR4 || format == INSN_FORMAT_FRM2 || format == INSN_FORMAT_FRM1 ||
	       format == INSN_FORMAT_F2 || format == INSN_FORMAT_FCMP || format == INSN_FORMAT_FTOX ||
	       format == INSN_FORMAT_FTOXRM;
}

static bool computes(unsigned id)
{
	const struct insn_info *info = &insn_table[id];

	return (info->flags & INSN_PURE) || ((info->flags & INSN_FLOAT) && !(info->flags & (INSN_LOAD | INSN_STORE)));
}

/* Width of the float operands: by the fmt field, which names the result's, or of a conversion's source in rs2. */
static unsigned float_width(unsigned id)
{
	static const unsigned bits[4] = {32, 64, 16, 16};
	const struct insn_info *info = &insn_table[id];

	if (info->match >> 27 == 0x08)
		return bits[info->match >> 20 & 3];
	return bits[info->match >> 25 & 3];
}

static bool has_right(uint8_t format)
{
	return format == INSN_FORMAT_R || format == INSN_FORMAT_FRM2 || format == INSN_FORMAT_F2 ||
	       format == INSN_FORMAT_FCMP || format == INSN_FORMAT_FR4;
}

/* One case as a loop body: fixed registers, whatever choice the encoding leaves taken from `variant`. */
static uint32_t instance(unsigned id, unsigned variant)
{
	static const uint8_t modes[6] = {0, 1, 2, 3, 4, 7};
	const struct insn_info *info = &insn_table[id];
	uint32_t free = ~info->mask, word = info->match | RESULT << 7 | LEFT << 15;

	if ((info->flags & INSN_FLOAT) && (free & 0x7000) == 0x7000)
		word |= (uint32_t)modes[variant % 6] << 12;
	if (has_right(info->format))
		word |= RIGHT << 20;
	if (info->format == INSN_FORMAT_FR4)
		word |= (uint32_t)COUNT << 27;
	if (info->format == INSN_FORMAT_I)
		word |= (uint32_t)isa_integer_corners[variant % isa_integer_corner_count] << 20;
	if (info->format == INSN_FORMAT_SH6)
		word |= (variant * 9 & 63) << 20;
	if (info->format == INSN_FORMAT_SH5)
		word |= (variant * 5 & 31) << 20;
	return word;
}

static unsigned variants(unsigned id)
{
	const struct insn_info *info = &insn_table[id];

	if (info->format == INSN_FORMAT_I)
		return isa_integer_corner_count;
	if (info->format == INSN_FORMAT_SH6 || info->format == INSN_FORMAT_SH5)
		return 8;
	return (info->flags & INSN_FLOAT) && !(info->mask & 0x7000) ? 6 : 1;
}

static void put_loop(struct isa_fragment *f, unsigned id, unsigned variant)
{
	bool floats = insn_table[id].flags & INSN_FLOAT;
	int32_t start = (int32_t)f->count;

	for (uint32_t i = 0; i < 3; i++) {
		static const uint32_t operands[3] = {LEFT, RIGHT, COUNT};

		if (i < 2)
			emit(f, load(0x3003, operands[i], OPERANDS, i * 8));
		if (floats)
			emit(f, load(0x3007, operands[i], OPERANDS, i * 8));
	}
	if (floats)
		emit(f, 0x00101073); /* csrw fflags, x0 */
	emit(f, instance(id, variant));
	if (floats) {
		emit(f, store(0x3027, RESULT, RESULTS, 8));
		emit(f, 0x00102073 | FLAGS << 7); /* csrr fflags */
		emit(f, store(0x3023, FLAGS, RESULTS, 16));
	}
	emit(f, store(0x3023, RESULT, RESULTS, 0));
	emit(f, 0x02040413); /* addi x8, x8, 32 */
	emit(f, 0x01848493); /* addi x9, x9, 24 */
	emit(f, 0xfff58593); /* addi x11, x11, -1 */
	emit(f, 0x00b04063); /* blt x0, x11, start */
	f->items[f->count - 1].target = start;
}

static void put_operand(struct isa_fragment *f, unsigned index, uint64_t value)
{
	value = htole64(value);
	memcpy(f->data + index * 8, &value, sizeof value);
}

/* Pairs number `first` and on; the third operand wanders on its own. Returns how many there were. */
static unsigned put_operands(struct isa_fragment *f, unsigned id, unsigned first)
{
	unsigned count = isa_integer_corner_count, cases = 0, pairs;
	const uint64_t *corners = isa_integer_corners;

	if (reads_float(insn_table[id].format))
		corners = isa_float_corners(float_width(id), &count);
	pairs = has_right(insn_table[id].format) ? count * count : count;
	for (unsigned i = first; i < pairs && cases < CASES; i++, cases++) {
		put_operand(f, cases * 4, corners[i % count]);
		put_operand(f, cases * 4 + 1, corners[i / count]);
		put_operand(f, cases * 4 + 2, corners[(i * 7 + i / count) % count]);
	}
	return cases;
}

bool isa_corners(struct isa_fragment *f, unsigned id, unsigned part)
{
	unsigned variant = part % (computes(id) ? variants(id) : 1), cases;

	if (!computes(id))
		return false;
	memset(f, 0, sizeof *f);
	cases = put_operands(f, id, part / variants(id) * CASES);
	if (cases == 0)
		return false;
	f->start.state.x[OPERANDS] = ISA_DATA;
	f->start.state.x[RESULTS] = ISA_DATA + CASES * QUADRUPLE;
	f->start.state.x[COUNT] = cases;
	f->start.state.fcsr = part % 5 << 5;
	put_loop(f, id, variant);
	isa_assemble(f);
	return true;
}

/* Zicond as its text has it, and ctzw (Zbb) counted bit by bit. */
static uint64_t model(unsigned id, uint64_t a, uint64_t b)
{
	unsigned zeros = 0;

	if (id == INSN_CZERO_EQZ)
		return b ? a : 0;
	if (id == INSN_CZERO_NEZ)
		return b ? 0 : a;
	while (zeros < 32 && !(a >> zeros & 1))
		zeros++;
	return zeros;
}

bool isa_corners_modelled(unsigned id)
{
	return id == INSN_CZERO_EQZ || id == INSN_CZERO_NEZ || id == INSN_CTZW;
}

static uint64_t word_at(const uint8_t *data, unsigned at)
{
	uint64_t value;

	memcpy(&value, data + at, sizeof value);
	return le64toh(value);
}

unsigned isa_corners_check(unsigned id, const uint8_t *data, struct isa_corner *wrong)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CASES; i++) {
		uint64_t a = word_at(data, i * QUADRUPLE), b = word_at(data, i * QUADRUPLE + 8);
		uint64_t result = word_at(data, CASES * QUADRUPLE + i * TRIPLE);

		/* Operands that are both zero may be room that was not used. */
		if (result == model(id, a, b) || !(a | b))
			continue;
		*wrong = (struct isa_corner){a, b, result, model(id, a, b)};
		count++;
	}
	return count;
}

bool isa_corners_first(const uint8_t *ours, const uint8_t *theirs, struct isa_corner *wrong)
{
	for (unsigned i = 0; i < CASES * 3; i++) {
		unsigned at = CASES * QUADRUPLE + i * 8;

		if (word_at(ours, at) == word_at(theirs, at))
			continue;
		*wrong = (struct isa_corner){word_at(ours, i / 3 * QUADRUPLE), word_at(ours, i / 3 * QUADRUPLE + 8),
					     word_at(ours, at), word_at(theirs, at)};
		return true;
	}
	return false;
}
