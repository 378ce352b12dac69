/*
 * Unpacks Debian packages into a new file system and writes dpkg's database there, so that each package is
 * "unpacked": what dpkg --unpack leaves, but without running anything of the packages. What is left to do in the
 * guest is the scripts before unpacking (preinst), and dpkg --configure --pending.
 *
 * Configuration files are put in place with their hash, triggers are noted for later; see deb-conffiles(5),
 * deb-triggers(5). Packages must not be there yet and divert nothing. Thread: the owner's.
 */
#ifndef DOPPEL_IMAGE_DPKG_H
#define DOPPEL_IMAGE_DPKG_H

#include "image/ext4.h"

struct dpkg;

struct dpkg_options {
	/* Directories, without slashes around, whose files stay in their packages: dpkg lists them all the same. NULL
	 * after the last; files called "copyright" are kept. */
	const char *const *excluded;
	int keep; /* inherited by dpkg-deb, see child.h */
	/* Called as packages are unpacked, with the bytes so far. May be NULL. */
	void (*progress)(void *context, uint64_t bytes);
	void *context;
};

/* Makes the directories of the database. NULL, with `e` filled, when that fails. */
struct dpkg *dpkg_new(struct ext4 *ext4, const struct dpkg_options *options, struct error *e);
/* The package in the file `path`. A failure leaves the file system in between. */
MUST_USE int dpkg_unpack(struct dpkg *dpkg, const char *path, struct error *e);
/* Writes what is known of all packages. */
MUST_USE int dpkg_finish(struct dpkg *dpkg, struct error *e);
void dpkg_free(struct dpkg *dpkg);

/* The value of a field in the first paragraph of a control file, as a piece of the text; false when it has none. */
bool dpkg_field(const char *control, const char *name, const char **value, size_t *length);

#endif
