#include "board/elf64.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, -ENOEXEC, __VA_ARGS__)

static const struct {
	uint16_t machine;
	const char *name;
} machines[] = {
	{EM_386, "x86 (32 bit)"}, {EM_X86_64, "x86-64"}, {EM_ARM, "arm (32 bit)"}, {EM_AARCH64, "arm64"},
	{EM_PPC64, "ppc64"},      {EM_S390, "s390x"},    {EM_MIPS, "mips"},
};

static const char *machine_name(uint16_t machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (machines[i].machine == machine)
			return machines[i].name;
	return "another architecture";
}

static int check_identity(const Elf64_Ehdr *h, struct error *e)
{
	uint16_t machine = h->e_ident[EI_DATA] == ELFDATA2MSB ? be16toh(h->e_machine) : le16toh(h->e_machine);

	if (machine != EM_RISCV)
		return REFUSE(e, "is an ELF file for %s; this machine is riscv64", machine_name(machine));
	if (h->e_ident[EI_CLASS] != ELFCLASS64)
		return REFUSE(e, "is a 32 bit RISC-V ELF file; this machine is riscv64");
	if (h->e_ident[EI_DATA] != ELFDATA2LSB)
		return REFUSE(e, "is a big-endian ELF file; this machine is little-endian");
	if (le16toh(h->e_type) != ET_EXEC && le16toh(h->e_type) != ET_DYN)
		return REFUSE(e, "is an ELF file of type %u, not an executable; link it first",
			      le16toh(h->e_type));
	return 0;
}

static int read_header(const struct blob *blob, Elf64_Ehdr *h, struct error *e)
{
	uint64_t table, end;
	int r;

	memset(h, 0, sizeof *h);
	memcpy(h, blob->bytes, blob->length < sizeof *h ? blob->length : sizeof *h);
	if (blob->length < sizeof *h)
		return REFUSE(e, "is truncated within its ELF header; obtain it again");
	r = check_identity(h, e);
	if (r < 0)
		return r;
	if (le16toh(h->e_phentsize) != sizeof(Elf64_Phdr) || h->e_phnum == 0)
		return REFUSE(e, "is an ELF file without program headers: nothing in it can be loaded");
	table = le16toh(h->e_phnum) * sizeof(Elf64_Phdr);
	if (__builtin_add_overflow(le64toh(h->e_phoff), table, &end) || end > blob->length)
		return REFUSE(e, "is truncated: its ELF program headers lie beyond its end; obtain it again");
	return 0;
}

static int check_segment(const struct program_segment *s, size_t length, unsigned index, struct error *e)
{
	uint64_t end;

	if (__builtin_add_overflow(s->offset, s->file_bytes, &end) || end > length)
		return REFUSE(e, "is truncated: ELF segment %u ends beyond the file's %zu bytes; obtain it again",
			      index, length);
	if (s->file_bytes > s->memory_bytes)
		return REFUSE(e, "is damaged: ELF segment %u is larger in the file than in memory", index);
	if (__builtin_add_overflow(s->address, s->memory_bytes, &end))
		return REFUSE(e, "is damaged: ELF segment %u wraps around the end of the address space", index);
	return 0;
}

static int check_overlap(const struct program *program, const struct program_segment *s, struct error *e)
{
	for (unsigned i = 0; i < program->count; i++) {
		const struct program_segment *other = &program->segments[i];

		if (s->address < other->address + other->memory_bytes &&
		    other->address < s->address + s->memory_bytes)
			return REFUSE(
				e,
				"has overlapping ELF segments: 0x%llx to 0x%llx and 0x%llx to 0x%llx; link it "
				"again",
				(unsigned long long)other->address,
				(unsigned long long)(other->address + other->memory_bytes),
				(unsigned long long)s->address,
				(unsigned long long)(s->address + s->memory_bytes));
	}
	return 0;
}

/* The entry point is a virtual address: the segment that holds it tells the physical one. */
static bool find_entry(struct program *program, const Elf64_Phdr *p, uint64_t entry)
{
	uint64_t start = le64toh(p->p_vaddr);

	if (entry < start || entry - start >= le64toh(p->p_memsz))
		return false;
	program->entry = le64toh(p->p_paddr) + (entry - start);
	return true;
}

static int add_segment(struct program *program, const Elf64_Phdr *p, size_t length, unsigned index,
		       struct error *e)
{
	uint64_t file_bytes = le64toh(p->p_filesz);
	/* Where a segment without bytes would begin in the file means nothing. */
	struct program_segment s = {le64toh(p->p_paddr), file_bytes ? le64toh(p->p_offset) : 0, file_bytes,
				    le64toh(p->p_memsz)};
	int r = check_segment(&s, length, index, e);

	if (r < 0)
		return r;
	r = check_overlap(program, &s, e);
	if (r < 0)
		return r;
	if (program->count == PROGRAM_SEGMENTS_MAX)
		return REFUSE(e, "has more than %u loadable ELF segments; link it with fewer",
			      PROGRAM_SEGMENTS_MAX);
	program->segments[program->count++] = s;
	return 0;
}

static int read_segments(struct program *program, const struct blob *blob, const Elf64_Ehdr *h, struct error *e)
{
	bool entered = false;

	for (unsigned i = 0; i < le16toh(h->e_phnum); i++) {
		Elf64_Phdr p;
		int r;

		memcpy(&p, blob->bytes + le64toh(h->e_phoff) + i * sizeof p, sizeof p);
		if (le32toh(p.p_type) != PT_LOAD || p.p_memsz == 0)
			continue;
		r = add_segment(program, &p, blob->length, i, e);
		if (r < 0)
			return r;
		entered = entered || find_entry(program, &p, le64toh(h->e_entry));
	}
	if (!program->count)
		return REFUSE(e, "is an ELF file without loadable segments");
	if (!entered)
		return REFUSE(e, "is damaged: its ELF entry point 0x%llx is in none of its segments",
			      (unsigned long long)le64toh(h->e_entry));
	return 0;
}

int elf64_load(struct program *out, struct blob *blob, struct error *e)
{
	struct program program = {.form = "ELF"};
	Elf64_Ehdr header;
	int r = read_header(blob, &header, e);

	if (r < 0)
		return r;
	r = read_segments(&program, blob, &header, e);
	if (r < 0)
		return r;
	program.blob = *blob;
	*blob = (struct blob){0};
	*out = program;
	return 0;
}
