#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/apt.h"
#include "image/child.h"
#include "image/fetch.h"
#include "image/mirror.h"
#include "image/module.h"
#include "image_files.h"

static void mirror_of_index_targets(void **state)
{
	char uri[MIRROR_SIZE] = "";

	(void)state;
	assert_true(mirror_from_targets("http://a.example/debian/ contrib\nhttp://b.example/debian/ main\n", uri));
	assert_string_equal(uri, "http://b.example/debian");
	assert_true(
		mirror_from_targets("cdrom:[Debian]/ main\nmirror+file:/etc/apt/mirrors/debian.list main", uri));
	assert_string_equal(uri, "mirror+file:/etc/apt/mirrors/debian.list");
	assert_false(mirror_from_targets("", uri));
	assert_false(mirror_from_targets("http://a.example/debian/ mainly\n", uri));
	assert_false(mirror_from_targets("http://a]b/ main\n", uri));
}

static void mirror_of_planned_update(void **state)
{
	static const char update[] =
		"'https://tools.example/linux/debian/dists/bookworm/main/binary-amd64/Packages.xz' f 0 \n"
		"'https://d.example/debian/dists/bookworm/InRelease' f 0 \n"
		"'https://d.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' f 0 \n"
		"'https://d.example/debian/dists/bookworm-updates/main/binary-amd64/Packages.xz' f 0 \n"
		"'https://d.example/debian-security/dists/bookworm-security/main/binary-amd64/Packages.xz' f 0 \n";
	char uri[MIRROR_SIZE] = "";

	(void)state;
	assert_true(mirror_from_update(update, uri));
	assert_string_equal(uri, "https://d.example/debian");
	assert_true(mirror_from_update("'http://only.example/d/dists/sid/main/binary-all/Packages.xz' f 0", uri));
	assert_string_equal(uri, "http://only.example/d");
	assert_false(
		mirror_from_update("'http://x.example/dists/jammy/main/binary-amd64/Packages.xz' f 0 \n", uri));
	assert_false(
		mirror_from_update("'http://x.example/dists/sid/contrib/binary-amd64/Packages.xz' f 0 \n", uri));
	assert_false(mirror_from_update("'/dists/", uri));
}

static void kernel_of_meta_package(void **state)
{
	char name[APT_FILE_SIZE] = "", version[128] = "";

	(void)state;
	assert_true(apt_parse_meta(
		"Package: m\nVersion: 6.1-2\nDepends: foo (>= 1), linux-image-6.1+x-riscv64 (= 6.1-2)\n", name,
		version));
	assert_string_equal(name, "linux-image-6.1+x-riscv64");
	assert_string_equal(version, "6.1-2");
	assert_false(apt_parse_meta("Package: m\nVersion: 6\nDepends: foo\n", name, version));
	assert_false(apt_parse_meta("Package: m\nVersion: 6\n\nDepends: linux-image-6\n", name, version));
	assert_false(apt_parse_meta("Depends: linux-image-6\n", name, version));
	assert_false(apt_parse_meta("Version: 6\nDepends: linux-image-../../x\n", name, version));
	assert_false(apt_parse_meta("", name, version));
}

#define DIGITS "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void archives_of_planned_download(void **state)
{
	static const char *const refused[] = {
		"",
		"W: nothing\n",
		"'u' ../a.deb 5 SHA256:" DIGITS "\n",
		"'u' -a.deb 5 SHA256:" DIGITS "\n",
		"'u' a.txt 5 SHA256:" DIGITS "\n",
		"'u' a.deb -5 SHA256:" DIGITS "\n",
		"'u' a.deb 99999999999 SHA256:" DIGITS "\n",
		"'u' a.deb 5 MD5Sum:0123456789abcdef0123456789abcdef\n",
		"'u' a.deb 5 SHA256:" DIGITS "0\n",
		"'u' a.deb 5\n",
		"'u' a.deb\n",
		"'u'\n",
		"'\n",
		"'' a.deb 5 SHA256:" DIGITS "\n",
	};
	struct apt_packages *packages = calloc(1, sizeof *packages);

	(void)state;
	assert_true(apt_parse_uris("W: a warning\n'http://x.example/a%2b_1.deb' a+_1%3a2.deb 5 SHA256:" DIGITS "\n"
				   "'file:/b.deb' b.deb 0 SHA256:" DIGITS,
				   packages));
	assert_int_equal(packages->count, 2);
	assert_string_equal(packages->list[0].uri, "http://x.example/a%2b_1.deb");
	assert_string_equal(packages->list[0].file, "a+_1%3a2.deb");
	assert_string_equal(packages->list[0].sha256, DIGITS);
	assert_int_equal(packages->list[0].size, 5);
	assert_string_equal(packages->list[1].file, "b.deb");
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		if (apt_parse_uris(refused[i], packages))
			fail_msg("taken: %s", refused[i]);
	free(packages);
}

