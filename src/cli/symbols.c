#include "cli/symbols.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"

#define TEXT_MAX     (64 * MIB)
#define PART_MAX     (256 * MIB) /* of an ELF file: the symbols, and their names */
#define SECTIONS_MAX 65535

struct symbols {
	char *text;         /* that names lie in */
	struct symbol *all; /* by address */
	size_t count;
};

/* ---- Lines of text ---- */

/* A line is `address type name` and what may follow; others are left out. */
static void take_line(struct symbols *s, char *line)
{
	char *end, *name;
	uint64_t address = strtoull(line, &end, 16);

	if (end == line || end[0] != ' ' || !strchr("tTwW", end[1]) || end[1] == '\0' || end[2] != ' ')
		return;
	name = end + 3;
	name[strcspn(name, " \t\r")] = '\0';
	s->all[s->count++] = (struct symbol){.address = address, .name = name};
}

static int read_text(struct symbols *s, const char *path, struct error *e)
{
	size_t size, lines = 1;
	uint8_t *text;
	char *save, *line;
	int r = file_read(path, TEXT_MAX, &text, &size, e);

	if (r < 0)
		return r;
	s->text = (char *)text;
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	s->all = calloc(lines, sizeof *s->all);
	if (!s->all)
		return error_errno(e, -ENOMEM, "symbols of %s", path);
	for (line = strtok_r(s->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		take_line(s, line);
	return 0;
}

/* ---- ELF ---- */

struct elf {
	int fd;
	const char *path;
	Elf64_Shdr *sections;
	unsigned section_count;
};

static int refuse(const struct elf *elf, const char *why, struct error *e)
{
	return error_set(e, ERROR_USAGE, -ENOEXEC, "%s: %s", elf->path, why);
}

static int read_at(const struct elf *elf, void *to, size_t size, uint64_t at, struct error *e)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = at + got > INT64_MAX ? 0
						 : pread(elf->fd, (char *)to + got, size - got, (off_t)(at + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(e, -errno, "%s", elf->path);
		if (n == 0)
			return refuse(elf, "the ELF file is truncated; obtain it again", e);
		got += (size_t)n;
	}
	return 0;
}

static int read_part(const struct elf *elf, const Elf64_Shdr *section, void **out, size_t *size, struct error *e)
{
	uint64_t length = le64toh(section->sh_size);
	char *bytes;
	int r;

	if (length > PART_MAX)
		return refuse(elf, "its symbol table is too large", e);
	bytes = calloc(1, length + 1);
	if (!bytes)
		return error_errno(e, -ENOMEM, "symbols of %s", elf->path);
	r = read_at(elf, bytes, length, le64toh(section->sh_offset), e);
	if (r < 0) {
		free(bytes);
		return r;
	}
	*out = bytes;
	*size = length;
	return 0;
}

static int read_sections(struct elf *elf, const Elf64_Ehdr *header, struct error *e)
{
	elf->section_count = le16toh(header->e_shnum);
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
	    le16toh(header->e_machine) != EM_RISCV)
		return refuse(elf, "the ELF file is not for riscv64", e);
	if (!elf->section_count || le16toh(header->e_shentsize) != sizeof(Elf64_Shdr))
		return refuse(elf, "the ELF file has no sections, so no symbols", e);
	elf->sections = calloc(elf->section_count, sizeof *elf->sections);
	if (!elf->sections)
		return error_errno(e, -ENOMEM, "symbols of %s", elf->path);
	return read_at(elf, elf->sections, elf->section_count * sizeof *elf->sections, le64toh(header->e_shoff),
		       e);
}

/* The full table, or that for the dynamic linker. */
static const Elf64_Shdr *find_table(const struct elf *elf)
{
	static const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};

	for (size_t t = 0; t < ARRAY_SIZE(types); t++)
		for (unsigned i = 0; i < elf->section_count; i++)
			if (le32toh(elf->sections[i].sh_type) == types[t])
				return &elf->sections[i];
	return NULL;
}

