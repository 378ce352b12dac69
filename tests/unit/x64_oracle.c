#include "x64_oracle.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define ROOM (UINT64_C(4) << 20)

struct line {
	char *text;
	size_t offset;
	bool only_read;
};

static bool available(void)
{
	return system("objdump --version >/dev/null 2>&1 && as --version >/dev/null 2>&1") == 0;
}

void oracle_begin(struct oracle *o)
{
	if (!available())
		skip();
	*o = (struct oracle){.start = aligned_alloc(64, ROOM)};
	assert_non_null(o->start);
	o->a = x64_begin(o->start, ROOM, o->start);
}

size_t oracle_pending(const struct oracle *o)
{
	size_t taken = o->count ? o->lines[o->count].offset : 0;

	return (size_t)(o->a.at - o->start) - taken;
}

/* lines[count].offset is where the next one begins. */
static void add_line(struct oracle *o, char *text, bool only_read)
{
	if (o->count + 2 > o->room) {
		o->room = 2 * o->room + 64;
		o->lines = realloc(o->lines, o->room * sizeof(*o->lines));
		assert_non_null(o->lines);
	}
	if (o->count == 0)
		o->lines[0].offset = 0;
	o->lines[o->count].text = text;
	o->lines[o->count].only_read = only_read;
	o->count++;
	o->lines[o->count].offset = (size_t)(o->a.at - o->start);
}

PRINTF_LIKE(1, 0) static char *format_text(const char *format, va_list arguments)
{
	char *text;

	assert_true(vasprintf(&text, format, arguments) > 0);
	return text;
}

void oracle_wants(struct oracle *o, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add_line(o, format_text(format, arguments), false);
	va_end(arguments);
}

void oracle_wants_only_read(struct oracle *o, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add_line(o, format_text(format, arguments), true);
	va_end(arguments);
}

/* ---- Names ---- */

const char *reg_name(unsigned int size, enum x64_reg reg)
{
	static const char names[4][16][5] = {
		{"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b", "r13b",
		 "r14b", "r15b"},
		{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w", "r13w",
		 "r14w", "r15w"},
		{"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d",
		 "r13d", "r14d", "r15d"},
		{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
		 "r14", "r15"},
	};

	return names[__builtin_ctz(size)][reg];
}

const char *xmm_name(enum x64_xmm reg)
{
	static const char names[16][6] = {"xmm0", "xmm1", "xmm2",  "xmm3",  "xmm4",  "xmm5",  "xmm6",  "xmm7",
					  "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"};

	return names[reg];
}

uint64_t imm_shown(unsigned int size, int32_t imm)
{
	uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;

	return (uint64_t)(int64_t)imm & mask;
}

/* The rewriting of an index without a base that the assembler is to find. */
static struct x64_mem rewritten(struct x64_mem mem)
{
	if (mem.base != X64_NONE || mem.index == X64_NONE || mem.scale > 2)
		return mem;
	return mem.scale == 1 ? x64_at(mem.index, mem.disp) : x64_at_index(mem.index, mem.index, 1, mem.disp);
}

static int put_displacement(char *out, size_t room, struct x64_mem mem)
{
	/* A base that cannot go without shows a displacement of zero, and so does a lone index. */
	bool shown = mem.disp != 0 || mem.base == X64_NONE || (mem.base & 7) == X64_RBP;
	int64_t disp = mem.disp;

	if (!shown)
		return 0;
	return snprintf(out, room, "%c0x%" PRIx64, disp < 0 ? '-' : '+', (uint64_t)(disp < 0 ? -disp : disp));
}

