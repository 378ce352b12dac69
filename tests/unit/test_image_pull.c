/*
 * A whole pull against a mirror that is a directory: apt-get and apt-cache are scripts that say what a mirror
 * would, while apt-helper, sha256sum and dpkg-deb are the host's.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/types.h"
#include "image/image.h"
#include "image_files.h"

static const char *const extra[] = {"busybox-static", NULL};
static const char *const modules[] = {"virtio_blk", NULL};
static const char *const more_modules[] = {"virtio_blk", "other", NULL};

static struct image_recipe recipe = {
	.name = "test",
	.help = "",
	.append = "console=ttyS0",
	.suite = "trixie",
	.kernel = "linux-image-riscv64",
	.extra = extra,
	.modules = modules,
};

static char top[] = "/tmp/doppel-test-pull-XXXXXX";

static void path_of(char out[256], const char *name)
{
	snprintf(out, 256, "%s/%s", top, name);
}

static void write_at(const char *name, const void *bytes, size_t size, unsigned mode)
{
	char path[256];
	struct error e = {.kind = ERROR_NONE};

	path_of(path, name);
	if (file_write(path, bytes, size, mode, &e) < 0)
		fail_msg("%s", e.message);
}

/* Runs a shell command in the test's directory. */
static void in_top(const char *command)
{
	char *line;

	assert_true(asprintf(&line, "cd %s && { %s; } >log 2>&1", top, command) > 0);
	if (system(line) != 0)
		fail_msg("failed: %s", command);
	free(line);
}

static void write_module(const char *name, const char *info, size_t info_size)
{
	size_t size;
	uint8_t *bytes = image_files_packed_module_of(info, info_size, &size);

	write_at(name, bytes, size, 0644);
	free(bytes);
}

static const char apt_get[] =
	"#!/bin/sh\n"
	"cd \"$MIRROR\" || exit 1\n"
	"echo \"$*\" >>calls\n"
	"case \"$*\" in\n"
	"*indextargets*) echo \"http://mirror.invalid/debian/ main\" ;;\n"
	"*update) [ ! -e broken ] || { echo \"E: $(cat broken)\" >&2; exit 100; } ;;\n"
	"*print-uris*) for f in *.deb; do\n"
	"	echo \"'file:$MIRROR/$f' $f $(stat -c %s $f) SHA256:$(sha256sum $f | cut -d' ' -f1)\"\n"
	"done ;;\n"
	"esac\n";

static const char apt_cache[] = "#!/bin/sh\n"
				"printf 'Package: linux-image-riscv64\\nVersion: 9.9-1\\n'\n"
				"printf 'Depends: linux-image-9.9-riscv64 (= 9.9-1)\\n'\n";

static const char build[] =
	"for p in linux-image-9.9-riscv64 busybox-static; do\n"
	"	mkdir -p $p/DEBIAN\n"
	"	printf 'Package: %s\\nVersion: 9.9-1\\nArchitecture: riscv64\\n' $p >$p/DEBIAN/control\n"
	"	printf 'Maintainer: x\\nDescription: x\\n' >>$p/DEBIAN/control\n"
	"	dpkg-deb -Znone --build --root-owner-group $p mirror/${p}_9.9-1_riscv64.deb\n"
	"done";

