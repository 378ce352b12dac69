#include "board/pc_protocol.h"

#include <string.h>

#include "board/bzimage.h"
#include "board/pc_map.h"
#include "board/pc_ranges.h"

#define PAGE_PRESENT 0x1u
#define PAGE_WRITE   0x2u
#define PAGE_LARGE   0x80u
#define ENTRIES      512
#define MAPPED_GIBS  4

/* Present, writable tables; the first 4 GiB at their own addresses. */
static int write_page_tables(struct memory *memory)
{
	const uint64_t level3 = PC_PAGE_TABLES + GUEST_PAGE_SIZE, level2 = level3 + GUEST_PAGE_SIZE;
	le64_t entry = le64_put(level3 | PAGE_PRESENT | PAGE_WRITE), page[ENTRIES];
	int r = memory_write(memory, gpa(PC_PAGE_TABLES), &entry, sizeof entry);

	for (unsigned g = 0; r == 0 && g < MAPPED_GIBS; g++) {
		uint64_t table = level2 + g * GUEST_PAGE_SIZE;

		for (unsigned i = 0; i < ENTRIES; i++)
			page[i] = le64_put(((uint64_t)g * ENTRIES + i) * 2 * MIB | PAGE_PRESENT | PAGE_WRITE |
					   PAGE_LARGE);
		r = memory_write(memory, gpa(table), page, sizeof page);
		entry = le64_put(table | PAGE_PRESENT | PAGE_WRITE);
		if (r == 0)
			r = memory_write(memory, gpa(level3 + g * sizeof entry), &entry, sizeof entry);
	}
	return r;
}

/* Flat code at 0x10 and data at 0x18, as the protocols want them; the code is of 64 bits or of 32. */
static int write_gdt(struct memory *memory, bool wide)
{
	const le64_t gdt[] = {
		le64_put(0),
		le64_put(0),
		le64_put(wide ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff)),
		le64_put(UINT64_C(0x00cf93000000ffff)),
	};

	return memory_write(memory, gpa(PC_GDT), gdt, sizeof gdt);
}

#define GDT_BYTES 32

/* Offsets in the zero page that are not the setup header's (Linux, Documentation/arch/x86/zero-page.rst). */
enum { ZERO_ACPI_ROOT = 0x070, ZERO_E820_COUNT = 0x1e8, ZERO_E820 = 0x2d0 };
#define E820_ENTRY     20
#define LOADER_UNKNOWN 0xff

static void put32(uint8_t *page, unsigned offset, uint64_t value)
{
	le32_t wire = le32_put((uint32_t)value);

	memcpy(page + offset, &wire, sizeof wire);
}

static void put64(uint8_t *page, unsigned offset, uint64_t value)
{
	le64_t wire = le64_put(value);

	memcpy(page + offset, &wire, sizeof wire);
}

static void put_e820(uint8_t *page, uint64_t ram_bytes)
{
	struct pc_range ranges[PC_RANGES_MAX];
	unsigned count = pc_ranges(ranges, ram_bytes);

	for (unsigned i = 0; i < count; i++) {
		put64(page, ZERO_E820 + i * E820_ENTRY, ranges[i].base);
		put64(page, ZERO_E820 + i * E820_ENTRY + 8, ranges[i].size);
		put32(page, ZERO_E820 + i * E820_ENTRY + 16, ranges[i].type);
	}
	page[ZERO_E820_COUNT] = (uint8_t)count;
}

static void fill_zero_page(uint8_t *page, const struct pc_boot *boot)
{
	const struct program *kernel = &boot->kernel;

	memcpy(page + BZIMAGE_SETUP_SECTORS, kernel->blob.bytes + BZIMAGE_SETUP_SECTORS,
	       kernel->header_end - BZIMAGE_SETUP_SECTORS);
	page[BZIMAGE_LOADER] = LOADER_UNKNOWN;
	put32(page, BZIMAGE_CODE32, kernel->segments[0].address);
	put32(page, BZIMAGE_COMMAND_LINE, PC_COMMAND_LINE);
	if (boot->initrd_bytes) {
		put32(page, BZIMAGE_INITRD, boot->initrd_address);
		put32(page, BZIMAGE_INITRD_SIZE, boot->initrd_bytes);
	}
	put64(page, ZERO_ACPI_ROOT, PC_ACPI);
	put_e820(page, boot->ram_bytes);
}

int pc_write_linux(const struct pc_boot *boot, struct memory *memory)
{
	uint8_t page[GUEST_PAGE_SIZE] = {0};
	int r;

	fill_zero_page(page, boot);
	r = memory_write(memory, gpa(PC_ZERO_PAGE), page, sizeof page);
	if (r == 0)
		r = write_gdt(memory, true);
	return r < 0 ? r : write_page_tables(memory);
}

/* Xen, xen/include/public/arch-x86/hvm/start_info.h, version 1. */
struct start_info {
	le32_t magic, version, flags, modules;
	le64_t module_list, command_line, acpi_root, memory_map;
	le32_t memory_ranges, reserved;
};
_Static_assert(sizeof(struct start_info) == 56, "hvm_start_info has 56 bytes");
#define START_INFO_MAGIC 0x336ec578u

struct start_module {
	le64_t address, size, command_line, reserved;
};

struct start_range {
	le64_t base, size;
	le32_t type, reserved;
};

struct start_page {
	struct start_info info;
	struct start_module module;
	struct start_range ranges[PC_RANGES_MAX];
};

