#include "board/kernel_file.h"

#include <errno.h>
#include <string.h>

#include "board/bzimage.h"
#include "board/elf_file.h"
#include "board/image_header.h"
#include "board/multiboot.h"
#include "board/unpack.h"

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, -ENOEXEC, __VA_ARGS__)
#define LAYERS_MAX     3 /* compressed data within compressed data: more is not a kernel but a trap */

static const char *accepted(enum engine_arch arch)
{
	return arch == ENGINE_RISCV64
		       ? "an Image (also compressed with gzip or zstd, or as EFI zboot) or an ELF64 file for riscv64"
		       : "a bzImage (vmlinuz), an ELF file with an entry point for PVH, or a multiboot kernel for x86_64";
}

enum kind {
	KIND_ELF,
	KIND_IMAGE,
	KIND_BZIMAGE,
	KIND_ZBOOT,
	KIND_GZIP,
	KIND_ZSTD,
	KIND_FOREIGN_KERNEL,
	KIND_FOREIGN,
};

struct magic {
	uint32_t offset;
	uint32_t length;
	const char *bytes;
	enum kind kind;
	const char *what; /* kernels of one architecture: "is ..."; KIND_FOREIGN: the remedy, too */
};

/* The first that fits decides: zboot files carry PE marks where others have their magic. */
static const struct magic magics[] = {
	{0, 4, "\177ELF", KIND_ELF, NULL},
	{4, 4, "zimg", KIND_ZBOOT, "is an EFI zboot kernel"},
	{56, 4, "RSC\x05", KIND_IMAGE, "is a riscv64 Image"},
	{0, 2, "\x1f\x8b", KIND_GZIP, NULL},
	{0, 4, "\x28\xb5\x2f\xfd", KIND_ZSTD, NULL},
	{56, 4, "ARM\x64", KIND_FOREIGN_KERNEL, "is an arm64 Image"},
	{514, 4, "HdrS", KIND_BZIMAGE, "is an x86 kernel (bzImage)"},
	{36, 4, "\x18\x28\x6f\x01", KIND_FOREIGN_KERNEL, "is a 32 bit arm zImage"},
	{56, 4, "\xcd\x23\x82\x81", KIND_FOREIGN_KERNEL, "is an EFI program"},
	{0, 5, "\3757zXZ", KIND_FOREIGN, "is compressed with xz; unpack it first (xz -d)"},
	{0, 4, "\x02\x21\x4c\x18", KIND_FOREIGN, "is compressed with lz4; unpack it first (lz4 -d)"},
	{0, 4, "\x04\x22\x4d\x18", KIND_FOREIGN, "is compressed with lz4; unpack it first (lz4 -d)"},
	{0, 3, "BZh", KIND_FOREIGN, "is compressed with bzip2; unpack it first (bzip2 -d)"},
	{0, 3, "\x5d\0\0", KIND_FOREIGN, "is compressed with lzma; unpack it first (xz -d --format=lzma)"},
	{0, 4, "\x27\x05\x19\x56", KIND_FOREIGN, "is a U-Boot uImage; use the kernel that was wrapped in it"},
	{0, 4, "\xd0\x0d\xfe\xed", KIND_FOREIGN, "is a device tree or FIT image; use the kernel in it"},
	{0, 6, "070701", KIND_FOREIGN, "is a cpio archive; an initramfs is given with --initrd"},
	{0, 7, "!<arch>", KIND_FOREIGN, "is a package or library archive; use the kernel in it"},
	{0, 4, "QFI\xfb", KIND_FOREIGN, "is a qcow2 disk image; use the kernel in it"},
	{0, 2, "#!", KIND_FOREIGN_KERNEL, "is a script"},
};

static const struct magic *identify(const struct blob *blob)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *m = &magics[i];

		if (blob->length >= m->offset + m->length &&
		    memcmp(blob->bytes + m->offset, m->bytes, m->length) == 0)
			return m;
	}
	return NULL;
}

typedef int unpacker(struct blob *out, const uint8_t *bytes, size_t length, uint64_t limit, struct error *e);

static int replace(struct blob *blob, unpacker *unpack, uint64_t offset, uint64_t length, uint64_t limit,
		   struct error *e)
{
	struct blob inner;
	int r = unpack(&inner, blob->bytes + offset, length, limit, e);

	if (r < 0)
		return r;
	blob_finish(blob);
	*blob = inner;
	return 0;
}

static int unwrap_zboot(struct blob *blob, uint64_t limit, struct error *e)
{
	static const struct {
		const char *name;
		unpacker *unpack;
	} compressions[] = {{"gzip", gzip_unpack}, {"zstd", zstd_unpack}, {"zstd22", zstd_unpack}};
	struct zboot_payload payload;
	int r = zboot_parse(blob, &payload, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++)
		if (strcmp(payload.compression, compressions[i].name) == 0)
			return replace(blob, compressions[i].unpack, payload.offset, payload.length, limit, e);
	return REFUSE(e,
		      "is an EFI zboot kernel compressed with \"%s\"; use one compressed with gzip or zstd, or "
		      "its plain Image",
		      payload.compression);
}

