/* Kernel modules for the tests of images: objects that hold a .modinfo section and nothing else. */
#ifndef TEST_IMAGE_FILES_H
#define TEST_IMAGE_FILES_H

#include <elf.h>
#include <lzma.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct image_files_object {
	Elf64_Ehdr header;
	Elf64_Shdr sections[3];
	char names[24];
	char info[256];
};

/* `info` must be a literal: its entries are separated by NULs. */
#define image_files_module(info, size)        image_files_module_of(info, sizeof(info), size)
#define image_files_packed_module(info, size) image_files_packed_module_of(info, sizeof(info), size)

static inline uint8_t *image_files_module_of(const char *info, size_t info_size, size_t *size)
{
	struct image_files_object *object = calloc(1, sizeof *object);

	memcpy(object->header.e_ident, ELFMAG, SELFMAG);
	object->header.e_ident[EI_CLASS] = ELFCLASS64;
	object->header.e_ident[EI_DATA] = ELFDATA2LSB;
	object->header.e_shoff = offsetof(struct image_files_object, sections);
	object->header.e_shentsize = sizeof(Elf64_Shdr);
	object->header.e_shnum = 3;
	object->header.e_shstrndx = 1;
	memcpy(object->names, "\0.shstrtab\0.modinfo", 20);
	object->sections[1] = (Elf64_Shdr){.sh_name = 1,
					   .sh_type = SHT_STRTAB,
					   .sh_size = 20,
					   .sh_offset = offsetof(struct image_files_object, names)};
	object->sections[2] = (Elf64_Shdr){.sh_name = 11,
					   .sh_type = SHT_PROGBITS,
					   .sh_size = info_size,
					   .sh_offset = offsetof(struct image_files_object, info)};
	memcpy(object->info, info, info_size);
	*size = offsetof(struct image_files_object, info) + info_size;
	return (uint8_t *)object;
}

static inline uint8_t *image_files_packed_module_of(const char *info, size_t info_size, size_t *size)
{
	size_t plain_size;
	uint8_t *plain, *packed = malloc(4096);

	plain = image_files_module_of(info, info_size, &plain_size);
	*size = 0;
	if (lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, plain, plain_size, packed, size, 4096) != LZMA_OK)
		abort();
	free(plain);
	return packed;
}

#endif