#define INSIDE(type, member) (PC_START_INFO + offsetof(type, member))

int pc_write_pvh(const struct pc_boot *boot, struct memory *memory)
{
	struct pc_range ranges[PC_RANGES_MAX];
	unsigned count = pc_ranges(ranges, boot->ram_bytes);
	struct start_page page = {
		.info =
			{
				.magic = le32_put(START_INFO_MAGIC),
				.version = le32_put(1),
				.modules = le32_put(boot->initrd_bytes != 0),
				.module_list = le64_put(INSIDE(struct start_page, module)),
				.command_line = le64_put(PC_COMMAND_LINE),
				.acpi_root = le64_put(PC_ACPI),
				.memory_map = le64_put(INSIDE(struct start_page, ranges)),
				.memory_ranges = le32_put(count),
			},
		.module = {.address = le64_put(boot->initrd_address), .size = le64_put(boot->initrd_bytes)},
	};
	int r;

	for (unsigned i = 0; i < count; i++)
		page.ranges[i] = (struct start_range){.base = le64_put(ranges[i].base),
						      .size = le64_put(ranges[i].size),
						      .type = le32_put(ranges[i].type)};
	r = memory_write(memory, gpa(PC_START_INFO), &page, sizeof page);
	return r < 0 ? r : write_gdt(memory, false);
}

enum {
	INFO_MEMORY = 1 << 0,
	INFO_COMMAND_LINE = 1 << 2,
	INFO_MODULES = 1 << 3,
	INFO_MAP = 1 << 6,
	INFO_LOADER_NAME = 1 << 9,
};
#define MULTIBOOT_LOADED 0x2badb002u

/* Multiboot Specification, 3.3. */
struct multiboot_info {
	le32_t flags, lower_kib, upper_kib, boot_device, command_line, modules, module_list, symbols[4], map_bytes,
		map, drives_bytes, drives, config_table, loader_name;
};

struct multiboot_module {
	le32_t start, end, command_line, reserved;
};

struct multiboot_range {
	le32_t bytes; /* of the rest of the entry */
	le64_t base, size;
	le32_t type;
} __attribute__((packed));

struct multiboot_page {
	struct multiboot_info info;
	struct multiboot_module module;
	struct multiboot_range ranges[PC_RANGES_MAX];
	char loader[8];
	char empty[4];
};

static le32_t inside(uint64_t address)
{
	return le32_put((uint32_t)address);
}

static void fill_info(struct multiboot_info *info, const struct pc_boot *boot, unsigned ranges)
{
	unsigned modules = boot->initrd_bytes != 0;

	info->flags = le32_put(INFO_MEMORY | INFO_COMMAND_LINE | INFO_MAP | INFO_LOADER_NAME |
			       (modules ? INFO_MODULES : 0));
	info->lower_kib = le32_put((uint32_t)(PC_RESERVED / KIB));
	info->upper_kib = le32_put((uint32_t)((pc_ram_low(boot->ram_bytes) - PC_HIGH_MEMORY) / KIB));
	info->command_line = le32_put((uint32_t)PC_COMMAND_LINE);
	info->modules = le32_put(modules);
	info->module_list = inside(INSIDE(struct multiboot_page, module));
	info->map_bytes = le32_put(ranges * (uint32_t)sizeof(struct multiboot_range));
	info->map = inside(INSIDE(struct multiboot_page, ranges));
	info->loader_name = inside(INSIDE(struct multiboot_page, loader));
}

int pc_write_multiboot(const struct pc_boot *boot, struct memory *memory)
{
	struct pc_range ranges[PC_RANGES_MAX];
	unsigned count = pc_ranges(ranges, boot->ram_bytes);
	struct multiboot_page page = {
		.module = {.start = inside(boot->initrd_address),
			   .end = inside(boot->initrd_address + boot->initrd_bytes),
			   .command_line = inside(INSIDE(struct multiboot_page, empty))},
		.loader = "doppel",
	};
	int r;

	fill_info(&page.info, boot, count);
	for (unsigned i = 0; i < count; i++)
		page.ranges[i] = (struct multiboot_range){
			.bytes = le32_put((uint32_t)(sizeof(struct multiboot_range) - sizeof(le32_t))),
			.base = le64_put(ranges[i].base),
			.size = le64_put(ranges[i].size),
			.type = le32_put(ranges[i].type),
		};
	r = memory_write(memory, gpa(PC_START_INFO), &page, sizeof page);
	return r < 0 ? r : write_gdt(memory, false);
}

void pc_boot_enter(const struct pc_boot *boot, struct x86_cpu *cpu)
{
	if (boot->kernel.start == PROGRAM_LINUX)
		x86_cpu_enter_long(cpu, PC_PAGE_TABLES);
	else
		x86_cpu_enter_protected(cpu);
	cpu->gdt = (struct x86_table){PC_GDT, GDT_BYTES - 1};
	cpu->rip = boot->kernel.entry;
	cpu->registers[X86_RSI] = boot->kernel.start == PROGRAM_LINUX ? PC_ZERO_PAGE : 0;
	cpu->registers[X86_RBX] = boot->kernel.start == PROGRAM_LINUX ? 0 : PC_START_INFO;
	cpu->registers[X86_RAX] = boot->kernel.start == PROGRAM_MULTIBOOT ? MULTIBOOT_LOADED : 0;
}
