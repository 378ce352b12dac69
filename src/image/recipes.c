#include "image/local.h"

#include <errno.h>
#include <string.h>

static const char *const tiny_extra[] = {"busybox-static", NULL};

/* What virtio over MMIO takes (evdev for the power button), and the file system of disks; ext4 asks for crc32c by name when
 * it mounts. */
static const char *const tiny_modules[] = {
	"virtio_mmio",    "virtio_blk", "virtio_net", "virtio_balloon", "virtio_rng", "vmw_vsock_virtio_transport",
	"virtio_input",   "evdev",      "crc32c_generic", "ext4", NULL,
};

static const struct image_recipe debian_tiny = {
	.name = "debian-tiny",
	.help = "Debian's kernel and a busybox shell, in memory only",
	.architecture = "riscv64",
	.append = "console=ttyS0 quiet psi=0 cgroup_disable=memory",
	.download_bytes = 123 * MIB,
	.suite = "trixie",
	.kernel = "linux-image-riscv64",
	.extra = tiny_extra,
	.modules = tiny_modules,
};

/* What a person expects of a server, and what finds the machine's devices and network. */
static const char *const debian_system[] = {
	"apt",          "ca-certificates", "dbus",       "debian-archive-keyring", "iproute2",         "iputils-ping",
	"kmod",         "less",            "libpam-systemd", "login",             "nano",             "netbase",
	"openssh-server", "passwd",        "procps",     "systemd",                "systemd-resolved", "systemd-sysv",
	"udev",         NULL,
};

static const struct image_recipe debian = {
	.name = "debian",
	.help = "Debian 13 with systemd on a disk; log in as root",
	.architecture = "riscv64",
	.append = "console=ttyS0 quiet root=/dev/vda rw",
	.download_bytes = 172 * MIB,
	.suite = "trixie",
	.kernel = "linux-image-riscv64",
	.extra = tiny_extra,
	.modules = tiny_modules,
	.system = debian_system,
	.disk_bytes = 4096 * MIB,
	.used_bytes = 400 * MIB,
};

const struct image_recipe *const image_recipes[] = {&debian, &debian_tiny, NULL};

const char *const image_state_words[IMAGE_STATES] = {
	[IMAGE_ABSENT] = "absent",
	[IMAGE_READY] = "ready",
	[IMAGE_STALE] = "stale",
	[IMAGE_DAMAGED] = "damaged",
};

const struct image_recipe *image_recipe_find(const char *name, struct error *e)
{
	const struct image_recipe *local = local_find(name);
	char known[256] = "";

	for (size_t i = 0; image_recipes[i]; i++) {
		if (strcmp(image_recipes[i]->name, name) == 0)
			return image_recipes[i];
		if (strlen(known) + strlen(image_recipes[i]->name) + 3 < sizeof known) {
			strcat(known, i > 0 ? ", " : "");
			strcat(known, image_recipes[i]->name);
		}
	}
	if (local)
		return local;
	(void)error_set(e, ERROR_NOT_FOUND, -ENOENT, "there is no image '%.100s'; known are: %s", name, known);
	return NULL;
}
