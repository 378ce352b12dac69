/*
 * File systems of root disks: ext4 made by an ordinary user, packages unpacked into it and dpkg's database, judged
 * by e2fsck, debugfs and dpkg-deb of the host.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/dpkg.h"
#include "image/ext4.h"
#include "image/md5.h"

static char top[] = "/tmp/doppel-test-disk-XXXXXX";
static char disk[64];
static struct ext4 *ext4;

static const struct ext4_attributes plain = {.mode = 0644, .modified = 1000000000};
static const struct ext4_attributes folder = {.mode = 0755, .modified = 1000000000};

static int setup(void **state)
{
	struct error e = {.kind = ERROR_NONE};

	(void)state;
	strcpy(top + sizeof top - 7, "XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(disk, sizeof disk, "%s/disk", top);
	if (ext4_new(&ext4, disk, 64 * MIB, "test", -1, &e) < 0) {
		print_error("%s\n", e.message);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	ext4_free(ext4);
	ext4 = NULL;
	snprintf(command, sizeof command, "rm -rf %s", top);
	return system(command);
}

/* What a shell command prints, run in the test's directory; static. */
static const char *output_of(const char *command)
{
	static char text[8192];
	char line[4096];
	size_t size;
	FILE *pipe;

	snprintf(line, sizeof line, "cd %s && PATH=/usr/sbin:/sbin:$PATH && { %s; } 2>&1", top, command);
	pipe = popen(line, "r");
	assert_non_null(pipe);
	size = fread(text, 1, sizeof text - 1, pipe);
	text[size] = '\0';
	pclose(pipe);
	return text;
}

static void finish(void)
{
	struct error e = {.kind = ERROR_NONE};
	struct ext4 *done = ext4;
	const char *complaints;

	ext4 = NULL;
	if (ext4_finish(done, &e) < 0)
		fail_msg("%s", e.message);
	complaints = output_of("e2fsck -fn disk >check 2>&1 || cat check");
	assert_string_equal(complaints, "");
}

static void contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in: %s", part, text);
}

/* What debugfs prints for a command, without its greeting. */
static const char *look(const char *command)
{
	char line[256];

	snprintf(line, sizeof line, "debugfs -R '%s' disk 2>/dev/null", command);
	return output_of(line);
}

static void files_and_their_attributes(void **state)
{
	static const struct ext4_attributes special = {
		.mode = 02755, .user = 100000, .group = 42, .modified = 1000000000};
	char *large = malloc(3 * MIB + 17);

	(void)state;
	memset(large, 'x', 3 * MIB + 17);
	assert_int_equal(ext4_directory(ext4, "", &folder), 0);
	assert_int_equal(ext4_directory(ext4, "a", &folder), 0);
	assert_int_equal(ext4_directory(ext4, "a", &folder), 0);
	assert_int_equal(ext4_file(ext4, "a/empty", &plain, NULL, 0), 0);
	assert_int_equal(ext4_file(ext4, "a/small", &special, "hello\n", 6), 0);
	assert_int_equal(ext4_file(ext4, "a/large", &plain, large, 3 * MIB + 17), 0);
	free(large);
	finish();
	assert_string_equal(look("cat /a/small"), "hello\n");
	contains(look("stat /a/small"), "Mode:  02755");
	contains(look("stat /a/small"), "User: 100000   Group:    42");
	contains(look("stat /a/small"), "0x3b9aca00");
	contains(look("stat /a"), "Mode:  0755");
	contains(look("stat /"), "User:     0");
	contains(output_of("debugfs -R 'cat /a/large' disk 2>/dev/null | tr -d x | wc -c"), "0");
	contains(look("stat /a/large"), "Size: 3145745");
}

static void links(void **state)
{
	char target[200];

	(void)state;
	memset(target, 't', sizeof target - 1);
	target[sizeof target - 1] = '\0';
	assert_int_equal(ext4_directory(ext4, "usr", &folder), 0);
	assert_int_equal(ext4_directory(ext4, "usr/lib", &folder), 0);
	assert_int_equal(ext4_link(ext4, "lib", &plain, "usr/lib"), 0);
	assert_int_equal(ext4_link(ext4, "long", &plain, target), 0);
	/* Through the link, as packages of an older layout do. */
	assert_int_equal(ext4_directory(ext4, "lib", &folder), 0);
	assert_int_equal(ext4_file(ext4, "lib/x", &plain, "x", 1), 0);
	assert_int_equal(ext4_hard_link(ext4, "lib/y", "usr/lib/x"), 0);
	assert_int_equal(ext4_hard_link(ext4, "lib/y", "usr/lib/x"), 0);
	assert_int_equal(ext4_link(ext4, "loop", &plain, "loop"), 0);
	assert_true(ext4_file(ext4, "loop/x", &plain, "x", 1) < 0);
	assert_true(ext4_file(ext4, "usr/lib/x/z", &plain, "x", 1) < 0);
	assert_int_equal(ext4_file(ext4, "none/x", &plain, "x", 1), -ENOENT);
	assert_int_equal(ext4_hard_link(ext4, "z", "none"), -ENOENT);
	finish();
	contains(look("stat /lib"), "Fast link dest: \"usr/lib\"");
	contains(look("stat /usr/lib/y"), "Links: 2");
	assert_string_equal(look("cat /usr/lib/y"), "x");
}

