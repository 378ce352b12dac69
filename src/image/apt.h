/*
 * Downloads Debian packages of another architecture and release by means of this host's apt.
 *
 * apt works in a private root below the image's cache: its own sources, lists and archives. The host's
 * configuration is read (proxies, credentials, timeouts) and nothing of the host's is written. What comes is
 * accepted only when signed by Debian's archive keys of this host, whatever the host's configuration allows
 * otherwise. A download that was interrupted goes on where it was. No privilege is needed.
 */
#ifndef DOPPEL_IMAGE_APT_H
#define DOPPEL_IMAGE_APT_H

#include "image/cache.h"
#include "image/image.h"

#define APT_PACKAGES_MAX 384
#define APT_FILE_SIZE    200
#define APT_URI_SIZE     1024
#define APT_HASH_DIGITS  64

/* An archive, as the signed index describes it. */
struct apt_package {
	char file[APT_FILE_SIZE]; /* its name in the cache's packages/ */
	char uri[APT_URI_SIZE];
	char sha256[APT_HASH_DIGITS + 1];
	uint64_t size;
};

struct apt_packages {
	struct apt_package list[APT_PACKAGES_MAX];
	size_t count;
	char version[128]; /* of the kernel's */
};

/* The cache must be locked. The archives are in the directory packages/ of the cache after success. */
MUST_USE int apt_download(const struct cache *cache, const struct image_recipe *recipe,
			  image_progress_fn *progress, void *context, struct apt_packages *out, struct error *e);

/* Whether an archive is one of those that kernel and initial file system come from; the others are the system's. */
bool apt_is_boot_part(const struct image_recipe *recipe, const char *file);

/* Removes apt's private root: everything of a download but the packages. */
void apt_clean(const struct cache *cache);

/* For tests: the real kernel package and its version, from what `apt-cache show META` printed; false when there
 * is none. */
bool apt_parse_meta(const char *text, char name[APT_FILE_SIZE], char version[128]);
/* For tests: the archives, from what `apt-get download --print-uris` printed; false when a line is not as
 * expected. */
bool apt_parse_uris(const char *text, struct apt_packages *out);

#endif
