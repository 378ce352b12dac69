#include "image/module.h"

#include <elf.h>
#include <errno.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define SUFFIX        ".ko.xz"
#define MODULE_MAX    ((size_t)64 << 20) /* unpacked */
#define XZ_MEMORY_MAX ((uint64_t)256 << 20)
#define DEPENDS_MAX   64 /* entries of one module, and depth of the whole */

bool module_is_file(const char *file)
{
	size_t length = strlen(file), suffix = strlen(SUFFIX);

	return length > suffix && strcmp(file + length - suffix, SUFFIX) == 0;
}

int module_add(struct module_set *set, const char *file, uint8_t *bytes, size_t size)
{
	char *copy = strdup(file);

	if (copy && set->count == set->room) {
		size_t room = set->room ? set->room * 2 : 256;
		struct module *larger = reallocarray(set->modules, room, sizeof *larger);

		if (larger) {
			set->modules = larger;
			set->room = room;
		}
	}
	if (!copy || set->count == set->room) {
		free(copy);
		free(bytes);
		return -ENOMEM;
	}
	set->modules[set->count++] = (struct module){.file = copy, .bytes = bytes, .size = size};
	return 0;
}

void module_set_finish(struct module_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		free(set->modules[i].file);
		free(set->modules[i].bytes);
		free(set->modules[i].depends);
		free(set->modules[i].aliases);
	}
	free(set->modules);
	*set = (struct module_set){0};
}

static char plain(char c)
{
	return c == '-' ? '_' : c;
}

/* Whether the file, packed or not, is that of the module named by `length` characters at `name`. */
static bool is_named(const char *file, const char *name, size_t length)
{
	if (strcspn(file, ".") != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (plain(file[i]) != plain(name[i]))
			return false;
	return true;
}

static struct module *find(const struct module_set *set, const char *name, size_t length)
{
	for (size_t i = 0; i < set->count; i++)
		if (is_named(set->modules[i].file, name, length))
			return &set->modules[i];
	return NULL;
}

static int unpack_xz(const uint8_t *bytes, size_t size, uint8_t **out, size_t *out_size)
{
	uint64_t memory = XZ_MEMORY_MAX;
	size_t room = size < MODULE_MAX / 16 ? size * 16 : MODULE_MAX;

	for (;;) {
		size_t from = 0, to = 0;
		uint8_t *buffer = malloc(room);
		lzma_ret r = buffer ? lzma_stream_buffer_decode(&memory, 0, NULL, bytes, &from, size, buffer, &to,
								room)
				    : LZMA_MEM_ERROR;

		if (r == LZMA_OK) {
			*out = buffer;
			*out_size = to;
			return 0;
		}
		free(buffer);
		if (r != LZMA_BUF_ERROR || room >= MODULE_MAX)
			return r == LZMA_MEM_ERROR ? -ENOMEM : -EBADMSG;
		room = room < MODULE_MAX / 4 ? room * 4 : MODULE_MAX;
	}
}

/* Header `index` of the section table; false when it, or what it covers, lies outside the file. */
static bool read_section(const uint8_t *bytes, size_t size, uint64_t table, uint64_t index, Elf64_Shdr *out)
{
	uint64_t at;

	if (!checked_multiply(index, sizeof *out, &at) || !checked_add(table, at, &at) ||
	    !checked_span(at, sizeof *out, size))
		return false;
	memcpy(out, bytes + at, sizeof *out);
	return out->sh_type == SHT_NOBITS || checked_span(out->sh_offset, out->sh_size, size);
}

static bool section_is(const uint8_t *bytes, const Elf64_Shdr *names, const Elf64_Shdr *section, const char *name)
{
	size_t length = strlen(name) + 1;

	return checked_span(section->sh_name, length, names->sh_size) &&
	       memcmp(bytes + names->sh_offset + section->sh_name, name, length) == 0;
}

static const char *find_key(const char *text, size_t size, const char *key, const char *previous)
{
	size_t length = strlen(key);

	while (size > 0) {
		size_t entry = strnlen(text, size);

		if (entry == size)
			return NULL;
		if ((!previous || text > previous) && entry > length && memcmp(text, key, length) == 0 &&
		    text[length] == '=')
			return text + length + 1;
		text += entry + 1;
		size -= entry + 1;
	}
	return NULL;
}

const char *module_info(const uint8_t *bytes, size_t size, const char *key, const char *previous)
{
	Elf64_Ehdr header;
	Elf64_Shdr names, section;

	if (size < sizeof header)
		return NULL;
	memcpy(&header, bytes, sizeof header);
	if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_shentsize != sizeof section ||
	    !read_section(bytes, size, header.e_shoff, header.e_shstrndx, &names) || names.sh_type == SHT_NOBITS)
		return NULL;
	for (unsigned i = 0; i < header.e_shnum; i++) {
		if (!read_section(bytes, size, header.e_shoff, i, &section))
			return NULL;
		if (section.sh_type != SHT_NOBITS && section_is(bytes, &names, &section, ".modinfo"))
			return find_key((const char *)bytes + section.sh_offset, section.sh_size, key, previous);
	}
	return NULL;
}

