/*
 * The manifest of an image: of what it was made, and the size and hash of each of its files.
 *
 * A text file, written last, so that an image without one was not finished. Its own last line is a hash of
 * all before it. Hashes are XXH3 of 128 bits: they find damage, not malice; apt has checked signatures
 * before anything got here. Thread: any.
 */
#ifndef DOPPEL_IMAGE_MANIFEST_H
#define DOPPEL_IMAGE_MANIFEST_H

#include "base/error.h"
#include "base/types.h"

#define MANIFEST_FILES_MAX 400
#define MANIFEST_HASH_SIZE 33 /* with the NUL */

struct manifest_file {
	char name[256]; /* relative to the image's directory: "kernel", "packages/a.deb" */
	uint64_t size;
	char hash[MANIFEST_HASH_SIZE];
	/* Of a large file: inode number and time of its last change (ns since 1970) when it was measured. While both
	 * are the same, so are its contents, and nobody need read them. 0: not known. */
	uint64_t inode, changed;
};

struct manifest {
	char recipe[MANIFEST_HASH_SIZE];   /* of all that doppel put into it; see image.c */
	char packages[MANIFEST_HASH_SIZE]; /* of the names of what was downloaded */
	char disk[MANIFEST_HASH_SIZE];     /* of all that doppel put onto the disk; empty without one */
	char version[128];                 /* of the kernel package */
	int64_t made;                      /* seconds since 1970 */
	char arch[16];                     /* of an imported image, as engines call it; empty: "riscv64" */
	char append[1024];                 /* of an imported image: the kernel's command line; may be empty */
	struct manifest_file files[MANIFEST_FILES_MAX];
	size_t count;
	bool renewed; /* manifest_holds found a large file elsewhere than it was, as after a copy of the image; not written */
};

/* -ENOENT: none; -EBADMSG: damaged or of an unknown form. */
MUST_USE int manifest_read(const char *path, struct manifest *out);
MUST_USE int manifest_write(const char *path, const struct manifest *manifest, struct error *e);

/* Measures the file `name` in `directory` and lists it. */
MUST_USE int manifest_add(struct manifest *manifest, const char *directory, const char *name, struct error *e);

/* Whether every listed file whose name begins with `prefix` is there as it was; false when none is listed. What had to be
 * read to know that is known from now on, and with the manifest written anew for good. */
bool manifest_holds(struct manifest *manifest, const char *directory, const char *prefix);

/* Hash of bytes, as in a manifest. */
void manifest_hash(const void *bytes, size_t size, char out[MANIFEST_HASH_SIZE]);

#endif