static int unwrap(struct blob *blob, enum kind kind, uint64_t limit, struct error *e)
{
	switch (kind) {
	case KIND_GZIP:
		return replace(blob, gzip_unpack, 0, blob->length, limit, e);
	case KIND_ZSTD:
		return replace(blob, zstd_unpack, 0, blob->length, limit, e);
	default:
		return unwrap_zboot(blob, limit, e);
	}
}

static int load_unmarked(struct program *out, struct blob *blob, enum engine_arch arch, struct error *e)
{
	struct multiboot_header header;
	int found = arch == ENGINE_X86_64 ? multiboot_find(blob, &header, e) : 0;

	if (found < 0)
		return found;
	if (found && header.placed)
		return multiboot_load(out, blob, &header, e);
	return REFUSE(e, "is not a kernel; use %s", accepted(arch));
}

static int refuse_kernel(const struct magic *magic, enum engine_arch arch, struct error *e)
{
	return REFUSE(e, "%s; this machine is %s and needs %s", magic->what, engine_arch_name(arch), accepted(arch));
}

static int load_bare(struct program *out, struct blob *blob, enum engine_arch arch, const struct magic *magic,
		     struct error *e)
{
	if (!magic)
		return load_unmarked(out, blob, arch, e);
	if (magic->kind == KIND_FOREIGN)
		return REFUSE(e, "%s", magic->what);
	if (magic->kind == KIND_ELF)
		return elf_load(out, blob, arch, e);
	if (magic->kind == KIND_IMAGE && arch == ENGINE_RISCV64)
		return image_load(out, blob, e);
	if (magic->kind == KIND_BZIMAGE && arch == ENGINE_X86_64)
		return bzimage_load(out, blob, e);
	return refuse_kernel(magic, arch, e);
}

static bool is_wrapped(const struct magic *magic, enum engine_arch arch)
{
	return magic && (magic->kind == KIND_GZIP || magic->kind == KIND_ZSTD ||
			 (magic->kind == KIND_ZBOOT && arch == ENGINE_RISCV64));
}

static int parse_layers(struct program *out, struct blob *blob, enum engine_arch arch, uint64_t ram_bytes,
			struct error *e)
{
	const struct magic *magic = identify(blob);

	for (unsigned layer = 0; is_wrapped(magic, arch); layer++) {
		int r;

		if (layer == LAYERS_MAX)
			return REFUSE(e, "is compressed more than %d times over; unpack it first", LAYERS_MAX);
		r = unwrap(blob, magic->kind, ram_bytes, e);
		if (r < 0)
			return r;
		magic = identify(blob);
	}
	return load_bare(out, blob, arch, magic, e);
}

int kernel_parse(struct program *out, struct blob *blob, enum engine_arch arch, uint64_t ram_bytes, struct error *e)
{
	int r = parse_layers(out, blob, arch, ram_bytes, e);

	blob_finish(blob);
	return r;
}

static bool is_image(const struct blob *blob, enum engine_arch arch)
{
	const struct magic *magic = identify(blob);

	return magic && magic->kind == KIND_IMAGE && arch == ENGINE_RISCV64;
}

int kernel_open(struct program *out, struct blob *blob, enum engine_arch arch, uint64_t ram_bytes, struct error *e)
{
	struct error unsaid = {0};
	int r = blob_glance(blob, e);

	if (r == 0 && is_image(blob, arch) && image_load(out, blob, &unsaid) == 0) {
		blob_rest(&out->blob);
		return 0;
	}
	/* What is wrong with it may lie behind what was seen. */
	blob_rest(blob);
	if (r == 0)
		r = blob_wake(blob, e);
	if (r == 0)
		return kernel_parse(out, blob, arch, ram_bytes, e);
	blob_finish(blob);
	return r;
}

static int parse_firmware(struct program *out, struct blob *blob, struct error *e)
{
	const struct magic *magic = identify(blob);

	if (!magic) {
		program_single(out, "raw", blob, blob->length);
		return 0;
	}
	switch (magic->kind) {
	case KIND_ELF:
		return elf_load(out, blob, ENGINE_RISCV64, e);
	case KIND_FOREIGN:
		return REFUSE(e, "%s", magic->what);
	case KIND_FOREIGN_KERNEL:
	case KIND_BZIMAGE:
		return refuse_kernel(magic, ENGINE_RISCV64, e);
	case KIND_IMAGE:
	case KIND_ZBOOT:
		return REFUSE(e, "is a kernel; give it with --kernel");
	default:
		return REFUSE(e, "is compressed; unpack it first");
	}
}

int firmware_parse(struct program *out, struct blob *blob, struct error *e)
{
	int r = parse_firmware(out, blob, e);

	blob_finish(blob);
	return r;
}
