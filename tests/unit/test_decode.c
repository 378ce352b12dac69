/*
 * The decoder: against its own table, and against binutils' disassembler, which knows nothing of it. Compressed
 * instructions are tried exhaustively: what each halfword says there must be what its expansion says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "riscv/decode.h"

#define NO_WORD 0x0000000bu /* custom-0: no instruction here and none to binutils */
#define TEXT    128
#define ARCH    "rv64gc_zba_zbb_zbc_zbs_zfh_zicbom_zicboz_svinval_zihintpause"

static uint64_t next_random(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return state >> 32 | state << 32;
}

/* The disassembly of `count` words at addresses 0, 4, ...: TEXT characters each, mnemonic, blank, operands. Empty for
 * what is no instruction. NULL when there are no binutils for this architecture. */
static char *disassemble(const uint32_t *words, unsigned count)
{
	char directory[] = "/tmp/doppel-decode-XXXXXX", path[64], command[1024], line[256];
	char *texts = calloc(count, TEXT);
	FILE *file;

	assert_non_null(texts);
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/words", directory);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(words, sizeof *words, count, file), count);
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof command,
		 "cd %s && echo '.incbin \"words\"' >w.s && "
		 "riscv64-linux-gnu-as -march=" ARCH " w.s -o w.o && riscv64-linux-gnu-ld -s -Ttext=0 -e0 w.o -o w && "
		 "riscv64-linux-gnu-objdump -d -z -M numeric,no-aliases w; rm -r %s",
		 directory, directory);
	file = popen(command, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		char mnemonic[40] = "", operands[80] = "";
		unsigned long address;

		if (sscanf(line, " %lx: %*x %39s %79s", &address, mnemonic, operands) < 2 || address % 4 ||
		    address / 4 >= count || mnemonic[0] == '.' || strstr(mnemonic, "unimp"))
			continue;
		snprintf(texts + address / 4 * TEXT, TEXT, "%s %s", mnemonic, operands);
	}
	assert_int_equal(pclose(file), 0);
	return texts;
}

static bool have_binutils(void)
{
	return system("riscv64-linux-gnu-as --version >/dev/null 2>&1 && "
		      "riscv64-linux-gnu-objdump --version >/dev/null 2>&1") == 0;
}

/* How the disassembler writes a compressed instruction and what it stands for; 1, 2 and 3 are its operands. */
static const struct {
	const char *name, *meaning;
} expansions[] = {
	{"c.addi4spn", "addi 1,2,3"}, {"c.fld", "fld 1,2"}, {"c.lw", "lw 1,2"}, {"c.ld", "ld 1,2"},
	{"c.fsd", "fsd 1,2"}, {"c.sw", "sw 1,2"}, {"c.sd", "sd 1,2"}, {"c.addi", "addi 1,1,2"},
	{"c.addiw", "addiw 1,1,2"}, {"c.li", "addi 1,x0,2"}, {"c.addi16sp", "addi 1,1,2"}, {"c.lui", "lui 1,2"},
	{"c.srli", "srli 1,1,2"}, {"c.srai", "srai 1,1,2"}, {"c.andi", "andi 1,1,2"}, {"c.sub", "sub 1,1,2"},
	{"c.xor", "xor 1,1,2"}, {"c.or", "or 1,1,2"}, {"c.and", "and 1,1,2"}, {"c.subw", "subw 1,1,2"},
	{"c.addw", "addw 1,1,2"}, {"c.j", "jal x0,1"}, {"c.beqz", "beq 1,x0,2"}, {"c.bnez", "bne 1,x0,2"},
	{"c.slli", "slli 1,1,2"}, {"c.slli64", "slli 1,1,0x0"}, {"c.srli64", "srli 1,1,0x0"},
	{"c.srai64", "srai 1,1,0x0"}, {"c.fldsp", "fld 1,2"}, {"c.lwsp", "lw 1,2"}, {"c.ldsp", "ld 1,2"},
	{"c.fsdsp", "fsd 1,2"}, {"c.swsp", "sw 1,2"}, {"c.sdsp", "sd 1,2"}, {"c.jr", "jalr x0,0(1)"},
	{"c.jalr", "jalr x1,0(1)"}, {"c.mv", "add 1,x0,2"}, {"c.add", "add 1,1,2"}, {"c.ebreak", "ebreak "},
	{"c.nop", "addi x0,x0,1"},
};