static int setup(void **state)
{
	char path[512];

	(void)state;
	strcpy(top + sizeof top - 7, "XXXXXX");
	if (!mkdtemp(top))
		return -1;
	in_top("mkdir -p bin mirror linux-image-9.9-riscv64/boot busybox-static/usr/bin "
	       "linux-image-9.9-riscv64/usr/lib/modules/9.9/kernel/drivers");
	write_at("bin/apt-get", apt_get, sizeof apt_get - 1, 0755);
	write_at("bin/apt-cache", apt_cache, sizeof apt_cache - 1, 0755);
	write_at("linux-image-9.9-riscv64/boot/vmlinux-9.9", "kernel", 6, 0644);
	write_at("busybox-static/usr/bin/busybox", "busybox", 7, 0755);
	write_module("linux-image-9.9-riscv64/usr/lib/modules/9.9/kernel/drivers/virtio_blk.ko.xz", "depends=base",
		     13);
	write_module("linux-image-9.9-riscv64/usr/lib/modules/9.9/kernel/drivers/base.ko.xz", "depends=", 9);
	write_module("linux-image-9.9-riscv64/usr/lib/modules/9.9/kernel/drivers/other.ko.xz", "depends=", 9);
	in_top(build);
	snprintf(path, sizeof path, "%s/bin:/usr/bin:/bin", top);
	setenv("PATH", path, 1);
	path_of(path, "mirror");
	setenv("MIRROR", path, 1);
	path_of(path, "cache");
	setenv("XDG_CACHE_HOME", path, 1);
	recipe.modules = modules;
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	setenv("PATH", "/usr/bin:/bin", 1);
	snprintf(command, sizeof command, "rm -rf %s", top);
	return system(command);
}

static bool pull(void)
{
	struct error e = {.kind = ERROR_NONE};
	bool fresh = false;

	if (image_pull(&recipe, NULL, NULL, &fresh, &e) < 0)
		fail_msg("%s", e.message);
	return fresh;
}

static enum image_state state_now(void)
{
	struct error e = {.kind = ERROR_NONE};
	struct image_status status;

	assert_int_equal(image_status(&recipe, &status, &e), 0);
	return status.state;
}

static char *contents_of(const char *name)
{
	char path[256];
	uint8_t *bytes;
	size_t size;

	path_of(path, name);
	assert_int_equal(file_read(path, MIB, &bytes, &size, NULL), 0);
	return (char *)bytes;
}

static void there(const char *name, const char *expected)
{
	char *found = contents_of(name);

	assert_string_equal(found, expected);
	free(found);
}

/* How often the scripts were called since the last time. */
static bool network_was_used(void)
{
	char path[256];
	bool used;

	path_of(path, "mirror/calls");
	used = access(path, F_OK) == 0;
	unlink(path);
	return used;
}

struct seen {
	unsigned calls;
	uint64_t last_done;
	const char *last_step;
};

static void see(void *context, const struct image_progress *progress)
{
	struct seen *seen = context;

	if (seen->last_step && strcmp(seen->last_step, progress->step) == 0)
		assert_true(progress->done >= seen->last_done);
	assert_true(progress->total == 0 || progress->done <= progress->total);
	seen->calls++;
	seen->last_done = progress->done;
	seen->last_step = progress->step;
}

static void from_nothing_to_ready(void **state)
{
	struct error e = {.kind = ERROR_NONE};
	struct image_status status;
	struct image image;
	struct seen seen = {.calls = 0};
	bool fresh = false;

	(void)state;
	assert_int_equal(state_now(), IMAGE_ABSENT);
	assert_int_equal(image_find(&recipe, &image, &e), -ENOENT);
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	if (image_pull(&recipe, see, &seen, &fresh, &e) < 0)
		fail_msg("%s", e.message);
	assert_true(fresh);
	assert_true(seen.calls >= 3);
	assert_string_equal(seen.last_step, "unpacking");
	assert_int_equal(image_status(&recipe, &status, &e), 0);
	assert_int_equal(status.state, IMAGE_READY);
	assert_string_equal(status.version, "9.9-1");
	there("cache/doppel/images/test/kernel", "kernel");
	in_top("test ! -e cache/doppel/images/test/apt");
	in_top("grep -aq virtio_blk.ko.xz cache/doppel/images/test/initramfs && "
	       "grep -aq base.ko.xz cache/doppel/images/test/initramfs && "
	       "! grep -aq other.ko.xz cache/doppel/images/test/initramfs");
	assert_int_equal(image_find(&recipe, &image, &e), 0);
	assert_non_null(strstr(image.kernel, "/images/test/kernel"));
	assert_string_equal(image.append, "console=ttyS0");
	image_finish(&image);
}

