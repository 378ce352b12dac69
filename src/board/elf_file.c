#include "board/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "board/multiboot.h"

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, -ENOEXEC, __VA_ARGS__)

static const struct {
	uint16_t machine;
	const char *name;
} machines[] = {
	{EM_386, "x86 (32 bit)"}, {EM_X86_64, "x86-64"}, {EM_ARM, "arm (32 bit)"}, {EM_AARCH64, "arm64"},
	{EM_RISCV, "riscv"},      {EM_PPC64, "ppc64"},   {EM_S390, "s390x"},       {EM_MIPS, "mips"},
};

static const char *machine_name(uint16_t machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		if (machines[i].machine == machine)
			return machines[i].name;
	return "another architecture";
}

/* What the two classes have in common, in the host's byte order. */
struct header {
	bool wide; /* of 64 bits */
	uint16_t type, entry_size, entries;
	uint64_t table, entry;
};

struct segment_header {
	uint32_t type;
	uint64_t offset, virtual, physical, file_bytes, memory_bytes;
};

static int wrong_machine(uint16_t machine, enum engine_arch arch, struct error *e)
{
	return REFUSE(e, "is an ELF file for %s; this machine is %s", machine_name(machine),
		      engine_arch_name(arch));
}

/* Which classes an architecture takes: one of 32 bits can only be a multiboot kernel for x86. */
static int check_identity(const Elf64_Ehdr *h, enum engine_arch arch, struct error *e)
{
	bool wide = h->e_ident[EI_CLASS] == ELFCLASS64;
	uint16_t machine = h->e_ident[EI_DATA] == ELFDATA2MSB ? be16toh(h->e_machine) : le16toh(h->e_machine);

	if (arch == ENGINE_RISCV64) {
		if (machine != EM_RISCV)
			return wrong_machine(machine, arch, e);
		if (!wide)
			return REFUSE(e, "is a 32 bit RISC-V ELF file; this machine is riscv64");
	} else if (machine != (wide ? EM_X86_64 : EM_386)) {
		return wrong_machine(machine, arch, e);
	}
	if (h->e_ident[EI_DATA] != ELFDATA2LSB)
		return REFUSE(e, "is a big-endian ELF file; this machine is little-endian");
	if (le16toh(h->e_type) != ET_EXEC && le16toh(h->e_type) != ET_DYN)
		return REFUSE(e, "is an ELF file of type %u, not an executable; link it first",
			      le16toh(h->e_type));
	return 0;
}

static struct header parse_header(const Elf64_Ehdr *wide)
{
	Elf32_Ehdr narrow;

	if (wide->e_ident[EI_CLASS] == ELFCLASS64)
		return (struct header){true,
				       le16toh(wide->e_type),
				       le16toh(wide->e_phentsize),
				       le16toh(wide->e_phnum),
				       le64toh(wide->e_phoff),
				       le64toh(wide->e_entry)};
	memcpy(&narrow, wide, sizeof narrow);
	return (struct header){false,
			       le16toh(narrow.e_type),
			       le16toh(narrow.e_phentsize),
			       le16toh(narrow.e_phnum),
			       le32toh(narrow.e_phoff),
			       le32toh(narrow.e_entry)};
}

static int read_header(const struct blob *blob, enum engine_arch arch, struct header *out, struct error *e)
{
	uint64_t end, entry;
	Elf64_Ehdr h = {0};
	int r;

	memcpy(&h, blob->bytes, blob->length < sizeof h ? blob->length : sizeof h);
	if (blob->length < sizeof h)
		return REFUSE(e, "is truncated within its ELF header; obtain it again");
	r = check_identity(&h, arch, e);
	if (r < 0)
		return r;
	*out = parse_header(&h);
	entry = out->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (out->entry_size != entry || out->entries == 0)
		return REFUSE(e, "is an ELF file without program headers: nothing in it can be loaded");
	if (__builtin_add_overflow(out->table, out->entries * entry, &end) || end > blob->length)
		return REFUSE(e, "is truncated: its ELF program headers lie beyond its end; obtain it again");
	return 0;
}

static struct segment_header read_segment(const struct blob *blob, const struct header *h, unsigned index)
{
	const uint8_t *at = blob->bytes + h->table + (size_t)index * h->entry_size;
	Elf32_Phdr narrow;
	Elf64_Phdr wide;