static const char *meaning_of(const char *mnemonic)
{
	for (unsigned i = 0; i < ARRAY_SIZE(expansions); i++)
		if (strcmp(expansions[i].name, mnemonic) == 0)
			return expansions[i].meaning;
	return NULL;
}

/* "c.addi x1,5" becomes "addi x1,x1,5". */
static void expand_text(const char *text, char *out)
{
	char mnemonic[TEXT] = "", operands[TEXT] = "", *part[3] = {operands, operands, operands};
	const char *meaning;

	out[0] = '\0';
	if (sscanf(text, "%127s %127s", mnemonic, operands) < 1)
		return;
	meaning = meaning_of(mnemonic);
	if (!meaning) {
		fail_msg("'%s' is unknown to the test", text);
		return;
	}
	for (unsigned i = 1; i < 3 && (part[i] = strchr(part[i - 1], ',')); i++)
		*part[i]++ = '\0';
	if (strcmp(mnemonic, "c.nop") == 0 && !operands[0])
		strcpy(operands, "0");
	while (*meaning && *meaning != ' ')
		*out++ = *meaning++;
	for (; *meaning; meaning++) {
		bool operand = *meaning >= '1' && *meaning <= '3' && meaning[-1] != 'x';

		out += snprintf(out, 40, operand ? "%s" : "%.1s", operand ? part[*meaning - '1'] : meaning);
	}
	*out = '\0';
}

static void compressed_match_binutils(void **state)
{
	static uint32_t halves[0x10000], words[0x10000];
	char *compressed, *expanded, text[3 * TEXT];
	unsigned count = 0, legal = 0;

	(void)state;
	if (!have_binutils())
		skip();
	for (uint32_t half = 0; half < 0x10000; half++) {
		uint32_t word = insn_expand((uint16_t)half);

		if ((half & 3) == 3) {
			assert_int_equal(word, 0);
			continue;
		}
		halves[count] = half | 0x00010000; /* a c.nop behind it */
		words[count++] = word ? word : NO_WORD;
	}
	compressed = disassemble(halves, count);
	expanded = disassemble(words, count);
	for (unsigned i = 0; i < count; i++) {
		expand_text(compressed + i * TEXT, text);
		/* c.addi16sp of 0 is reserved (Unprivileged 16.5), which binutils do not check. */
		if (halves[i] == 0x00016101)
			text[0] = '\0';
		if (strcmp(text, expanded + i * TEXT) != 0)
			fail_msg("%04x is '%s', hence '%s', but expands to %08x, which is '%s'", halves[i] & 0xffff,
				 compressed + i * TEXT, text, words[i], expanded + i * TEXT);
		legal += text[0] != '\0';
	}
	assert_true(legal > 40000);
	free(compressed);
	free(expanded);
}

/* Operands as the disassembler writes them: d, 1 and 2 are x registers, D, A and B f registers, i and h the immediate in
 * decimal and hexadecimal, u its upper 20 bits, t the address that it leads to. */
static const char *const shapes[] = {
	[INSN_FORMAT_R] = "d,1,2",     [INSN_FORMAT_R1] = "d,1",     [INSN_FORMAT_I] = "d,1,i",
	[INSN_FORMAT_S] = "2,i(1)",    [INSN_FORMAT_B] = "1,2,t",    [INSN_FORMAT_U] = "d,u",
	[INSN_FORMAT_J] = "d,t",       [INSN_FORMAT_SH6] = "d,1,h",  [INSN_FORMAT_SH5] = "d,1,h",
	[INSN_FORMAT_FLOAD] = "D,i(1)", [INSN_FORMAT_FSTORE] = "B,i(1)", [INSN_FORMAT_F2] = "D,A,B",
	[INSN_FORMAT_FCMP] = "d,A,B",  [INSN_FORMAT_FTOX] = "d,A",   [INSN_FORMAT_XTOF] = "D,1",
	[INSN_FORMAT_XTOFRM] = NULL,
};