static void names_are_replaced(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(ext4_file(ext4, "f", &plain, top, sizeof top), 0);
	assert_int_equal(ext4_link(ext4, "f", &plain, "elsewhere"), 0);
	assert_int_equal(ext4_file(ext4, "f", &plain, "end", 3), 0);
	assert_int_equal(ext4_directory(ext4, "d", &folder), 0);
	assert_int_equal(ext4_file(ext4, "d", &plain, "x", 1), -EISDIR);
	assert_int_equal(ext4_directory(ext4, "f", &folder), -ENOTDIR);
	assert_true(ext4_file(ext4, "d/..", &plain, "x", 1) < 0);
	finish();
	assert_string_equal(look("cat /f"), "end");
}

/* More entries than a block of a directory holds, and more bytes than the disk. */
static void large_directories_and_full_disks(void **state)
{
	char *megabytes = calloc(1, 16 * MIB), name[300];
	int r = 0;

	(void)state;
	assert_int_equal(ext4_directory(ext4, "d", &folder), 0);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof name, "d/a-rather-long-name-so-that-blocks-are-full-soon-%u", i);
		assert_int_equal(ext4_file(ext4, name, &plain, "x", 1), 0);
		snprintf(name, sizeof name, "d/link-with-a-rather-long-name-too-%u", i);
		assert_int_equal(ext4_link(ext4, name, &plain, "x"), 0);
		snprintf(name, sizeof name, "d/directory-%u", i);
		assert_int_equal(ext4_directory(ext4, name, &folder), 0);
	}
	memset(name, 'n', 256);
	name[256] = '\0';
	assert_int_equal(ext4_file(ext4, name, &plain, "x", 1), -ENAMETOOLONG);
	for (unsigned i = 0; r == 0 && i < 8; i++) {
		snprintf(name, sizeof name, "big%u", i);
		r = ext4_file(ext4, name, &plain, megabytes, 16 * MIB);
	}
	free(megabytes);
	assert_int_equal(r, -ENOSPC);
}

static void no_file_to_be_made(void **state)
{
	struct error e = {.kind = ERROR_NONE};
	struct ext4 *none = NULL;

	(void)state;
	assert_true(ext4_new(&none, "/nonexistent/disk", MIB, "x", -1, &e) < 0);
	assert_null(none);
	contains(e.message, "/nonexistent/disk");
	ext4_free(NULL);
}

static void md5_of_rfc1321(void **state)
{
	static const struct {
		const char *text, *hash;
	} cases[] = {
		{"", "d41d8cd98f00b204e9800998ecf8427e"},
		{"abc", "900150983cd24fb0d6963f7d28e17f72"},
		{"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
		 "d174ab98d277d9f5a5611c2c9f419d9f"},
		{"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
		 "57edf4a22be3c955ac49da2e2107b67a"},
	};
	char hash[MD5_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		md5_text(cases[i].text, strlen(cases[i].text), hash);
		assert_string_equal(hash, cases[i].hash);
	}
}

static const char packages[] =
	"make() { dpkg-deb -Znone --build --root-owner-group $1 $1.deb; }\n"
	"mkdir -p one/DEBIAN one/etc one/usr/bin one/usr/share/doc/one two/DEBIAN two/usr/lib\n"
	"printf 'Package: one\\nVersion: 1-1\\nArchitecture: riscv64\\nMulti-Arch: same\\n' >one/DEBIAN/control\n"
	"printf 'Maintainer: x\\nDescription: x\\n' >>one/DEBIAN/control\n"
	"printf 'Package: two\\nVersion: 2\\nArchitecture: all\\nMaintainer: x\\nDescription: x\\n' >two/DEBIAN/control\n"
	"printf '/etc/one.conf\\nremove-on-upgrade /etc/old\\n' >one/DEBIAN/conffiles\n"
	"printf 'abc' >one/etc/one.conf; echo doc >one/usr/share/doc/one/a; echo c >one/usr/share/doc/one/copyright\n"
	"printf '#!/bin/sh\\ntouch /tmp/ran\\n' >one/DEBIAN/postinst; chmod 755 one/DEBIAN/postinst\n"
	"printf '# t\\ninterest-noawait /usr/lib/x\\nactivate y\\ninterest y\\n' >two/DEBIAN/triggers\n"
	"printf 'interest y\\n' >one/DEBIAN/triggers\n"
	"echo 1 >one/usr/bin/one; chmod 4755 one/usr/bin/one; ln -s one one/usr/bin/eins; ln one/usr/bin/one "
	"one/usr/bin/uno\n"
	"make one; make two";

