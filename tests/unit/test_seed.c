/*
 * Seeds for cloud-init: what counts as user data and as a key, and the disk that is made of them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"
#include "image/iso9660.h"
#include "image/seed.h"

#define SECTOR 2048
#define KEY    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample it's@me"

static char top[] = "/tmp/doppel-test-seed-XXXXXX";

static int setup(void **state)
{
	(void)state;
	strcpy(top + sizeof top - 7, "XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", top);
	return system(command);
}

/* A path in the test's directory, static; with `text` a file is made there. */
static const char *file(const char *name, const char *text)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", top, name);
	if (text)
		assert_int_equal(file_write(path, text, strlen(text), 0644, NULL), 0);
	return path;
}

static uint32_t little(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Finds a file by its Rock Ridge name as a reader does: through the root's record in the volume descriptor.
 * NULL when there is none; otherwise a copy, with a NUL behind it. */
static char *read_iso(const uint8_t *image, size_t size, const char *name)
{
	const uint8_t *volume = image + 16 * SECTOR;
	size_t at, end;

	assert_true(size >= 22 * SECTOR && size % SECTOR == 0);
	assert_memory_equal(volume, "\1CD001\1", 7);
	assert_int_equal(little(volume + 80), size / SECTOR);
	at = (size_t)little(volume + 156 + 2) * SECTOR;
	end = at + little(volume + 156 + 10);
	while (at < end && image[at] > 0) {
		const uint8_t *record = image + at;
		size_t extra = 33 + (size_t)record[32] + (record[32] % 2 == 0);

		assert_true(extra <= record[0]);
		for (; extra + 4 <= record[0] && record[extra + 2] > 0; extra += record[extra + 2])
			if (memcmp(record + extra, "NM", 2) == 0 && record[extra + 2] == 5 + strlen(name) &&
			    memcmp(record + extra + 5, name, strlen(name)) == 0)
				return strndup((const char *)image + (size_t)little(record + 2) * SECTOR,
					       little(record + 10));
		at += record[0];
	}
	return NULL;
}

static void expect_file(const uint8_t *image, size_t size, const char *name, const char *expected)
{
	char *found = read_iso(image, size, name);

	if (!found || strcmp(found, expected) != 0)
		fail_msg("%s is '%s', not '%s'", name, found ? found : "(none)", expected);
	free(found);
}

static void iso_of_files(void **state)
{
	char large[5000];
	const struct iso9660_file files[] = {
		{"user-data", "abc", 3}, {"empty", NULL, 0}, {"large", large, sizeof large - 1}, {"last", "z", 1}};
	uint8_t *image, *again;
	size_t size, size_again;

	(void)state;
	memset(large, 'l', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	assert_int_equal(iso9660_make("CIDATA", files, ARRAY_SIZE(files), &image, &size), 0);
	expect_file(image, size, "user-data", "abc");
	expect_file(image, size, "empty", "");
	expect_file(image, size, "large", large);
	expect_file(image, size, "last", "z");
	assert_null(read_iso(image, size, "none"));
	assert_memory_equal(image + 16 * SECTOR + 40, "CIDATA   ", 9);
	assert_int_equal(iso9660_make("CIDATA", files, ARRAY_SIZE(files), &again, &size_again), 0);
	assert_int_equal(size, size_again);
	assert_memory_equal(image, again, size);
	free(image);
	free(again);
}

static void iso_limits(void **state)
{
	struct iso9660_file files[ISO9660_FILES_MAX + 1];
	char name[66];
	uint8_t *image = NULL;
	size_t size;

	(void)state;
	memset(name, 'n', 65);
	name[65] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		files[i] = (struct iso9660_file){name + 1, "x", 1};
	assert_int_equal(iso9660_make("A", files, ISO9660_FILES_MAX + 1, &image, &size), -E2BIG);
	assert_int_equal(iso9660_make("A", files, ISO9660_FILES_MAX, &image, &size), 0);
	free(image);
	image = NULL;
	files[0].name = name;
	assert_int_equal(iso9660_make("A", files, 1, &image, &size), -ENAMETOOLONG);
	files[0] = (struct iso9660_file){"a", "x", (size_t)1 << 40};
	assert_int_equal(iso9660_make("A", files, 1, &image, &size), -EFBIG);
	assert_null(image);
}

static void kinds_of_user_data(void **state)
{
	static const char *const good[] = {"#cloud-config", "#cloud-config\nhostname: a\n", "#!/bin/sh\n", "#!",
					   "#cloud-config # mine\n"};
	static const char *const bad[] = {"", "#", "hostname: a\n", "#cloud-configuration\n", " #cloud-config\n",
					  "\x1f\x8b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!seed_is_user_data(good[i], strlen(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (seed_is_user_data(bad[i], strlen(bad[i])))
			fail_msg("taken: %s", bad[i]);
}

static void kinds_of_keys(void **state)
{
	static const char *const good[] = {KEY, "ssh-rsa AAAAB3Nza", "ecdsa-sha2-nistp256 AAAAE2Vj x",
					   "sk-ssh-ed25519@openssh.com AAAAGnNr"};
	static const char *const bad[] = {"",
					  "ssh-ed25519",
					  "ssh-ed25519 BBBB",
					  "-----BEGIN OPENSSH PRIVATE KEY-----",
					  "ssh-rsa AAAAB3\x1b[2J",
					  "command=\"x\" ssh-rsa AAAAB3Nza"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!seed_is_key(good[i], strlen(good[i])))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (seed_is_key(bad[i], strlen(bad[i])))
			fail_msg("taken: %s", bad[i]);
}

static char *meta_of(const struct seed_options *options)
{
	struct error e = {.kind = ERROR_NONE};
	uint8_t *image;
	size_t size;
	char *text;

	if (seed_make(options, &image, &size, &e) < 0)
		fail_msg("%s", e.message);
	text = read_iso(image, size, "meta-data");
	free(image);
	assert_non_null(text);
	return text;
}

static void meta_data_that_are_made(void **state)
{
	const char *keys[] = {file("key", "# mine\n" KEY "\n\n")};
	struct seed_options options = {
		.source = file("user", "#cloud-config\n"), .hostname = "web", .keys = keys, .key_count = 1};
	char *meta = meta_of(&options), *other;

	(void)state;
	assert_memory_equal(meta, "instance-id: doppel-", 20);
	assert_non_null(strstr(meta, "\nlocal-hostname: web\n"));
	assert_non_null(strstr(meta, "public-keys:\n  - 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample it''s@me'\n"));
	other = meta_of(&options);
	assert_string_equal(meta, other);
	free(other);
	/* Other user data make another instance. */
	options.source = file("user", "#!/bin/sh\n");
	other = meta_of(&options);
	assert_memory_not_equal(meta, other, 36);
	free(other);
	free(meta);
}

static void folders(void **state)
{
	struct seed_options options = {.source = top};
	struct error e = {.kind = ERROR_NONE};
	const char *key = file("key", KEY "\n");
	uint8_t *image;
	size_t size;

	(void)state;
	file("user-data", "#cloud-config\n");
	file("meta-data", "instance-id: mine\n");
	file("network-config", "version: 2\n");
	if (seed_make(&options, &image, &size, &e) < 0)
		fail_msg("%s", e.message);
	expect_file(image, size, "meta-data", "instance-id: mine\n");
	expect_file(image, size, "network-config", "version: 2\n");
	assert_null(read_iso(image, size, "vendor-data"));
	free(image);
	options.keys = &key;
	options.key_count = 1;
	assert_int_equal(seed_make(&options, &image, &size, &e), -EINVAL);
	assert_non_null(strstr(e.message, "public-keys"));
}

static void refused(const char *source, const char *key, enum error_kind kind)
{
	struct seed_options options = {.source = source, .keys = &key, .key_count = key != NULL};
	struct error e = {.kind = ERROR_NONE};
	uint8_t *image = NULL;
	size_t size;

	assert_true(seed_make(&options, &image, &size, &e) < 0);
	assert_null(image);
	if (e.kind != kind)
		fail_msg("kind %d, not %d: %s", e.kind, kind, e.message);
}

static void what_is_refused(void **state)
{
	(void)state;
	refused(file("none", NULL), NULL, ERROR_NOT_FOUND);
	refused(top, NULL, ERROR_NOT_FOUND);
	refused(file("text", "hello\n"), NULL, ERROR_USAGE);
	refused(NULL, file("text", "hello\n"), ERROR_USAGE);
	refused(NULL, file("empty", ""), ERROR_USAGE);
	refused(NULL, file("none", NULL), ERROR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(iso_of_files),
		cmocka_unit_test(iso_limits),
		cmocka_unit_test(kinds_of_user_data),
		cmocka_unit_test(kinds_of_keys),
		cmocka_unit_test_setup_teardown(meta_data_that_are_made, setup, teardown),
		cmocka_unit_test_setup_teardown(folders, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