static char *list_aliases(const uint8_t *bytes, size_t size)
{
	const char *alias = NULL;
	size_t length;
	char *text;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	while ((alias = module_info(bytes, size, "alias", alias)) != NULL)
		fprintf(out, "%s\n", alias);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* Every module says what it depends on, be it nothing. */
static int read_info(struct module *module)
{
	uint8_t *bytes;
	const char *depends;
	size_t size;
	int r = unpack_xz(module->bytes, module->size, &bytes, &size);

	if (r < 0)
		return r;
	depends = module_info(bytes, size, "depends", NULL);
	if (depends) {
		module->depends = strdup(depends);
		module->aliases = list_aliases(bytes, size);
		r = module->depends && module->aliases ? 0 : -ENOMEM;
	}
	free(bytes);
	return depends ? r : -EBADMSG;
}

static int want(struct module_set *set, const char *name, size_t length, unsigned depth, struct error *e)
{
	struct module *module = find(set, name, length);
	int r;

	if (!module)
		return error_set(e, ERROR_FAILED, -ENOENT, "the kernel package has no module %.*s", (int)length,
				 name);
	if (module->wanted)
		return 0;
	if (depth >= DEPENDS_MAX)
		return error_set(e, ERROR_FAILED, -EBADMSG, "%s: its dependencies are nested too deep",
				 module->file);
	r = read_info(module);
	if (r < 0)
		return error_errno(e, r, "%s: this is no kernel module", module->file);
	module->wanted = true;
	for (const char *next = module->depends; r == 0 && *next; next += *next == ',') {
		length = strcspn(next, ",");
		if (length > 0)
			r = want(set, next, length, depth + 1, e);
		next += length;
	}
	return r;
}

int module_want(struct module_set *set, const char *name, struct error *e)
{
	return want(set, name, strlen(name), 0, e);
}

/* What `module` depends on, and what that depends on; a repeated file does no harm there. */
int module_unpack(struct module_set *set)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->count; i++) {
		struct module *module = &set->modules[i];
		char *suffix = strstr(module->file, ".xz");
		uint8_t *bytes;
		size_t size;

		if (!module->wanted || !suffix)
			continue;
		r = unpack_xz(module->bytes, module->size, &bytes, &size);
		if (r < 0)
			break;
		free(module->bytes);
		module->bytes = bytes;
		module->size = size;
		*suffix = '\0';
	}
	return r;
}

static void print_depends(FILE *out, const struct module_set *set, const struct module *module, unsigned depth)
{
	for (const char *next = module->depends; depth < DEPENDS_MAX && *next; next += *next == ',') {
		size_t length = strcspn(next, ",");
		const struct module *other = find(set, next, length);

		if (other && other->depends) {
			fprintf(out, " %s", other->file);
			print_depends(out, set, other, depth + 1);
		}
		next += length;
	}
}

static void print_dependencies(FILE *out, const struct module_set *set, const struct module *module)
{
	fprintf(out, "%s:", module->file);
	print_depends(out, set, module, 0);
	fputc('\n', out);
}

static void print_aliases(FILE *out, const struct module_set *set, const struct module *module)
{
	size_t name = strcspn(module->file, ".");

	(void)set;
	for (const char *alias = module->aliases; *alias;) {
		size_t length = strcspn(alias, "\n");

		fputs("alias ", out);
		fwrite(alias, length, 1, out);
		fprintf(out, " %.*s\n", (int)name, module->file);
		alias += length + 1;
	}
}

static int print_wanted(const struct module_set *set,
			void (*print)(FILE *, const struct module_set *, const struct module *), char **text)
{
	char *bytes;
	size_t size;
	FILE *out = open_memstream(&bytes, &size);

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < set->count; i++)
		if (set->modules[i].wanted)
			print(out, set, &set->modules[i]);
	if (fclose(out) != 0) {
		free(bytes);
		return -ENOMEM;
	}
	*text = bytes;
	return 0;
}

int module_dependencies(const struct module_set *set, char **text)
{
	return print_wanted(set, print_dependencies, text);
}

int module_aliases(const struct module_set *set, char **text)
{
	return print_wanted(set, print_aliases, text);
}