static struct dpkg *new_dpkg(void)
{
	static const char *const excluded[] = {"usr/share/doc", NULL};
	static const struct dpkg_options options = {.excluded = excluded, .keep = -1};
	struct error e = {.kind = ERROR_NONE};
	struct dpkg *dpkg = dpkg_new(ext4, &options, &e);

	if (!dpkg)
		fail_msg("%s", e.message);
	return dpkg;
}

static int unpack(struct dpkg *dpkg, const char *name, struct error *e)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", top, name);
	return dpkg_unpack(dpkg, path, e);
}

static void packages_are_unpacked(void **state)
{
	struct error e = {.kind = ERROR_NONE};
	struct dpkg *dpkg = new_dpkg();

	(void)state;
	output_of(packages);
	if (unpack(dpkg, "one.deb", &e) < 0 || unpack(dpkg, "two.deb", &e) < 0 || dpkg_finish(dpkg, &e) < 0)
		fail_msg("%s", e.message);
	dpkg_free(dpkg);
	finish();
	assert_string_equal(look("cat /var/lib/dpkg/status"),
			    "Package: one\nStatus: install ok unpacked\nVersion: 1-1\nArchitecture: riscv64\n"
			    "Multi-Arch: same\nMaintainer: x\nDescription: x\n"
			    "Conffiles:\n /etc/one.conf 900150983cd24fb0d6963f7d28e17f72\n\n"
			    "Package: two\nStatus: install ok unpacked\nVersion: 2\nArchitecture: all\nMaintainer: x\n"
			    "Description: x\n\n");
	contains(look("cat /var/lib/dpkg/info/one:riscv64.list"), "/.\n/etc\n/etc/one.conf\n");
	contains(look("cat /var/lib/dpkg/info/one:riscv64.list"), "/usr/share/doc/one/a\n");
	contains(look("stat /var/lib/dpkg/info/one:riscv64.postinst"), "Mode:  0755");
	assert_string_equal(look("cat /var/lib/dpkg/info/two.control"), "");
	assert_string_equal(look("cat /var/lib/dpkg/triggers/File"), "/usr/lib/x two/noawait\n");
	assert_string_equal(look("cat /var/lib/dpkg/triggers/y"), "one\ntwo\n");
	assert_string_equal(look("cat /usr/share/doc/one/a"), "");
	assert_string_equal(look("cat /usr/share/doc/one/copyright"), "c\n");
	contains(look("stat /usr/bin/uno"), "Mode:  04755");
	contains(look("stat /usr/bin/uno"), "Links: 2");
	contains(look("stat /usr/bin/eins"), "Fast link dest: \"one\"");
	/* The host's dpkg reads it, too. */
	output_of("mkdir -p root/var/lib; debugfs -R 'rdump /var/lib/dpkg root/var/lib' disk 2>/dev/null");
	contains(output_of("dpkg --root=root -l one two | grep -c '^iU'"), "2");
}

static void what_is_no_package(void **state)
{
	struct error e = {.kind = ERROR_NONE};
	struct dpkg *dpkg = new_dpkg();

	(void)state;
	output_of("echo no >text.deb; mkdir -p bad/DEBIAN; printf 'Package: ../x\\nVersion: 1\\nArchitecture: all\\n'"
		  " >bad/DEBIAN/control; tar -cf control.tar -C bad/DEBIAN ./control; tar -cf data.tar -T /dev/null; "
		  "echo 2.0 >debian-binary; ar rc bad.deb debian-binary control.tar data.tar");
	assert_true(unpack(dpkg, "text.deb", &e) < 0);
	contains(e.message, "dpkg-deb");
	assert_int_equal(unpack(dpkg, "bad.deb", &e), -EBADMSG);
	contains(e.message, "is no Debian package");
	dpkg_free(dpkg);
	dpkg_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_and_their_attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(links, setup, teardown),
		cmocka_unit_test_setup_teardown(names_are_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(large_directories_and_full_disks, setup, teardown),
		cmocka_unit_test(no_file_to_be_made),
		cmocka_unit_test(md5_of_rfc1321),
		cmocka_unit_test_setup_teardown(packages_are_unpacked, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_package, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
