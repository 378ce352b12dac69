/*
 * The root disk of an image: the packages of a system, unpacked on the host and configured in a machine of our
 * own.
 *
 * Nothing of the packages runs on the host: their files go from dpkg-deb straight into an ext4 file system
 * (dpkg.h, ext4.h), and their scripts run in the guest (guest/debian/setup), with the kernel and the initial file
 * system of the image. The disk gets its name only after that guest has ended itself with status 0. Thread: the
 * owner's.
 */
#ifndef DOPPEL_IMAGE_DISK_H
#define DOPPEL_IMAGE_DISK_H

#include <stdio.h>

#include "image/apt.h"
#include "image/cache.h"
#include "image/image.h"

#define DISK_NAME "disk.raw" /* in the image's directory */
#define DISK_LOG  "setup.log" /* beside it, after a failure: what the guest said */

/* Prints all that a program of this version would put on the disk besides the packages, so that another's is
 * known. */
void disk_describe(const struct image_recipe *recipe, FILE *out);

/* Whether its system can be configured on this host, in a machine of our own. -ENODEV, ERROR_NOT_FOUND: there is no engine
 * for it, or none in a bearable time. */
MUST_USE int disk_possible(const struct image_recipe *recipe, struct error *e);

/* Makes the disk out of the archives in packages/; kernel and initramfs must be there. -EINTR: a signal came. */
MUST_USE int disk_make(const struct cache *cache, const struct image_recipe *recipe,
		       const struct apt_packages *packages, image_progress_fn *progress, void *context,
		       struct error *e);

/* Runs the guest's part on the disk `name`. */
MUST_USE int disk_setup(const struct cache *cache, const struct image_recipe *recipe, const char *name, size_t packages,
			image_progress_fn *progress, void *context, struct error *e);

#endif