static void status_lines(void **state)
{
	(void)state;
	assert_int_equal(fetch_parse_status("dlstatus:1:57.8432:Retrieving file 1 of 2"), 578);
	assert_int_equal(fetch_parse_status("dlstatus:1:100:x"), 1000);
	assert_int_equal(fetch_parse_status("dlstatus:1:0:"), 0);
	assert_int_equal(fetch_parse_status("dlstatus:1:101:x"), -1);
	assert_int_equal(fetch_parse_status("dlstatus:1:nan:x"), -1);
	assert_int_equal(fetch_parse_status("dlstatus:1:5"), -1);
	assert_int_equal(fetch_parse_status("pmstatus:1:5:x"), -1);
	assert_int_equal(fetch_parse_status(""), -1);
}

static void module_information(void **state)
{
	size_t size;
	uint8_t *bytes = image_files_module("depends=a,b\0alias=x\0alias=y", &size);
	const char *first = module_info(bytes, size, "alias", NULL);

	(void)state;
	assert_string_equal(module_info(bytes, size, "depends", NULL), "a,b");
	assert_string_equal(first, "x");
	assert_string_equal(module_info(bytes, size, "alias", first), "y");
	assert_null(module_info(bytes, size, "dep", NULL));
	free(bytes);
}

/* Every bit of the headers turned, and every length: no read outside, whatever is found. */
static void module_information_of_damaged_objects(void **state)
{
	size_t size, found = 0;
	uint8_t *bytes = image_files_module("depends=a,b", &size);

	(void)state;
	for (size_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
		found += module_info(bytes, size, "depends", NULL) != NULL;
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_in_range(found, 1, size * 8 - 100);
	for (size_t length = 0; length < size; length++) {
		uint8_t *part = malloc(length + 1);

		memcpy(part, bytes, length);
		assert_null(module_info(part, length, "depends", NULL));
		free(part);
	}
	free(bytes);
}

#define add(set, file, info) add_module(set, file, info, sizeof(info))

static void add_module(struct module_set *set, const char *file, const char *info, size_t info_size)
{
	size_t size;
	uint8_t *bytes = image_files_packed_module_of(info, info_size, &size);

	assert_int_equal(module_add(set, file, bytes, size), 0);
}

static void closure_of_modules(void **state)
{
	struct module_set set = {.count = 0};
	struct error e = {.kind = ERROR_NONE};
	char *text;

	(void)state;
	add(&set, "a-one.ko.xz", "depends=b,c\0alias=virtio:d1*");
	add(&set, "b.ko.xz", "depends=c");
	add(&set, "c.ko.xz", "depends=");
	add(&set, "unused.ko.xz", "depends=");
	assert_int_equal(module_want(&set, "a_one", &e), 0);
	assert_int_equal(module_dependencies(&set, &text), 0);
	assert_string_equal(text, "a-one.ko.xz: b.ko.xz c.ko.xz c.ko.xz\nb.ko.xz: c.ko.xz\nc.ko.xz:\n");
	free(text);
	assert_int_equal(module_aliases(&set, &text), 0);
	assert_string_equal(text, "alias virtio:d1* a-one\n");
	free(text);
	assert_int_equal(module_want(&set, "absent", &e), -ENOENT);
	assert_non_null(strstr(e.message, "absent"));
	/* The same when they are not packed any more. */
	assert_int_equal(module_unpack(&set), 0);
	assert_int_equal(module_dependencies(&set, &text), 0);
	assert_string_equal(text, "a-one.ko: b.ko c.ko c.ko\nb.ko: c.ko\nc.ko:\n");
	free(text);
	assert_int_equal(module_aliases(&set, &text), 0);
	assert_string_equal(text, "alias virtio:d1* a-one\n");
	free(text);
	assert_memory_equal(set.modules[0].bytes, "\177ELF", 4);
	assert_string_equal(set.modules[3].file, "unused.ko.xz");
	module_set_finish(&set);
}

static void modules_that_depend_in_a_circle(void **state)
{
	struct module_set set = {.count = 0};
	struct error e = {.kind = ERROR_NONE};
	char *text;

	(void)state;
	add(&set, "a.ko.xz", "depends=b");
	add(&set, "b.ko.xz", "depends=a");
	assert_int_equal(module_want(&set, "a", &e), 0);
	assert_int_equal(module_dependencies(&set, &text), 0);
	assert_non_null(strstr(text, "a.ko.xz: b.ko.xz"));
	free(text);
	module_set_finish(&set);
}

static void modules_that_are_none(void **state)
{
	struct module_set set = {.count = 0};
	struct error e = {.kind = ERROR_NONE};

	(void)state;
	add(&set, "silent.ko.xz", "license=GPL");
	assert_int_equal(module_add(&set, "noise.ko.xz", (uint8_t *)strdup("noise"), 5), 0);
	assert_int_equal(module_want(&set, "silent", &e), -EBADMSG);
	assert_int_equal(module_want(&set, "noise", &e), -EBADMSG);
	assert_true(module_is_file("a.ko.xz"));
	assert_false(module_is_file(".ko.xz"));
	assert_false(module_is_file("a.ko"));
	module_set_finish(&set);
}

static void programs(void **state)
{
	static const char *const echo[] = {"sh", "-c", "echo \"$LC_ALL $0 $1\"; cat", "a  b", "$(c)", NULL};
	static const char *const fails[] = {
		"sh", "-c", "echo W: x >&2; echo 'E: the cause' >&2; echo E: more >&2; exit 3", NULL};
	static const char *const killed[] = {"sh", "-c", "kill -9 $$", NULL};
	static const char *const endless[] = {"yes", NULL};
	static const char *const absent[] = {"doppel-no-such-program", NULL};
	struct error e = {.kind = ERROR_NONE};
	char *text = NULL;

	(void)state;
	assert_int_equal(child_read(&(struct child){.arguments = echo, .keep = -1}, 100, &text, &e), 0);
	assert_string_equal(text, "C a  b $(c)\n");
	free(text);
	assert_int_equal(child_run(&(struct child){.arguments = fails, .keep = -1}, &e), -EIO);
	assert_string_equal(e.message, "sh: the cause");
	assert_int_equal(child_run(&(struct child){.arguments = killed, .keep = -1}, &e), -EIO);
	assert_non_null(strstr(e.message, "signal 9"));
	assert_int_equal(child_read(&(struct child){.arguments = endless, .keep = -1}, 100000, &text, &e), -EFBIG);
	assert_int_equal(child_run(&(struct child){.arguments = absent, .keep = -1}, &e), -ENOENT);
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	assert_non_null(strstr(e.message, "doppel-no-such-program"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mirror_of_index_targets),
		cmocka_unit_test(mirror_of_planned_update),
		cmocka_unit_test(kernel_of_meta_package),
		cmocka_unit_test(archives_of_planned_download),
		cmocka_unit_test(status_lines),
		cmocka_unit_test(module_information),
		cmocka_unit_test(module_information_of_damaged_objects),
		cmocka_unit_test(closure_of_modules),
		cmocka_unit_test(modules_that_depend_in_a_circle),
		cmocka_unit_test(modules_that_are_none),
		cmocka_unit_test(programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
