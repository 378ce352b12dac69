#include "cli/run_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/progress.h"
#include "cli/run_options.h"
#include "image/seed.h"

static bool wants_seed(const struct arguments *arguments)
{
	return arguments->values[RUN_CLOUD_INIT].given || arguments->values[RUN_SSH_KEY].given;
}

const char *run_image_append(const struct arguments *arguments)
{
	return wants_seed(arguments) ? "ds=nocloud" : "";
}

static int no_room(struct error *e)
{
	return error_set(e, ERROR_USAGE, -E2BIG, "--disk: at most %d disks are possible, with the image's and the seed",
			 MACHINE_DISKS_MAX);
}

static int add_root(struct run_image *run_image, const struct image *image, bool own,
		    const struct arguments *arguments, struct machine_config *config, struct error *e)
{
	const char *keep = arguments->values[RUN_KEEP].text;
	enum block_format format = image->disk_qcow2 ? BLOCK_QCOW2 : BLOCK_RAW;
	struct block_options root = {.path = keep ? keep : image->disk, .format = format, .overlay = !keep && !own};
	int r = 0;

	if (keep && access(keep, F_OK) < 0)
		r = progress_copy_disk(image, keep, e);
	if (r == 0 && config->disk_count + 1 > MACHINE_DISKS_MAX)
		r = no_room(e);
	if (r < 0)
		return r;
	if (config->disk_count > 0)
		memmove(run_image->disks + 1, config->disks, config->disk_count * sizeof root);
	run_image->disks[0] = root;
	config->disks = run_image->disks;
	config->disk_count++;
	return 0;
}

/* Memory that has a path, so nothing is left behind however this ends. */
static int store_seed(struct run_image *run_image, const uint8_t *bytes, size_t size, struct error *e)
{
	run_image->seed = memfd_create("doppel-seed", MFD_CLOEXEC);
	if (run_image->seed < 0)
		return error_errno(e, -errno, "--cloud-init");
	for (size_t at = 0; at < size;) {
		ssize_t count = write(run_image->seed, bytes + at, size - at);

		if (count < 0 && errno != EINTR)
			return error_errno(e, -errno, "--cloud-init");
		at += count > 0 ? (size_t)count : 0;
	}
	snprintf(run_image->seed_path, sizeof run_image->seed_path, "/proc/self/fd/%d", run_image->seed);
	return 0;
}

static int add_seed(struct run_image *run_image, const struct arguments *arguments, struct machine_config *config,
		    struct error *e)
{
	const char *keys[SEED_KEYS_MAX], *key;
	struct seed_options options = {
		.source = arguments->values[RUN_CLOUD_INIT].text, .hostname = config->name, .keys = keys};
	uint8_t *bytes;
	size_t size, cursor = 0;
	int r;

	while ((key = arguments_next(arguments, RUN_SSH_KEY, &cursor))) {
		if (options.key_count == SEED_KEYS_MAX)
			return error_set(e, ERROR_USAGE, -E2BIG, "--ssh-key: at most %d are possible", SEED_KEYS_MAX);
		keys[options.key_count++] = key;
	}
	r = seed_make(&options, &bytes, &size, e);
	if (r < 0)
		return error_prefix(e, r, "--cloud-init");
	r = store_seed(run_image, bytes, size, e);
	free(bytes);
	if (r == 0 && config->disk_count + 1 > MACHINE_DISKS_MAX)
		r = no_room(e);
	if (r < 0)
		return r;
	if (config->disk_count > 0)
		memmove(run_image->disks, config->disks, config->disk_count * sizeof *config->disks);
	run_image->disks[config->disk_count++] =
		(struct block_options){.path = run_image->seed_path, .format = BLOCK_RAW, .read_only = true};
	config->disks = run_image->disks;
	return 0;
}

int run_image_disks(struct run_image *run_image, const struct image *image, bool own,
		    const struct arguments *arguments, struct machine_config *config, struct error *e)
{
	bool disk = image && image->disk;
	int r = 0;

	if (arguments->values[RUN_KEEP].given && !disk)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--keep: there is no image with a disk to keep; give an image such as debian");
	if (disk)
		r = add_root(run_image, image, own, arguments, config, e);
	if (disk && !arguments->values[RUN_NET].given && config->nic_count == 0) {
		run_image->nic.options = (struct net_options){.kind = NET_USER, .hostname = config->name};
		config->nics = &run_image->nic;
		config->nic_count = 1;
	}
	if (r == 0 && wants_seed(arguments))
		r = add_seed(run_image, arguments, config, e);
	return r;
}

void run_image_finish(struct run_image *run_image)
{
	if (run_image->seed >= 0)
		close(run_image->seed);
	*run_image = RUN_IMAGE_NONE;
}
