/*
 * The seed of a machine, as cloud-init's NoCloud data source reads it: a disk labelled CIDATA with the files
 * user-data, meta-data and perhaps network-config and vendor-data.
 *
 * Thread: any. Messages tell the remedy.
 */
#ifndef DOPPEL_IMAGE_SEED_H
#define DOPPEL_IMAGE_SEED_H

#include "base/error.h"
#include "base/types.h"

#define SEED_FILE_MAX MIB /* of each file */
#define SEED_KEYS_MAX 32

struct seed_options {
	/* A file with user data, or a folder of files with the names above; NULL: no user data. */
	const char *source;
	const char *hostname;     /* for meta-data that we make; NULL: none told */
	const char *const *keys;  /* files with public keys of ssh, for meta-data that we make */
	size_t key_count;
};

/* Makes the disk's bytes; *bytes is the caller's to free(). Meta-data are made unless the folder has some: an
 * instance-id, which is the same for the same contents, the host name and the keys. ERROR_NOT_FOUND,
 * ERROR_USAGE (what is there is no user data, or no key), ERROR_FAILED. */
MUST_USE int seed_make(const struct seed_options *options, uint8_t **bytes, size_t *size, struct error *e);

/* Whether user data are of a kind that is known: they begin with "#cloud-config" or "#!". */
bool seed_is_user_data(const char *text, size_t size);
/* Whether a line is a public key: type, base64, perhaps a comment, nothing that could be more than one line. */
bool seed_is_key(const char *line, size_t length);

#endif
