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

#include "image/cpio.h"
#include "image/tar.h"

/* One entry, read the way a kernel does. */
struct entry {
	unsigned mode, links, size, major, minor, inode;
	const char *name;
	const uint8_t *content;
};

static unsigned hex(const uint8_t *at)
{
	char digits[9] = {0};

	memcpy(digits, at, 8);
	return (unsigned)strtoul(digits, NULL, 16);
}

static size_t read_entry(const uint8_t *bytes, size_t at, struct entry *out)
{
	const uint8_t *header = bytes + at;
	unsigned name_size = hex(header + 94);

	assert_memory_equal(header, "070701", 6);
	*out = (struct entry){.inode = hex(header + 6),
			      .mode = hex(header + 14),
			      .links = hex(header + 38),
			      .size = hex(header + 54),
			      .major = hex(header + 78),
			      .minor = hex(header + 86),
			      .name = (const char *)header + 110};
	assert_int_equal(strlen(out->name) + 1, name_size);
	at = (at + 110 + name_size + 3) & ~(size_t)3;
	out->content = bytes + at;
	return (at + out->size + 3) & ~(size_t)3;
}

static void each_kind_of_entry(void **state)
{
	struct cpio *cpio = cpio_new();
	struct entry entry;
	uint8_t *bytes;
	size_t size, at;

	(void)state;
	assert_non_null(cpio);
	cpio_directory(cpio, "bin", 0755);
	cpio_file(cpio, "bin/a", 0640, "hello", 5);
	cpio_file(cpio, "empty", 0644, NULL, 0);
	cpio_link(cpio, "sbin", "bin");
	cpio_character_device(cpio, "dev/console", 0600, 5, 1);
	assert_int_equal(cpio_finish(cpio, &bytes, &size), 0);
	cpio_free(cpio);
	assert_int_equal(size % 512, 0);

	at = read_entry(bytes, 0, &entry);
	assert_string_equal(entry.name, "bin");
	assert_int_equal(entry.mode, S_IFDIR | 0755);
	assert_int_equal(entry.links, 2);
	at = read_entry(bytes, at, &entry);
	assert_string_equal(entry.name, "bin/a");
	assert_int_equal(entry.mode, S_IFREG | 0640);
	assert_int_equal(entry.size, 5);
	assert_int_equal(entry.inode, 2);
	assert_memory_equal(entry.content, "hello", 5);
	at = read_entry(bytes, at, &entry);
	assert_string_equal(entry.name, "empty");
	assert_int_equal(entry.size, 0);
	at = read_entry(bytes, at, &entry);
	assert_int_equal(entry.mode, S_IFLNK | 0777);
	assert_int_equal(entry.size, 3);
	assert_memory_equal(entry.content, "bin", 3);
	at = read_entry(bytes, at, &entry);
	assert_int_equal(entry.mode, S_IFCHR | 0600);
	assert_int_equal(entry.major, 5);
	assert_int_equal(entry.minor, 1);
	at = read_entry(bytes, at, &entry);
	assert_string_equal(entry.name, "TRAILER!!!");
	assert_true(at <= size);
	free(bytes);
}

static void equal_contents_make_equal_archives(void **state)
{
	uint8_t *bytes[2];
	size_t size[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct cpio *cpio = cpio_new();

		cpio_file(cpio, "a", 0644, "x", 1);
		assert_int_equal(cpio_finish(cpio, &bytes[i], &size[i]), 0);
		cpio_free(cpio);
	}
	assert_int_equal(size[0], size[1]);
	assert_memory_equal(bytes[0], bytes[1], size[0]);
	free(bytes[0]);
	free(bytes[1]);
}

static void refuses_names_too_long(void **state)
{
	struct cpio *cpio = cpio_new();
	char name[5000];
	uint8_t *bytes = NULL;
	size_t size;

	(void)state;
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	cpio_directory(cpio, name, 0755);
	cpio_directory(cpio, "later", 0755);
	assert_int_equal(cpio_finish(cpio, &bytes, &size), -EFBIG);
	assert_null(bytes);
	cpio_free(cpio);
	cpio_free(NULL);
}

/* What a visitor was given. */
struct taken {
	char names[512];
	char last[64];
	int answer;
};

static bool want(void *context, const struct tar_entry *entry)
{
	(void)context;
	return strncmp(entry->path, "want", 4) == 0;
}

static int take(void *context, const struct tar_entry *entry, uint8_t *bytes, size_t size)
{
	struct taken *taken = context;
	size_t used = strlen(taken->names);

	snprintf(taken->names + used, sizeof taken->names - used, "%.20s:%zu ", entry->path, size);
	snprintf(taken->last, sizeof taken->last, "%.*s", (int)size, (char *)bytes);
	free(bytes);
	return taken->answer;
}