	if (h->wide) {
		memcpy(&wide, at, sizeof wide);
		return (struct segment_header){le32toh(wide.p_type),   le64toh(wide.p_offset),
					       le64toh(wide.p_vaddr),  le64toh(wide.p_paddr),
					       le64toh(wide.p_filesz), le64toh(wide.p_memsz)};
	}
	memcpy(&narrow, at, sizeof narrow);
	return (struct segment_header){le32toh(narrow.p_type),  le32toh(narrow.p_offset), le32toh(narrow.p_vaddr),
				       le32toh(narrow.p_paddr), le32toh(narrow.p_filesz), le32toh(narrow.p_memsz)};
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
static bool find_entry(struct program *program, const struct segment_header *p, uint64_t entry)
{
	if (entry < p->virtual || entry - p->virtual >= p->memory_bytes)
		return false;
	program->entry = p->physical + (entry - p->virtual);
	return true;
}

static int add_segment(struct program *program, const struct segment_header *p, size_t length, unsigned index,
		       struct error *e)
{
	/* Where a segment without bytes would begin in the file means nothing. */
	struct program_segment s = {p->physical, p->file_bytes ? p->offset : 0, p->file_bytes, p->memory_bytes};
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

/* *entered: the header's entry point is in one of them. */
static int read_segments(struct program *program, const struct blob *blob, const struct header *h, bool *entered,
			 struct error *e)
{
	for (unsigned i = 0; i < h->entries; i++) {
		struct segment_header p = read_segment(blob, h, i);
		int r;

		if (p.type != PT_LOAD || p.memory_bytes == 0)
			continue;
		r = add_segment(program, &p, blob->length, i, e);
		if (r < 0)
			return r;
		*entered = *entered || find_entry(program, &p, h->entry);
	}
	if (!program->count)
		return REFUSE(e, "is an ELF file without loadable segments");
	return 0;
}

static int no_entry(const char *what, uint64_t entry, struct error *e)
{
	return REFUSE(e, "is damaged: its %s 0x%llx is in none of its segments", what, (unsigned long long)entry);
}

#define NOTE_PVH       18 /* Xen, elfnote.h: XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTE_ALIGNMENT UINT64_C(4)

/* Whether the notes in these bytes name the entry point. */
static bool find_pvh(const uint8_t *bytes, size_t length, uint64_t *entry)
{
	for (size_t at = 0; length - at >= sizeof(Elf64_Nhdr);) {
		uint64_t name, description, next;
		le32_t value;
		Elf64_Nhdr note;

		memcpy(&note, bytes + at, sizeof note);
		name = at + sizeof note;
		description = name +
			      (((uint64_t)le32toh(note.n_namesz) + NOTE_ALIGNMENT - 1) & ~(NOTE_ALIGNMENT - 1));
		next = description +
		       (((uint64_t)le32toh(note.n_descsz) + NOTE_ALIGNMENT - 1) & ~(NOTE_ALIGNMENT - 1));
		if (next > length)
			return false;
		if (le32toh(note.n_type) == NOTE_PVH && le32toh(note.n_namesz) == 4 &&
		    memcmp(bytes + name, "Xen", 4) == 0 && le32toh(note.n_descsz) >= sizeof value) {
			memcpy(&value, bytes + description, sizeof value);
			*entry = le32_get(value);
			return true;
		}
		at = (size_t)next;
	}
	return false;
}

static bool has_pvh(const struct blob *blob, const struct header *h, uint64_t *entry)
{
	for (unsigned i = 0; i < h->entries; i++) {
		struct segment_header p = read_segment(blob, h, i);
		uint64_t end;

		if (p.type != PT_NOTE || __builtin_add_overflow(p.offset, p.file_bytes, &end) ||
		    end > blob->length)
			continue;
		if (find_pvh(blob->bytes + p.offset, (size_t)p.file_bytes, entry))
			return true;
	}
	return false;
}

static bool is_inside(const struct program *program, uint64_t address)
{
	for (unsigned i = 0; i < program->count; i++) {
		const struct program_segment *s = &program->segments[i];

		if (address >= s->address && address - s->address < s->memory_bytes)
			return true;
	}
	return false;
}

/* How a kernel for a PC is entered. */
static int choose_start(struct program *program, const struct blob *blob, const struct header *h, bool *entered,
			struct error *e)
{
	struct multiboot_header multiboot;
	int found;

	if (h->wide && has_pvh(blob, h, &program->entry)) {
		program->form = "ELF (PVH)";
		program->start = PROGRAM_PVH;
		/* The header's own may be anything: the one of a vmlinux is a physical address. */
		*entered = true;
		return is_inside(program, program->entry) ? 0 : no_entry("entry point for PVH", program->entry, e);
	}
	found = multiboot_find(blob, &multiboot, e);
	if (found < 0)
		return found;
	if (!found)
		return REFUSE(e,
			      "is an ELF file with neither an entry point for PVH nor a multiboot header; use the "
			      "kernel's bzImage, or build it with CONFIG_PVH");
	program->form = "ELF (multiboot)";
	program->start = PROGRAM_MULTIBOOT;
	return 0;
}

int elf_load(struct program *out, struct blob *blob, enum engine_arch arch, struct error *e)
{
	struct program program = {.form = "ELF"};
	struct header header = {0};
	bool entered = false;
	int r = read_header(blob, arch, &header, e);

	if (r == 0)
		r = read_segments(&program, blob, &header, &entered, e);
	if (r == 0 && arch == ENGINE_X86_64)
		r = choose_start(&program, blob, &header, &entered, e);
	if (r == 0 && !entered)
		r = no_entry("ELF entry point", header.entry, e);
	if (r < 0)
		return r;
	program.blob = *blob;
	*blob = (struct blob){0};
	*out = program;
	return 0;
}