static void put_address(char *out, size_t room, struct x64_mem mem)
{
	bool has_base = mem.base != X64_NONE, has_index = mem.index != X64_NONE;
	size_t n = 0;

	if (!has_base && !has_index) {
		snprintf(out, room, "ds:0x%" PRIx64, (uint64_t)(int64_t)mem.disp);
		return;
	}
	n += (size_t)snprintf(out, room, "[%s", has_base ? reg_name(8, mem.base) : "");
	if (has_index)
		n += (size_t)snprintf(out + n, room - n, "%s%s*%u", has_base ? "+" : "", reg_name(8, mem.index),
				      mem.scale);
	n += (size_t)put_displacement(out + n, room - n, mem);
	snprintf(out + n, room - n, "]");
}

static char *next_buffer(void)
{
	static char buffers[8][64];
	static unsigned int next;

	return buffers[next++ % 8];
}

const char *address_name(struct x64_mem mem)
{
	char *out = next_buffer();

	put_address(out, 64, rewritten(mem));
	return out;
}

const char *mem_name(unsigned int size, struct x64_mem mem)
{
	static const char *const words[] = {
		[1] = "BYTE", [2] = "WORD", [4] = "DWORD", [8] = "QWORD", [16] = "XMMWORD"};
	char *out = next_buffer();
	int n = snprintf(out, 64, "%s PTR ", words[size]);

	put_address(out + n, 64 - (size_t)n, rewritten(mem));
	return out;
}

/* ---- Memory operands ---- */

static const int32_t displacements[] = {0, 1, -1, 127, -128, 128, -129, INT32_MAX, INT32_MIN};
enum { BASES = 17, INDEXES = 16, SCALES = 4, DISPLACEMENTS = sizeof(displacements) / sizeof(displacements[0]) };

size_t oracle_mem_count_all(void)
{
	return (size_t)BASES * INDEXES * SCALES * DISPLACEMENTS;
}

struct x64_mem oracle_mem_of_all(size_t i)
{
	enum x64_reg base = (enum x64_reg)(i % BASES);
	enum x64_reg index = (enum x64_reg)(i / BASES % INDEXES);
	uint8_t scale = (uint8_t)(1 << i / BASES / INDEXES % SCALES);

	if (index == X64_RSP) {
		index = X64_NONE;
		scale = 1;
	}
	return x64_at_index(base, index, scale, displacements[i / BASES / INDEXES / SCALES]);
}

static const struct x64_mem few[] = {
	{X64_RAX, X64_NONE, 1, 0},   {X64_RSP, X64_NONE, 1, 0},       {X64_RBP, X64_NONE, 1, 0},
	{X64_RDI, X64_NONE, 1, -8},  {X64_R8, X64_NONE, 1, 0x1000},   {X64_R12, X64_NONE, 1, 0},
	{X64_R13, X64_NONE, 1, 0},   {X64_R15, X64_NONE, 1, -0x1000}, {X64_RBX, X64_R14, 4, 8},
	{X64_R9, X64_RCX, 8, 0},     {X64_R13, X64_R13, 1, 0},        {X64_NONE, X64_R10, 8, 0x10},
	{X64_NONE, X64_RSI, 1, 0x8}, {X64_NONE, X64_R11, 2, 0},       {X64_NONE, X64_NONE, 1, 0x1234},
};

size_t oracle_mem_count_few(void)
{
	return sizeof(few) / sizeof(few[0]);
}

struct x64_mem oracle_mem_of_few(size_t i)
{
	return few[i];
}

/* ---- The comparison ---- */

struct files {
	char directory[64];
	char code[96], source[96], object[96];
};

static FILE *create(const char *path)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	return f;
}

static void write_files(const struct oracle *o, const struct files *files)
{
	FILE *code = create(files->code), *source = create(files->source);
	size_t size = (size_t)(o->a.at - o->start);

	assert_true(fwrite(o->start, 1, size, code) == size);
	fprintf(source, ".intel_syntax noprefix\n");
	for (size_t i = 0; i < o->count; i++)
		fprintf(source, "%s\n", o->lines[i].only_read ? "nop" : o->lines[i].text);
	assert_int_equal(fclose(code), 0);
	assert_int_equal(fclose(source), 0);
}

