/*
 * A pc board without a host's KVM: an engine whose platform is memory, so that what the board lays out, wires and saves can be
 * looked at; and kernels for it, right or wrong in one respect.
 */
#ifndef DOPPEL_TESTS_PC_BENCH_H
#define DOPPEL_TESTS_PC_BENCH_H

#include "boot_files.h"

#include <errno.h>

#include "board/bzimage.h"
#include "board/pc.h"
#include "board/pc_map.h"
#include "x86/platform.h"

struct fake_platform {
	struct x86_platform platform;
	bool level[X86_LINES];
	unsigned loads, stores;
};

static inline void fake_line(void *controller, unsigned number, bool level)
{
	((struct fake_platform *)controller)->level[number] = level;
}

static inline int fake_platform_new(struct x86_platform **out, const struct x86_platform_config *config,
				    struct error *e)
{
	struct fake_platform *fake = calloc(1, sizeof *fake);

	(void)e;
	assert_non_null(fake);
	fake->platform = (struct x86_platform){.memory = config->memory,
					       .bus = config->bus,
					       .ports = config->ports,
					       .clock = config->clock,
					       .power = config->power,
					       .cpus_most = config->cpus};
	fake->platform.cpuid.count = 1;
	for (unsigned i = 0; i < X86_LINES; i++)
		fake->platform.lines[i] = (struct irq_line){fake_line, fake, i};
	*out = &fake->platform;
	return 0;
}

static inline void fake_platform_free(struct x86_platform *platform)
{
	free(platform);
}

static inline void fake_platform_reset(struct x86_platform *platform)
{
	x86_chips_reset(&platform->chips);
}

static inline int fake_store(struct x86_platform *platform, struct error *e)
{
	(void)e;
	((struct fake_platform *)platform)->stores++;
	return 0;
}

static inline int fake_loaded(struct x86_platform *platform, struct error *e)
{
	(void)e;
	((struct fake_platform *)platform)->loads++;
	return 0;
}

static const struct x86_engine fake_x86 = {
	.platform_new = fake_platform_new,
	.platform_free = fake_platform_free,
	.platform_reset = fake_platform_reset,
	.platform_store = fake_store,
	.platform_loaded = fake_loaded,
};

static const struct engine fake_engine = {.name = "fake", .arch = ENGINE_X86_64, .x86 = &fake_x86};

static inline struct fake_platform *fake_of(struct board *board)
{
	return (struct fake_platform *)pc_of(board)->platform;
}

#define BZ_SETUP  1024 /* bytes of real-mode code: one sector and the boot sector */
#define BZ_MEMORY (3 * MIB)

/* A relocatable 64-bit kernel of `bytes` bytes that wishes for 16 MiB, as distributions ship them. */
static inline struct blob make_bzimage(size_t bytes)
{
	struct blob b = make_noise(BZ_SETUP + bytes);

	memset(b.bytes, 0, BZ_SETUP);
	memcpy(b.bytes, "MZ", 2);
	b.bytes[BZIMAGE_SETUP_SECTORS] = 1;
	put32(&b, BZIMAGE_SIZE, (uint32_t)((bytes + 15) / 16));
	b.bytes[BZIMAGE_BOOT_FLAG] = 0x55;
	b.bytes[BZIMAGE_BOOT_FLAG + 1] = 0xaa;
	b.bytes[BZIMAGE_JUMP] = BZIMAGE_HEADER_END + 4 - BZIMAGE_MAGIC;
	memcpy(b.bytes + BZIMAGE_MAGIC, "HdrS", 4);
	put32(&b, BZIMAGE_VERSION, 0x20f);
	b.bytes[BZIMAGE_LOAD_FLAGS] = 1;
	put32(&b, BZIMAGE_INITRD_MAX, 0x7fffffff);
	put32(&b, BZIMAGE_ALIGNMENT, 2 * MIB);
	b.bytes[BZIMAGE_RELOCATABLE] = 1;
	b.bytes[BZIMAGE_LOAD64_FLAGS] = 1;
	put32(&b, BZIMAGE_COMMAND_SIZE, 2047);
	put64(&b, BZIMAGE_PREFERRED, 16 * MIB);
	put32(&b, BZIMAGE_MEMORY, BZ_MEMORY);
	return b;
}

#define MULTIBOOT_AT     64
#define MULTIBOOT_LOAD   UINT32_C(0x200000)
#define MULTIBOOT_MARK   UINT32_C(0x1badb002)
#define MULTIBOOT_PLACED UINT32_C(0x10003)

/* A file that its multiboot header places whole at 2 MiB, with `bss` bytes behind; entered after the header. */
static inline struct blob make_multiboot(size_t bytes, uint32_t flags, uint32_t bss)
{
	struct blob b = make_noise(bytes);
	const uint32_t words[] = {MULTIBOOT_MARK,
				  flags,
				  0 - MULTIBOOT_MARK - flags,
				  MULTIBOOT_LOAD + MULTIBOOT_AT,
				  MULTIBOOT_LOAD,
				  MULTIBOOT_LOAD + (uint32_t)bytes,
				  MULTIBOOT_LOAD + (uint32_t)bytes + bss,
				  MULTIBOOT_LOAD + MULTIBOOT_AT + 32};

	memset(b.bytes, 0, MULTIBOOT_AT);
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		put32(&b, MULTIBOOT_AT + 4 * i, words[i]);
	return b;
}

/* A vmlinux: linked at its virtual addresses, with a note that says where to enter it. */
static inline struct blob make_pvh(uint32_t entry)
{
	static const struct elf_segment segments[] = {
		{0xffffffff81000000, 0x1000000, 8192, 16384},
		{0, 0, 20, 0},
	};
	struct blob b = make_elf(segments, 2);
	size_t note = b.length - 20;

	b.bytes[18] = EM_X86_64;
	b.bytes[19] = 0;
	put64(&b, offsetof(Elf64_Ehdr, e_entry), 0x1000000);
	put32(&b, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), PT_NOTE);
	put32(&b, note, 4);
	put32(&b, note + 4, 4);
	put32(&b, note + 8, 18);
	memcpy(b.bytes + note + 12, "Xen", 4);
	put32(&b, note + 16, entry);
	return b;
}

#endif