static const char *shape_of(const struct insn *insn)
{
	const struct insn_info *info = &insn_table[insn->id];

	if (info->flags & INSN_ATOMIC)
		return insn->id == INSN_LR_W || insn->id == INSN_LR_D ? "d,(1)" : "d,2,(1)";
	if ((info->flags & INSN_LOAD) && info->format == INSN_FORMAT_I)
		return "d,i(1)";
	return insn->id == INSN_JALR ? "d,i(1)" : shapes[info->format];
}

/* Empty for the formats that are not compared. */
static void operand_text(const struct insn *insn, uint32_t address, char *out)
{
	const char *shape = shape_of(insn);
	unsigned long long target = address + (unsigned long long)insn->imm;

	*out = '\0';
	for (; shape && *shape; shape++, out += strlen(out)) {
		switch (*shape) {
		case 'd':
		case 'D':
			sprintf(out, "%c%u", *shape == 'd' ? 'x' : 'f', insn->rd);
			break;
		case '1':
		case 'A':
			sprintf(out, "%c%u", *shape == '1' ? 'x' : 'f', insn->rs1);
			break;
		case '2':
		case 'B':
			sprintf(out, "%c%u", *shape == '2' ? 'x' : 'f', insn->rs2);
			break;
		case 'i':
			sprintf(out, "%d", insn->imm);
			break;
		case 'h':
		case 'u':
			sprintf(out, "0x%x", *shape == 'h' ? (uint32_t)insn->imm : (uint32_t)insn->imm >> 12);
			break;
		case 't':
			sprintf(out, "0x%llx", target);
			break;
		default:
			sprintf(out, "%c", *shape);
		}
	}
}

/* Conversions that are always exact: the rounding mode has no meaning, and binutils want it to be 0. */
static bool exact_conversion(unsigned id)
{
	return id == INSN_FCVT_D_W || id == INSN_FCVT_D_WU || id == INSN_FCVT_D_S || id == INSN_FCVT_D_H ||
	       id == INSN_FCVT_S_H;
}

/* Where the two may differ: reserved fields of fences, which hardware must ignore; what binutils check otherwise. */
static bool known_difference(uint32_t word, unsigned id, const char *theirs)
{
	unsigned rm = word >> 12 & 7;

	if (id == INSN_FENCE || id == INSN_FENCE_I || id == INSN_CZERO_EQZ || id == INSN_CZERO_NEZ)
		return theirs[0] == '\0' || strncmp(theirs, "fence", 5) == 0;
	if (exact_conversion(id))
		return theirs[0] == '\0';
	return id == INSN_ILLEGAL && theirs[0] == 'f' && (rm == 5 || rm == 6);
}

static void compare_word(uint32_t word, uint32_t address, const char *theirs)
{
	struct insn insn = insn_decode(word);
	char mnemonic[TEXT] = "", operands[TEXT] = "", *suffix, expected[TEXT];

	if (known_difference(word, insn.id, theirs))
		return;
	sscanf(theirs, "%127s %127s", mnemonic, operands);
	if ((insn_table[insn.id].flags & INSN_ATOMIC) && (suffix = strpbrk(mnemonic, ".")) &&
	    (suffix = strpbrk(suffix + 1, ".")))
		*suffix = '\0';
	if (strcmp(insn.id ? insn_table[insn.id].mnemonic : "", mnemonic) != 0)
		fail_msg("%08x: '%s', binutils '%s'", word, insn_table[insn.id].mnemonic, theirs);
	operand_text(&insn, address, expected);
	if (expected[0] && strcmp(expected, operands) != 0)
		fail_msg("%08x %s: '%s', binutils '%s'", word, mnemonic, expected, operands);
}

/* Words of each entry with any operands, and words without any plan. */
static void words_match_binutils(void **state)
{
	enum { EACH = 64, PLAIN = 150000 };
	static uint32_t words[INSN_IDS * EACH + PLAIN];
	unsigned count = 0;
	char *texts;

	(void)state;
	if (!have_binutils())
		skip();
	for (unsigned id = 1; id < INSN_IDS; id++)
		for (unsigned i = 0; i < EACH; i++)
			words[count++] = insn_table[id].match | ((uint32_t)next_random() & ~insn_table[id].mask);
	for (unsigned i = 0; i < PLAIN; i++) {
		words[count] = (uint32_t)next_random() | 3;
		/* Longer instructions would hide those behind them. */
		if ((words[count] & 0x1f) == 0x1f)
			words[count] &= ~8u;
		count++;
	}
	texts = disassemble(words, count);
	for (unsigned i = 0; i < count; i++)
		compare_word(words[i], i * 4, texts + i * TEXT);
	free(texts);
}