static void a_second_pull_uses_no_network(void **state)
{
	(void)state;
	assert_true(pull());
	assert_true(network_was_used());
	assert_false(pull());
	assert_false(network_was_used());
}

static void damage_is_found_and_repaired(void **state)
{
	static const char *const damages[] = {
		"printf x | dd of=cache/doppel/images/test/kernel conv=notrunc",
		"rm cache/doppel/images/test/initramfs",
		"echo more >>cache/doppel/images/test/kernel",
		"echo more >>cache/doppel/images/test/manifest",
		"sed -i s/9.9/9.8/ cache/doppel/images/test/manifest",
		"cd cache/doppel/images/test; mv kernel k; ln -s k kernel",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		struct error e = {.kind = ERROR_NONE};
		struct image image;

		(void)pull();
		in_top(damages[i]);
		if (state_now() != IMAGE_DAMAGED || image_find(&recipe, &image, &e) != -ENOENT)
			fail_msg("not noticed: %s", damages[i]);
		assert_true(pull());
		there("cache/doppel/images/test/kernel", "kernel");
		assert_int_equal(state_now(), IMAGE_READY);
	}
}

static void repair_needs_no_network_while_packages_are_whole(void **state)
{
	(void)state;
	(void)pull();
	(void)network_was_used();
	in_top("rm cache/doppel/images/test/kernel");
	assert_true(pull());
	assert_false(network_was_used());
	in_top("rm cache/doppel/images/test/kernel; "
	       "printf x | dd of=cache/doppel/images/test/packages/busybox-static_9.9-1_riscv64.deb conv=notrunc");
	assert_true(pull());
	assert_true(network_was_used());
	assert_int_equal(state_now(), IMAGE_READY);
}

static void another_recipe_makes_it_stale(void **state)
{
	(void)state;
	(void)pull();
	(void)network_was_used();
	recipe.modules = more_modules;
	assert_int_equal(state_now(), IMAGE_STALE);
	assert_true(pull());
	assert_false(network_was_used());
	assert_int_equal(state_now(), IMAGE_READY);
	in_top("grep -aq other.ko.xz cache/doppel/images/test/initramfs");
}

/* Left by an interrupted pull: a part, a whole one with other bytes, and an old one. */
static void leftovers_of_a_download(void **state)
{
	(void)state;
	in_top("mkdir -p cache/doppel/images/test/packages; m=$PWD/mirror; cd cache/doppel/images/test/packages; "
	       "head -c 100 $m/linux-image-9.9-riscv64_9.9-1_riscv64.deb "
	       ">linux-image-9.9-riscv64_9.9-1_riscv64.deb; "
	       "tr a-z A-Z <$m/busybox-static_9.9-1_riscv64.deb >busybox-static_9.9-1_riscv64.deb; "
	       "echo >old_1_riscv64.deb");
	assert_true(pull());
	assert_int_equal(state_now(), IMAGE_READY);
	in_top("test ! -e cache/doppel/images/test/packages/old_1_riscv64.deb");
	in_top("cmp mirror/busybox-static_9.9-1_riscv64.deb "
	       "cache/doppel/images/test/packages/busybox-static_9.9-1_riscv64.deb");
}

static void refused(const char *command, enum error_kind kind, const char *part)
{
	struct error e = {.kind = ERROR_NONE};

	in_top(command);
	assert_true(image_pull(&recipe, NULL, NULL, NULL, &e) < 0);
	if (e.kind != kind || !strstr(e.message, part))
		fail_msg("kind %d, not %d, or no '%s' in: %s", e.kind, kind, part, e.message);
	assert_int_not_equal(state_now(), IMAGE_READY);
}