/* Functions, and labels in sections of code; not what only marks a place for tools ("$x", ".L1"). */
static bool is_code(const struct elf *elf, const Elf64_Sym *symbol, const char *name)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info), section = le16toh(symbol->st_shndx);

	if (*name == '\0' || *name == '$' || *name == '.' || section == SHN_UNDEF || section >= elf->section_count)
		return false;
	return type == STT_FUNC ||
	       (type == STT_NOTYPE && le64toh(elf->sections[section].sh_flags) & SHF_EXECINSTR);
}

static void take_symbols(struct symbols *s, const struct elf *elf, const Elf64_Sym *table, size_t count,
			 size_t text_size)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t at = le32toh(table[i].st_name);

		if (at < text_size && is_code(elf, &table[i], s->text + at))
			s->all[s->count++] = (struct symbol){.address = le64toh(table[i].st_value),
							     .size = le64toh(table[i].st_size),
							     .name = s->text + at};
	}
}

static int read_tables(struct symbols *s, const struct elf *elf, struct error *e)
{
	const Elf64_Shdr *table = find_table(elf);
	uint32_t names = table ? le32toh(table->sh_link) : 0;
	size_t size = 0, text_size = 0;
	void *bytes = NULL, *text = NULL;
	int r;

	if (!table || names >= elf->section_count)
		return refuse(elf, "the ELF file has no symbols (was it stripped?)", e);
	r = read_part(elf, table, &bytes, &size, e);
	if (r == 0)
		r = read_part(elf, &elf->sections[names], &text, &text_size, e);
	if (r == 0) {
		s->text = text; /* a NUL byte is behind it */
		s->all = calloc(size / sizeof(Elf64_Sym) + 1, sizeof *s->all);
		r = s->all ? 0 : error_errno(e, -ENOMEM, "symbols of %s", elf->path);
	}
	if (r == 0)
		take_symbols(s, elf, bytes, size / sizeof(Elf64_Sym), text_size);
	free(bytes);
	return r;
}

static bool is_elf(int fd, Elf64_Ehdr *header)
{
	return pread(fd, header, sizeof *header, 0) == (ssize_t)sizeof *header &&
	       memcmp(header->e_ident, ELFMAG, SELFMAG) == 0;
}

static int read_any(struct symbols *s, const char *path, struct error *e)
{
	struct elf elf = {.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path};
	Elf64_Ehdr header;
	int r;

	if (elf.fd < 0)
		return error_errno(e, -errno, "symbols of %s", path);
	if (is_elf(elf.fd, &header)) {
		r = read_sections(&elf, &header, e);
		if (r == 0)
			r = read_tables(s, &elf, e);
	} else {
		r = read_text(s, path, e);
	}
	free(elf.sections);
	close(elf.fd);
	return r;
}

/* At one address those come last, and are found, that have a size. */
static int compare(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->size < y->size ? -1 : x->size > y->size;
}

int symbols_read(struct symbols **out, const char *path, struct error *e)
{
	struct symbols *symbols = calloc(1, sizeof *symbols);
	int r = symbols ? read_any(symbols, path, e) : error_errno(e, -ENOMEM, "symbols of %s", path);

	if (r == 0 && symbols->count == 0)
		r = error_set(
			e, ERROR_USAGE, -EINVAL,
			"%s: no symbol of code in it; give vmlinux, System.map, or the guest's /proc/kallsyms",
			path);
	if (r < 0) {
		symbols_free(symbols);
		return r;
	}
	qsort(symbols->all, symbols->count, sizeof *symbols->all, compare);
	*out = symbols;
	return 0;
}

void symbols_free(struct symbols *symbols)
{
	if (!symbols)
		return;
	free(symbols->text);
	free(symbols->all);
	free(symbols);
}

const struct symbol *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t length)
{
	size_t low = 0, high = symbols ? symbols->count : 0;
	const struct symbol *found;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->all[middle].address <= address + length - 1)
			low = middle + 1;
		else
			high = middle;
	}
	found = low ? &symbols->all[low - 1] : NULL;
	return found && found->size && address >= found->address && address - found->address >= found->size
		       ? NULL
		       : found;
}