static bool fixed_rounding(const struct insn_info *info)
{
	return !(info->flags & INSN_FLOAT) || (info->mask & 0x7000) || info->format == INSN_FORMAT_FLOAD ||
	       info->format == INSN_FORMAT_FSTORE;
}

/* An entry may be hidden only by one that stands before it and fixes more. */
static void entries_decode_to_themselves(void **state)
{
	(void)state;
	for (unsigned id = 1; id < INSN_IDS; id++) {
		const struct insn_info *info = &insn_table[id];

		assert_int_equal(info->match & ~info->mask, 0);
		assert_int_equal(info->match & 3, 3);
		for (unsigned i = 0; i < 200; i++) {
			uint32_t word = info->match | ((uint32_t)next_random() & ~info->mask);
			struct insn insn = insn_decode(word);
			unsigned rm = word >> 12 & 7;
			bool reserved = !fixed_rounding(info) && (rm == 5 || rm == 6);
			unsigned expected = reserved ? (unsigned)INSN_ILLEGAL : id;

			if (insn.id != expected && !(insn_table[insn.id].mask & ~info->mask))
				fail_msg("%08x of %s decodes to %s", word, info->mnemonic,
					 insn_table[insn.id].mnemonic);
			assert_int_equal(insn.length, 4);
			assert_int_equal(insn.raw, word);
		}
	}
}

static void reserved_encodings_are_illegal(void **state)
{
	static const uint32_t words[] = {
		0x00000000, 0xffffffff, 0x0000000b, 0x0000007f, 0x0000003f, 0x0000001f,
		0x0200101b, /* slliw by 32 */
		0x0200501b, /* srliw by 32 */
		0x04001013, /* slli with bit 26 */
		0x00002063, 0x00003063, /* branches with funct3 2 and 3 */
		0x00001067, /* jalr with funct3 1 */
		0x00007003, /* a load of funct3 7 */
		0x00004023, /* a store of funct3 4 */
		0x1010202f, /* lr.w with rs2 */
		0x0000002f, /* an AMO of funct3 0 */
		0x00005053, /* fadd.s in rounding mode 5 */
		0x00006053, /* fadd.s in rounding mode 6 */
		0x06000053, /* fadd.q */
		0x58100053, /* fsqrt.s with rs2 */
		0x40000053, /* fcvt.s.s */
		0xc0400053, /* fcvt with rs2 4 */
		0x00004073, /* CSR of funct3 4 */
		0x00200073, /* uret */
		0x10200173, /* sret with rd */
		0x0050200f, /* cbo of number 5 */
		0x60301013, /* between cpop and sext.b */
		0x6b005013, /* rev8 of RV32's shape */
		0x0810403b, /* zext.h with rs2: pack */
		0x00000057, 0x0000006b, 0x00000077, /* OP-V and reserved opcodes */
	};
	static const uint16_t halves[] = {
		0x0000, 0x0004, 0x2001, 0x6081, 0x6101, 0x8002, 0x9c41, 0x9c61, 0x4002, 0x6002, 0x8000, 0x9ffd,
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (insn_decode(words[i]).id != INSN_ILLEGAL)
			fail_msg("%08x decodes to %s", words[i], insn_table[insn_decode(words[i]).id].mnemonic);
	for (unsigned i = 0; i < ARRAY_SIZE(halves); i++) {
		struct insn insn = insn_decode(halves[i] | 0xabcd0000);

		if (insn.id != INSN_ILLEGAL)
			fail_msg("%04x decodes to %s", halves[i], insn_table[insn.id].mnemonic);
		assert_int_equal(insn.length, 2);
		assert_int_equal(insn.raw, halves[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_decode_to_themselves),
		cmocka_unit_test(reserved_encodings_are_illegal),
		cmocka_unit_test(compressed_match_binutils),
		cmocka_unit_test(words_match_binutils),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