/* Appends a block-padded entry; returns its end. */
static size_t put(uint8_t *at, const char *name, char type, const char *content, size_t size)
{
	unsigned sum = 0;

	memset(at, 0, 512);
	snprintf((char *)at, 100, "%s", name);
	snprintf((char *)at + 100, 8, "%07o", 0644);
	snprintf((char *)at + 108, 8, "%07o", 1);
	snprintf((char *)at + 116, 8, "%07o", 42);
	snprintf((char *)at + 124, 12, "%011zo", size);
	snprintf((char *)at + 136, 12, "%011o", 1000);
	memset(at + 148, ' ', 8);
	at[156] = (uint8_t)type;
	memcpy(at + 257, "ustar  ", 8);
	for (unsigned i = 0; i < 512; i++)
		sum += at[i];
	snprintf((char *)at + 148, 8, "%06o", sum);
	memset(at + 512, 0, (size + 511) & ~(size_t)511);
	memcpy(at + 512, content, size);
	return 512 + ((size + 511) & ~(size_t)511);
}

static int feed_all(const uint8_t *bytes, size_t size, size_t piece, struct taken *taken)
{
	struct tar *tar = tar_new(&(struct tar_visitor){.want = want, .take = take, .context = taken});
	int r = 0;

	for (size_t at = 0; r == 0 && at < size; at += piece)
		r = tar_feed(tar, bytes + at, size - at < piece ? size - at : piece);
	if (r == 0)
		r = tar_end(tar);
	tar_free(tar);
	return r;
}

static uint8_t archive[16384];

static size_t make_archive(void)
{
	char name[200];
	size_t at = 0;

	memset(archive, 0, sizeof archive);
	memset(name, 'w', sizeof name - 1);
	memcpy(name, "./want-long", 11);
	name[sizeof name - 1] = '\0';
	at += put(archive + at, "./", '5', "", 0);
	at += put(archive + at, "./other", '0', "other", 5);
	at += put(archive + at, "./want-a", '0', "alpha", 5);
	at += put(archive + at, "././@LongLink", 'L', name, sizeof name);
	at += put(archive + at, "cut", '0', "long content", 12);
	at += put(archive + at, "./want-empty", '0', "", 0);
	at += put(archive + at, "./want-link", '2', "", 0);
	return at + 1024;
}

static void tar_in_pieces_of_any_size(void **state)
{
	static const size_t pieces[] = {1, 7, 511, 512, 513, sizeof archive};
	size_t size = make_archive();

	(void)state;
	for (unsigned i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		struct taken taken = {.answer = 0};

		assert_int_equal(feed_all(archive, size, pieces[i], &taken), 0);
		assert_string_equal(taken.names, "want-a:5 want-longwwwwwwwwwww:12 want-empty:0 ");
	}
}

static void tar_bad_streams(void **state)
{
	static const char refused[] = "xgS";
	struct taken taken = {.answer = 0};
	size_t size = make_archive();

	(void)state;
	archive[3]++;
	assert_int_equal(feed_all(archive, size, 512, &taken), -EBADMSG);
	size = make_archive();
	for (size_t cut = 0; cut <= size - 1024; cut += 100) {
		taken = (struct taken){.answer = 0};
		assert_int_equal(feed_all(archive, cut, 512, &taken), -EBADMSG);
	}
	for (const char *type = refused; *type; type++) {
		size = put(archive, "want", *type, "x", 1);
		assert_int_equal(feed_all(archive, size, 512, &taken), -EBADMSG);
	}
	size = put(archive, "././@LongLink", 'L', "", 0);
	memcpy(archive + 124, "00000100000", 11);
	assert_int_equal(feed_all(archive, size, 512, &taken), -EBADMSG);
	taken = (struct taken){.answer = -EDOM};
	size = make_archive();
	assert_int_equal(feed_all(archive, size, 512, &taken), -EDOM);
}

static void tar_sizes_beyond_the_limit(void **state)
{
	struct taken taken = {.answer = 0};
	unsigned sum = 0;

	(void)state;
	put(archive, "want-huge", '0', "", 0);
	memcpy(archive + 124, "77777777777", 11);
	memset(archive + 148, ' ', 8);
	for (unsigned i = 0; i < 512; i++)
		sum += archive[i];
	snprintf((char *)archive + 148, 8, "%06o", sum);
	assert_int_equal(feed_all(archive, 512, 512, &taken), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_entry),     cmocka_unit_test(equal_contents_make_equal_archives),
		cmocka_unit_test(refuses_names_too_long), cmocka_unit_test(tar_in_pieces_of_any_size),
		cmocka_unit_test(tar_bad_streams),        cmocka_unit_test(tar_sizes_beyond_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
