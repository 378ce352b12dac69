/* Names of functions, from ELF files and from text; spots of a profile gathered into regions. */
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/regions.h"

/* An ELF file of four sections: none, code, symbols, names. */
struct file {
	Elf64_Ehdr header;
	Elf64_Shdr sections[4];
	Elf64_Sym symbols[7];
	char names[64];
};

static const struct file good = {
	.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
		   .e_type = ET_EXEC,
		   .e_machine = EM_RISCV,
		   .e_shoff = offsetof(struct file, sections),
		   .e_shentsize = sizeof(Elf64_Shdr),
		   .e_shnum = 4},
	.sections = {[1] = {.sh_type = SHT_PROGBITS, .sh_flags = SHF_EXECINSTR},
		     [2] = {.sh_type = SHT_SYMTAB,
			    .sh_offset = offsetof(struct file, symbols),
			    .sh_size = sizeof good.symbols,
			    .sh_link = 3},
		     [3] = {.sh_type = SHT_STRTAB,
			    .sh_offset = offsetof(struct file, names),
			    .sh_size = sizeof good.names}},
	/* Names begin at: main 1, start 6, $x 12, data 15, far 20. */
	.symbols = {[1] = {1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, 0x1000, 0x40},
		    [2] = {6, ELF64_ST_INFO(STB_LOCAL, STT_NOTYPE), 0, 1, 0x2000, 0},
		    [3] = {12, ELF64_ST_INFO(STB_LOCAL, STT_NOTYPE), 0, 1, 0x1010, 0},
		    [4] = {15, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), 0, 1, 0x1020, 8},
		    [5] = {20, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, UINT64_MAX - 0xfff, 0x1000},
		    [6] = {1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, SHN_UNDEF, 0x3000, 8}},
	.names = "\0main\0start\0$x\0data\0far",
};

/* The result of reading a file of these bytes. */
static int read_bytes(const void *bytes, size_t size, struct symbols **symbols, struct error *e)
{
	int fd = memfd_create("symbols", MFD_CLOEXEC), r;
	char path[40];

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	r = symbols_read(symbols, path, e);
	close(fd);
	return r;
}

static void expect(const struct symbols *symbols, uint64_t address, const char *name)
{
	const struct symbol *found = symbols_find(symbols, address, 16);

	if (!name && found)
		fail_msg("0x%llx is %s", (unsigned long long)address, found->name);
	if (name && (!found || strcmp(found->name, name) != 0))
		fail_msg("0x%llx is %s, not %s", (unsigned long long)address, found ? found->name : "nothing",
			 name);
}

static void test_elf(void **state)
{
	struct symbols *symbols;
	struct error e;

	(void)state;
	if (read_bytes(&good, sizeof good, &symbols, &e) < 0)
		fail_msg("%s", e.message);
	expect(symbols, 0xf00, NULL);
	expect(symbols, 0xff8, "main");
	expect(symbols, 0x1000, "main");
	expect(symbols, 0x1030, "main");
	expect(symbols, 0x1040, NULL);
	expect(symbols, 0x1ff0, NULL);
	expect(symbols, 0x2000, "start");
	expect(symbols, 0x3000, "start");
	expect(symbols, UINT64_MAX - 15, "far");
	symbols_free(symbols);
	expect(NULL, 0x1000, NULL);
}

static void refused(const struct file *file, size_t size, const char *why)
{
	struct error e = {.message = ""};
	struct symbols *symbols;

	if (read_bytes(file, size, &symbols, &e) == 0)
		fail_msg("a file is taken that should be refused: %s", why);
	if (!strstr(e.message, why))
		fail_msg("\"%s\" does not say \"%s\"", e.message, why);
}

static void test_elf_refused(void **state)
{
	struct file file = good;

	(void)state;
	file.header.e_machine = EM_X86_64;
	refused(&file, sizeof file, "not for riscv64");
	file = good;
	file.header.e_shnum = 0;
	refused(&file, sizeof file, "no sections");
	file = good;
	file.header.e_shoff = UINT64_MAX - 8;
	refused(&file, sizeof file, "truncated");
	file = good;
	file.sections[2].sh_type = SHT_PROGBITS;
	refused(&file, sizeof file, "stripped");
	file = good;
	file.sections[2].sh_link = 4;
	refused(&file, sizeof file, "stripped");
	file = good;
	file.sections[2].sh_size = UINT64_MAX;
	refused(&file, sizeof file, "too large");
	file = good;
	file.sections[3].sh_offset = 1 << 20;
	refused(&file, sizeof file, "truncated");
	file = good;
	refused(&file, sizeof file.header + 10, "truncated");
	for (size_t i = 0; i < ARRAY_SIZE(file.symbols); i++)
		file.symbols[i].st_name = 64;
	refused(&file, sizeof file, "no symbol of code");
}

static void test_text(void **state)
{
	static const char text[] = "ffffffff80000000 T _start\n"
				   "ffffffff80000100 t late\t[module]\n"
				   "ffffffff80000200 D data\n"
				   "nonsense\n"
				   "ffffffff80000300 W weak\r\n"
				   "ffffffff80000400 T";
	struct symbols *symbols;
	struct error e;

	(void)state;
	if (read_bytes(text, sizeof text - 1, &symbols, &e) < 0)
		fail_msg("%s", e.message);
	expect(symbols, 0x1000, NULL);
	expect(symbols, 0xffffffff80000010, "_start");
	expect(symbols, 0xffffffff80000210, "late");
	expect(symbols, 0xffffffff80000400, "weak");
	symbols_free(symbols);
	assert_int_equal(read_bytes("what\n", 5, &symbols, &e), -EINVAL);
	assert_int_equal(symbols_read(&symbols, "/no/such/file", &e), -ENOENT);
}

static void test_regions(void **state)
{
	static const struct profile_spot spots[] = {
		{0x1000, 10, PRIV_U}, {0x1030, 20, PRIV_U}, {0x1040, 5, PRIV_U},
		{0x1050, 6, PRIV_U},  {0x2000, 50, PRIV_U}, {0x1000, 9, PRIV_S},
	};
	struct symbols *symbols;
	struct region *regions;
	size_t count;
	struct error e;

	(void)state;
	assert_int_equal(read_bytes(&good, sizeof good, &symbols, &e), 0);
	regions = regions_make(symbols, spots, ARRAY_SIZE(spots), &count);
	assert_int_equal(count, 4);
	assert_string_equal(regions[0].name, "start");
	assert_string_equal(regions[1].name, "main");
	assert_int_equal(regions[1].instructions, 30);
	assert_int_equal(regions[1].priv, PRIV_U);
	assert_null(regions[2].name);
	assert_int_equal(regions[2].address, 0x1000);
	assert_int_equal(regions[2].instructions, 11);
	assert_int_equal(regions[3].priv, PRIV_S);
	free(regions);
	symbols_free(symbols);
	regions = regions_make(NULL, spots, ARRAY_SIZE(spots), &count);
	assert_int_equal(count, 3);
	free(regions);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf),
		cmocka_unit_test(test_elf_refused),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
