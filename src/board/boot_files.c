#include "board/boot_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board/kernel_file.h"

/* Symbols make an ELF file far larger than what is loaded of it, so a file may be larger than small RAM. */
static uint64_t file_limit(uint64_t ram_bytes)
{
	return ram_bytes > GIB ? ram_bytes : GIB;
}

static int open_kernel(struct blob *out, const char *path, uint64_t ram_bytes, struct error *e)
{
	int r = path ? blob_open(out, path, file_limit(ram_bytes), e) : 0;

	return r < 0 ? error_prefix(e, r, "kernel %s", path) : 0;
}

static int parse_kernel(struct program *out, struct blob *blob, const char *path, enum engine_arch arch,
			uint64_t ram_bytes, struct error *e)
{
	int r = kernel_open(out, blob, arch, ram_bytes, e);

	return r < 0 ? error_prefix(e, r, "kernel %s", path) : 0;
}

int boot_read_kernel(struct program *out, const char *path, enum engine_arch arch, uint64_t ram_bytes,
		     struct error *e)
{
	struct blob blob;
	int r = open_kernel(&blob, path, ram_bytes, e);

	return r < 0 || !path ? r : parse_kernel(out, &blob, path, arch, ram_bytes, e);
}

int boot_read_firmware(struct program *out, const char *path, uint64_t ram_bytes, struct error *e)
{
	struct blob blob;
	int r;

	if (!path)
		return 0;
	r = blob_read(&blob, path, file_limit(ram_bytes), e);
	if (r == 0)
		r = firmware_parse(out, &blob, e);
	return r < 0 ? error_prefix(e, r, "firmware %s", path) : 0;
}

int boot_measure_initrd(uint64_t *bytes, const char *path, struct error *e)
{
	int r = path ? blob_measure(bytes, path, e) : 0;

	return r < 0 ? error_prefix(e, r, "initrd %s", path) : 0;
}

int boot_open_initrd(struct blob *out, const char *path, uint64_t bytes, struct error *e)
{
	int r = path ? blob_open(out, path, bytes, e) : 0;

	return r < 0 ? error_prefix(e, r, "initrd %s", path) : 0;
}

int boot_later_open(struct boot_later *later, struct blob *initrd, const struct payload_files *files, uint64_t ram_bytes,
		    struct error *e)
{
	int r = open_kernel(&later->kernel, files->kernel, ram_bytes, e);

	if (r == 0)
		r = boot_open_initrd(initrd, files->initrd, ram_bytes, e);
	if (r < 0)
		return r;
	later->kernel_path = strdup(files->kernel);
	later->initrd_path = files->initrd ? strdup(files->initrd) : NULL;
	return later->kernel_path && (later->initrd_path || !files->initrd) ? 0 : error_errno(e, -ENOMEM, "boot files");
}

void boot_later_finish(struct boot_later *later)
{
	blob_finish(&later->kernel);
	free(later->kernel_path);
	free(later->initrd_path);
}

bool boot_is_later(const struct boot_later *later)
{
	return later->kernel.has_file;
}

int boot_later_parse(struct boot_later *later, struct program *out, struct payload_files *files, enum engine_arch arch,
		     uint64_t ram_bytes, struct error *e)
{
	struct blob blob = later->kernel;

	later->kernel = (struct blob){0};
	*files = (struct payload_files){.kernel = later->kernel_path, .initrd = later->initrd_path};
	return parse_kernel(out, &blob, later->kernel_path, arch, ram_bytes, e);
}

int boot_check_append(const char *append, size_t most, struct error *e)
{
	if (strlen(append) <= most)
		return 0;
	return error_set(e, ERROR_USAGE, -E2BIG,
			 "the kernel command line has %zu bytes, and at most %zu are possible; shorten --append",
			 strlen(append), most);
}

int boot_copy_append(char **out, const char *append, struct error *e)
{
	int r = append ? boot_check_append(append, PAYLOAD_APPEND_MAX, e) : 0;

	if (r < 0)
		return r;
	*out = strdup(append ? append : "");
	return *out ? 0 : error_errno(e, -ENOMEM, "kernel command line");
}
