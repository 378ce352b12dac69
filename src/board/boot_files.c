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

int boot_open_kernel(struct blob *out, const char *path, uint64_t ram_bytes, struct error *e)
{
	int r = path ? blob_open(out, path, file_limit(ram_bytes), e) : 0;

	return r < 0 ? error_prefix(e, r, "kernel %s", path) : 0;
}

int boot_parse_kernel(struct program *out, struct blob *blob, const char *path, enum engine_arch arch,
		      uint64_t ram_bytes, struct error *e)
{
	int r = blob_wake(blob, e);

	if (r == 0)
		r = kernel_parse(out, blob, arch, ram_bytes, e);
	else
		blob_finish(blob);
	return r < 0 ? error_prefix(e, r, "kernel %s", path) : 0;
}

int boot_read_kernel(struct program *out, const char *path, enum engine_arch arch, uint64_t ram_bytes,
		     struct error *e)
{
	struct blob blob;
	int r = boot_open_kernel(&blob, path, ram_bytes, e);

	return r < 0 || !path ? r : boot_parse_kernel(out, &blob, path, arch, ram_bytes, e);
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

int boot_read_initrd(struct blob *out, const char *path, uint64_t bytes, struct error *e)
{
	int r = path ? blob_read(out, path, bytes, e) : 0;

	return r < 0 ? error_prefix(e, r, "initrd %s", path) : 0;
}

int boot_open_initrd(struct blob *out, const char *path, uint64_t bytes, struct error *e)
{
	int r = path ? blob_open(out, path, bytes, e) : 0;

	return r < 0 ? error_prefix(e, r, "initrd %s", path) : 0;
}

int boot_copy_append(char **out, const char *append, size_t most, struct error *e)
{
	if (append && strlen(append) > most)
		return error_set(
			e, ERROR_USAGE, -E2BIG,
			"the kernel command line has %zu bytes, and at most %zu are possible; shorten --append",
			strlen(append), most);
	*out = strdup(append ? append : "");
	return *out ? 0 : error_errno(e, -ENOMEM, "kernel command line");
}