PRINTF_LIKE(1, 2) static FILE *run(const char *format, ...)
{
	char command[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	FILE *pipe = popen(command, "re");

	assert_non_null(pipe);
	return pipe;
}

/* "  1f:\tadd    eax,0x5   # comment" to an offset and "add eax,0x5"; false for other lines. */
static bool parse(char *line, size_t *offset, char *text)
{
	char *rest;
	size_t n = 0;

	*offset = strtoul(line, &rest, 16);
	if (rest == line || rest[0] != ':' || rest[1] != '\t')
		return false;
	for (const char *p = rest + 2; *p && *p != '\n' && *p != '#'; p++)
		if (*p != ' ' || (n > 0 && text[n - 1] != ' '))
			text[n++] = *p;
	while (n > 0 && text[n - 1] == ' ')
		n--;
	text[n] = 0;
	return true;
}

/* The next instruction that objdump printed. */
static bool next_read(FILE *from, size_t *offset, char text[256])
{
	char line[256];

	while (fgets(line, sizeof(line), from))
		if (parse(line, offset, text))
			return true;
	return false;
}

static unsigned int compare_reading(const struct oracle *o, const struct files *files)
{
	FILE *from = run("objdump -D -z -b binary -m i386:x86-64 -M intel --no-show-raw-insn %s", files->code);
	unsigned int bad = 0;
	char text[256];
	size_t offset, i = 0;

	for (; i < o->count && bad < 20; i++) {
		const struct line *line = &o->lines[i];

		if (!next_read(from, &offset, text))
			break;
		if (offset == line->offset && strcmp(text, line->text) == 0)
			continue;
		print_error("wanted '%s' at %zx, objdump reads '%s' at %zx\n", line->text, line->offset, text,
			    offset);
		bad++;
	}
	if (bad == 0 && (i < o->count || next_read(from, &offset, text))) {
		print_error("wanted %zu instructions, objdump reads %zu or more\n", o->count, i);
		bad++;
	}
	while (next_read(from, &offset, text))
		;
	pclose(from);
	return bad;
}

static unsigned int compare_lengths(const struct oracle *o, const struct files *files)
{
	unsigned int bad = 0;
	char text[256];
	size_t offset, next = 0;

	assert_int_equal(pclose(run("as --no-warn -o %s %s", files->object, files->source)), 0);
	FILE *from = run("objdump -d -z -M intel --no-show-raw-insn %s", files->object);
	bool more = next_read(from, &offset, text);

	for (size_t i = 0; i + 1 < o->count; i++, offset = next) {
		assert_true(more);
		more = next_read(from, &next, text);
		size_t ours = o->lines[i + 1].offset - o->lines[i].offset;

		if (o->lines[i].only_read || ours <= next - offset || ++bad > 20)
			continue;
		print_error("'%s' took %zu bytes, as needs %zu\n", o->lines[i].text, ours, next - offset);
	}
	pclose(from);
	return bad;
}

static void name_files(struct files *files)
{
	snprintf(files->directory, sizeof(files->directory), "/tmp/doppel-x64-XXXXXX");
	assert_non_null(mkdtemp(files->directory));
	snprintf(files->code, sizeof(files->code), "%s/code", files->directory);
	snprintf(files->source, sizeof(files->source), "%s/code.s", files->directory);
	snprintf(files->object, sizeof(files->object), "%s/code.o", files->directory);
}

static void remove_files(const struct files *files)
{
	unlink(files->code);
	unlink(files->source);
	unlink(files->object);
	rmdir(files->directory);
}

void oracle_end(struct oracle *o)
{
	struct files files;

	assert_false(o->a.overflow);
	assert_int_equal(oracle_pending(o), 0);
	name_files(&files);
	write_files(o, &files);
	unsigned int bad = compare_reading(o, &files) + compare_lengths(o, &files);

	remove_files(&files);
	for (size_t i = 0; i < o->count; i++)
		free(o->lines[i].text);
	free(o->lines);
	free(o->start);
	assert_int_equal(bad, 0);
}
