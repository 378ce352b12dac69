#include "image/initramfs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/cpio.h"
#include "image/guest_data.h"

const struct guest_file guest_files[] = {
	{"init", 0755, guest_init, &guest_init_size, NULL},
	{"bin/tour", 0755, guest_tour, &guest_tour_size, NULL},
	{"bin/doppel-guest", 0755, guest_program, &guest_program_size, "riscv64"},
	{"bin/doppel-guest", 0755, guest_program_x86_64, &guest_program_x86_64_size, "x86_64"},
	{"lib/doppel-guest.service", 0644, guest_unit, &guest_unit_size, NULL},
};
const size_t guest_files_count = ARRAY_SIZE(guest_files);

static const char *const directories[] = {"bin", "dev",  "etc",  "lib", "lib/modules",
					  "mnt", "proc", "root", "run", "sys"};

bool initramfs_carries(const struct guest_file *file, enum engine_arch arch)
{
	return !file->arch || strcmp(file->arch, engine_arch_name(arch)) == 0;
}

/* Of the console that the kernel opens for init, before there is a file system of devices. */
#define CONSOLE_MAJOR 5
#define CONSOLE_MINOR 1

static void add_text(struct cpio *cpio, const char *path, const char *text)
{
	cpio_file(cpio, path, 0644, text, strlen(text));
}

/* Adds what `make` says of the modules as the file `name` beside them. */
static int add_index(struct cpio *cpio, const struct contents *contents, const char *name,
		     int (*make)(const struct module_set *, char **))
{
	char path[PATH_MAX], *text;
	int r = make(&contents->modules, &text);

	if (r < 0)
		return r;
	snprintf(path, sizeof path, "lib/modules/%s/%s", contents->release, name);
	add_text(cpio, path, text);
	free(text);
	return 0;
}

static int add_modules(struct cpio *cpio, const struct contents *contents)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof path, "lib/modules/%s", contents->release);
	cpio_directory(cpio, path, 0755);
	r = add_index(cpio, contents, "modules.dep", module_dependencies);
	if (r == 0)
		r = add_index(cpio, contents, "modules.alias", module_aliases);
	for (size_t i = 0; r == 0 && i < contents->modules.count; i++) {
		const struct module *module = &contents->modules.modules[i];

		if (!module->wanted)
			continue;
		snprintf(path, sizeof path, "lib/modules/%s/%.200s", contents->release, module->file);
		cpio_file(cpio, path, 0644, module->bytes, module->size);
	}
	return r;
}

static int fill(struct cpio *cpio, const struct contents *contents, enum engine_arch arch)
{
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
		cpio_directory(cpio, directories[i], 0755);
	cpio_directory(cpio, "tmp", 01777);
	/* Where the kernel looks for modprobe. */
	cpio_link(cpio, "sbin", "bin");
	cpio_character_device(cpio, "dev/console", 0600, CONSOLE_MAJOR, CONSOLE_MINOR);
	add_text(cpio, "etc/passwd", "root::0:0:root:/root:/bin/sh\n");
	add_text(cpio, "etc/group", "root:x:0:\n");
	/* What mount tries when it is told no type; the kernel then asks for the module. */
	add_text(cpio, "etc/filesystems", "ext4\n");
	cpio_file(cpio, "bin/busybox", 0755, contents->busybox, contents->busybox_size);
	for (size_t i = 0; i < guest_files_count; i++)
		if (*guest_files[i].size > 0 && initramfs_carries(&guest_files[i], arch))
			cpio_file(cpio, guest_files[i].path, guest_files[i].mode, guest_files[i].bytes,
				  *guest_files[i].size);
	return add_modules(cpio, contents);
}

int initramfs_make(const struct contents *contents, enum engine_arch arch, uint8_t **bytes, size_t *size, struct error *e)
{
	struct cpio *cpio = cpio_new();
	int r = cpio ? fill(cpio, contents, arch) : -ENOMEM;

	if (r == 0)
		r = cpio_finish(cpio, bytes, size);
	cpio_free(cpio);
	return r < 0 ? error_errno(e, r, "cannot make the initial file system") : 0;
}
