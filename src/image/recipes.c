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

/* The cloud kernel has virtio over PCI and ext4 built in; what ACPI tells of takes virtio_mmio, button and pvpanic. */
static const char *const cloud_modules[] = {
	"virtio_mmio", "virtio_blk", "virtio_net", "virtio_balloon", "virtio_rng", "vmw_vsock_virtio_transport",
	"virtio_input", "evdev",     "button",     "pvpanic_mmio",   "overlay",    NULL,
};

/* Debian 13's Java does not start where Linux uses five levels of page tables, which it does if it may. */
#define FOUR_LEVELS "no5lvl"
/* What a small machine that shall run at once does without: accounts of pressure and of groups' memory, and the kernel's tests of
 * its own ciphers, which are a third of the time that it needs to user space. */
#define AT_ONCE "psi=0 cgroup_disable=memory cryptomgr.notests"

static const struct image_recipe debian_tiny = {
	.name = "debian-tiny",
	.help = "Debian's kernel and a busybox shell, in memory only",
	.arch = ENGINE_RISCV64,
	.append = "console=ttyS0 quiet " FOUR_LEVELS " " AT_ONCE,
	.download_bytes = 123 * MIB,
	.suite = "trixie",
	.kernel = "linux-image-riscv64",
	.extra = tiny_extra,
	.modules = tiny_modules,
};

static const struct image_recipe debian_tiny_x86_64 = {
	.name = "debian-tiny",
	.help = "Debian's kernel and a busybox shell, in memory only",
	.arch = ENGINE_X86_64,
	.folder = "debian-tiny@x86_64",
	.append = "console=ttyS0 quiet " AT_ONCE,
	.download_bytes = 36 * MIB,
	.suite = "trixie",
	.kernel = "linux-image-cloud-amd64",
	.extra = tiny_extra,
	.modules = cloud_modules,
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
	.arch = ENGINE_RISCV64,
	.append = "console=ttyS0 quiet " FOUR_LEVELS " root=/dev/vda rw",
	.download_bytes = 172 * MIB,
	.suite = "trixie",
	.kernel = "linux-image-riscv64",
	.extra = tiny_extra,
	.modules = tiny_modules,
	.system = debian_system,
	.disk_bytes = 4096 * MIB,
	.used_bytes = 400 * MIB,
};

static const struct image_recipe debian_x86_64 = {
	.name = "debian",
	.help = "Debian 13 with systemd on a disk; log in as root",
	.arch = ENGINE_X86_64,
	.folder = "debian@x86_64",
	.append = "console=ttyS0 quiet root=/dev/vda rw",
	.download_bytes = 86 * MIB,
	.suite = "trixie",
	.kernel = "linux-image-cloud-amd64",
	.extra = tiny_extra,
	.modules = cloud_modules,
	.system = debian_system,
	.disk_bytes = 4096 * MIB,
	.used_bytes = 400 * MIB,
};

const struct image_recipe *const image_recipes[] = {&debian, &debian_x86_64, &debian_tiny, &debian_tiny_x86_64, NULL};

const char *const image_state_words[IMAGE_STATES] = {
	[IMAGE_ABSENT] = "absent",
	[IMAGE_READY] = "ready",
	[IMAGE_STALE] = "stale",
	[IMAGE_DAMAGED] = "damaged",
};

const char *image_debian_arch(const struct image_recipe *recipe)
{
	return recipe->arch == ENGINE_X86_64 ? "amd64" : engine_arch_name(recipe->arch);
}

static bool is_for(const struct image_recipe *recipe, const char *arch)
{
	return !arch || strcmp(engine_arch_name(recipe->arch), arch) == 0;
}

static int not_known(const char *name, const char *arch, struct error *e)
{
	const char *shown = arch ? arch : engine_arch_name(ENGINE_RISCV64), *separator = "";
	char known[256] = "";

	for (size_t i = 0; image_recipes[i]; i++) {
		const char *next = image_recipes[i]->name;

		if (!is_for(image_recipes[i], shown) || strlen(known) + strlen(next) + 3 >= sizeof known)
			continue;
		strcat(strcat(known, separator), next);
		separator = ", ";
	}
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "there is no image '%.100s'%s%s; known are: %s", name,
			 arch ? " for " : "", arch ? arch : "", known);
}

const struct image_recipe *image_recipe_find(const char *name, const char *arch, struct error *e)
{
	const struct image_recipe *local;

	for (size_t i = 0; image_recipes[i]; i++)
		if (strcmp(image_recipes[i]->name, name) == 0 && is_for(image_recipes[i], arch))
			return image_recipes[i];
	local = local_find(name);
	if (local && is_for(local, arch))
		return local;
	if (local)
		(void)error_set(e, ERROR_NOT_FOUND, -ENOENT, "the image %s is for %s, not for %s", name,
				engine_arch_name(local->arch), arch);
	else
		(void)not_known(name, arch, e);
	return NULL;
}
