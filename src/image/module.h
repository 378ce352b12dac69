/*
 * Kernel modules as Debian packs them (ELF objects, compressed with xz), and what they depend on.
 *
 * Debian's packages hold no modules.dep (depmod writes it on the target), so the closure is worked out from the
 * "depends" entry in each module's .modinfo section. Modules are known by name: "-" and "_" in it are the same.
 * Thread: the owner's.
 */
#ifndef DOPPEL_IMAGE_MODULE_H
#define DOPPEL_IMAGE_MODULE_H

#include "base/error.h"
#include "base/types.h"

struct module {
	char *file;     /* "virtio-rng.ko.xz", without directory */
	uint8_t *bytes; /* as packed */
	size_t size;
	bool wanted;   /* is named, or something wanted depends on it */
	char *depends; /* "jbd2,mbcache,crc16"; known when wanted */
	char *aliases; /* other names, patterns among them, each followed by a newline; known when wanted */
};

/* Modules that a package offers; all zero is an empty set. */
struct module_set {
	struct module *modules;
	size_t count, room;
};

/* Whether a file name is one of a packed module. */
bool module_is_file(const char *file);

/* Takes over `bytes`, also when it fails (-ENOMEM). */
MUST_USE int module_add(struct module_set *set, const char *file, uint8_t *bytes, size_t size);

/* Marks `name` and all that it depends on as wanted, recursively. -ENOENT: it, or a dependency, is not in the set;
 * -EBADMSG: not an xz stream, or not a module. */
MUST_USE int module_want(struct module_set *set, const char *name, struct error *e);

/* Keeps the wanted modules unpacked instead: a guest that loads them at once need not unpack them. -EBADMSG,
 * -ENOMEM. */
MUST_USE int module_unpack(struct module_set *set);

/* The text of modules.dep for the wanted modules, all in one directory: for each its file and the files that
 * must be loaded before it, last one first. *text is the caller's to free(). */
MUST_USE int module_dependencies(const struct module_set *set, char **text);

/* The text of modules.alias for the wanted modules, so that the guest finds a driver by what its bus says of a
 * device. *text is the caller's to free(). */
MUST_USE int module_aliases(const struct module_set *set, char **text);

void module_set_finish(struct module_set *set);

/* The value of `key` in the .modinfo section of an ELF64 little-endian object, the first one that lies after
 * `previous` when that is not NULL; NULL when there is none. The result points into `bytes` and is terminated
 * there. For hostile bytes too. */
const char *module_info(const uint8_t *bytes, size_t size, const char *key, const char *previous);

#endif