static void failures_tell_the_remedy(void **state)
{
	(void)state;
	refused("echo 'Failed to fetch: no route' >mirror/broken", ERROR_FAILED, "check the network");
	refused("echo 'The following signatures: NO_PUBKEY 12' >mirror/broken", ERROR_FAILED,
		"debian-archive-keyring");
	refused("rm mirror/broken; mv mirror/busybox* .", ERROR_FAILED, "lists no archive");
	refused("mv busybox*.deb mirror; mv mirror/linux* .; "
		"echo no >mirror/linux-image-9.9-riscv64_9.9-1_riscv64.deb",
		ERROR_FAILED, "dpkg-deb");
	refused("mv linux*.deb mirror; rm bin/apt-cache; ln -s /bin/true bin/apt-cache", ERROR_FAILED,
		"names no kernel");
	in_top("rm bin/apt-cache");
	setenv("PATH", "/nonexistent", 1);
	refused("true", ERROR_NOT_FOUND, "there is no apt-get here");
}

static void places_where_no_image_can_be(void **state)
{
	char path[256];

	(void)state;
	path_of(path, "bin/apt-get");
	setenv("XDG_CACHE_HOME", path, 1);
	refused("true", ERROR_NOT_FOUND, "XDG_CACHE_HOME");
	path_of(path, "a\"b");
	setenv("XDG_CACHE_HOME", path, 1);
	refused("true", ERROR_USAGE, "XDG_CACHE_HOME");
}

static void removal_takes_only_its_own(void **state)
{
	struct error e = {.kind = ERROR_NONE};
	uint64_t bytes = 0;

	(void)state;
	(void)pull();
	in_top("mkdir -p cache/doppel/images/other outside; touch cache/doppel/images/other/a outside/b; "
	       "ln -s ../../../../outside cache/doppel/images/test/link");
	assert_int_equal(image_remove(&recipe, &bytes, &e), 0);
	assert_true(bytes > 0);
	in_top("test -e outside/b && test -e cache/doppel/images/other/a && test ! -e cache/doppel/images/test");
	assert_int_equal(image_remove(&recipe, &bytes, &e), -ENOENT);
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	assert_true(pull());
}

/* Both succeed, one of them does the work. */
static void two_pulls_at_once(void **state)
{
	int fresh = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		if (fork() == 0) {
			bool made = false;

			_exit(image_pull(&recipe, NULL, NULL, &made, NULL) < 0 ? 9 : made);
		}
	}
	for (unsigned i = 0; i < 2; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status));
		assert_in_range(WEXITSTATUS(status), 0, 1);
		fresh += WEXITSTATUS(status);
	}
	assert_int_equal(fresh, 1);
	assert_int_equal(state_now(), IMAGE_READY);
}

static void known_images(void **state)
{
	struct error e = {.kind = ERROR_NONE};
	const struct image_recipe *tiny = image_recipe_find("debian-tiny", NULL, &e);
	const struct image_recipe *full = image_recipe_find("debian", NULL, &e);

	(void)state;
	assert_non_null(tiny);
	assert_string_equal(image_debian_arch(tiny), "riscv64");
	assert_null(tiny->system);
	assert_int_equal(tiny->arch, ENGINE_RISCV64);
	assert_ptr_equal(image_recipe_find("debian-tiny", "riscv64", &e), tiny);
	assert_int_equal(image_recipe_find("debian-tiny", "x86_64", &e)->arch, ENGINE_X86_64);
	assert_non_null(full);
	assert_non_null(full->system);
	assert_null(image_recipe_find("debian-huge", NULL, &e));
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	assert_non_null(strstr(e.message, "debian-tiny"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(from_nothing_to_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_pull_uses_no_network, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_found_and_repaired, setup, teardown),
		cmocka_unit_test_setup_teardown(repair_needs_no_network_while_packages_are_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(another_recipe_makes_it_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(leftovers_of_a_download, setup, teardown),
		cmocka_unit_test_setup_teardown(failures_tell_the_remedy, setup, teardown),
		cmocka_unit_test_setup_teardown(places_where_no_image_can_be, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_takes_only_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(two_pulls_at_once, setup, teardown),
		cmocka_unit_test(known_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
