#include "image/modules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/child.h"
#include "image/tar.h"

#define MODULES "usr/lib/modules/"

/* Below the kernel/ of a release. */
static const char *const chosen[] = {
	"arch/",           "block/",           "crypto/",         "fs/",           "lib/",
	"mm/",             "net/",             "security/",       "drivers/base/", "drivers/block/",
	"drivers/cdrom/",  "drivers/char/",   "drivers/crypto/virtio/", "drivers/dax/", "drivers/firmware/", "drivers/md/",
	"drivers/input/evdev", "drivers/nvdimm/", "drivers/rtc/",     "drivers/tty/",    "drivers/uio/",  "drivers/vdpa/",
	"drivers/vhost/",  "drivers/virtio/",  "drivers/watchdog/",
};
/* Of the drivers of networks those without hardware: all in the folder itself, and these. */
static const char *const networks[] = {"bonding/", "ipvlan/", "ovpn/", "team/", "vxlan/", "wireguard/"};

struct filling {
	struct tar *tar;
	struct ext4 *ext4;
};

static bool begins(const char *text, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strncmp(text, list[i], strlen(list[i])) == 0)
			return true;
	return false;
}

static bool is_chosen(const char *path)
{
	const char *rest = strncmp(path, MODULES, strlen(MODULES)) == 0 ? strchr(path + strlen(MODULES), '/') : NULL;

	if (!rest)
		return false;
	if (strncmp(rest, "/modules.", 9) == 0)
		return true;
	if (strncmp(rest, "/kernel/", 8) != 0)
		return false;
	rest += 8;
	if (strncmp(rest, "drivers/net/", 12) == 0)
		return !strchr(rest + 12, '/') || begins(rest + 12, networks, ARRAY_SIZE(networks));
	return begins(rest, chosen, ARRAY_SIZE(chosen));
}

static bool want(void *context, const struct tar_entry *entry)
{
	(void)context;
	return is_chosen(entry->path);
}

/* With the directories that lead to it. */
static int take(void *context, const struct tar_entry *entry, uint8_t *bytes, size_t size)
{
	static const struct ext4_attributes directory = {.mode = 0755};
	const struct ext4_attributes attributes = {entry->mode, entry->user, entry->group, entry->modified};
	const struct filling *filling = context;
	char *path = strdup(entry->path);
	int r = path ? 0 : -ENOMEM;

	for (char *slash = path ? strchr(path, '/') : NULL; r == 0 && slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		r = ext4_directory(filling->ext4, path, &directory);
		*slash = '/';
	}
	if (r == 0)
		r = ext4_file(filling->ext4, path, &attributes, bytes, size);
	free(path);
	free(bytes);
	return r;
}

static int feed(void *context, const uint8_t *bytes, size_t size)
{
	const struct filling *filling = context;

	return tar_feed(filling->tar, bytes, size);
}

int modules_unpack(struct ext4 *ext4, const char *path, int keep, struct error *e)
{
	const char *const arguments[] = {"dpkg-deb", "--fsys-tarfile", path, NULL};
	struct filling filling = {.ext4 = ext4};
	struct child child = {.arguments = arguments, .keep = keep, .output = feed, .context = &filling};
	struct error why = {.kind = ERROR_NONE};
	int r;

	filling.tar = tar_new(&(struct tar_visitor){.want = want, .take = take, .context = &filling});
	r = filling.tar ? child_run(&child, &why) : -ENOMEM;
	if (r == 0)
		r = tar_end(filling.tar);
	tar_free(filling.tar);
	if (r < 0 && why.kind != ERROR_NONE)
		return error_set(e, why.kind, r, "%s", why.message);
	return r < 0 ? error_errno(e, r, "cannot unpack %.300s", path) : 0;
}
