#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char directory[] = "/tmp/doppel-test-file-XXXXXX";
static char path[sizeof directory + 16];

static int setup(void **state)
{
	(void)state;
	strcpy(directory + sizeof directory - 7, "XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof path, "%s/file", directory);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static unsigned entries(void)
{
	DIR *open_directory = opendir(directory);
	unsigned count = 0;

	while (readdir(open_directory))
		count++;
	closedir(open_directory);
	return count - 2;
}

static void written_then_read(void **state)
{
	struct error e = {0};
	struct stat status;
	uint8_t *bytes;
	size_t size;

	(void)state;
	assert_int_equal(file_write(path, "hello", 5, 0640, &e), 0);
	assert_int_equal(file_read(path, 5, &bytes, &size, &e), 0);
	assert_int_equal(size, 5);
	assert_string_equal((char *)bytes, "hello");
	free(bytes);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_int_equal(entries(), 1);
}

static void replaced_whole(void **state)
{
	struct error e = {0};
	uint8_t *bytes;
	size_t size;

	(void)state;
	assert_int_equal(file_write(path, "a longer text", 13, 0600, &e), 0);
	assert_int_equal(file_write(path, "", 0, 0600, &e), 0);
	assert_int_equal(file_read(path, 100, &bytes, &size, &e), 0);
	assert_int_equal(size, 0);
	assert_int_equal(bytes[0], 0);
	free(bytes);
	assert_int_equal(entries(), 1);
}

static void too_long_is_refused(void **state)
{
	struct error e = {0};
	uint8_t *bytes = NULL;
	size_t size = 99;

	(void)state;
	assert_int_equal(file_write(path, "123456", 6, 0600, &e), 0);
	assert_int_equal(file_read(path, 5, &bytes, &size, &e), -EFBIG);
	assert_non_null(strstr(e.message, path));
	assert_non_null(strstr(e.message, "5 bytes"));
	assert_null(bytes);
	assert_int_equal(size, 99);
}

static void endless_files_are_cut_off(void **state)
{
	struct error e = {0};
	uint8_t *bytes = NULL;
	size_t size;

	(void)state;
	assert_int_equal(file_read("/dev/zero", 1000000, &bytes, &size, &e), -EFBIG);
	assert_null(bytes);
	assert_int_equal(file_read("/proc/self/status", 1000000, &bytes, &size, &e), 0);
	assert_in_range(size, 100, 100000);
	assert_int_equal(strlen((char *)bytes), size);
	free(bytes);
}

static void failures_name_path_reason_and_remedy(void **state)
{
	struct error e = {0};
	uint8_t *bytes = NULL;
	size_t size;

	(void)state;
	assert_int_equal(file_read("/nowhere/at/all", 10, &bytes, &size, &e), -ENOENT);
	assert_string_equal(e.message, "cannot read '/nowhere/at/all': No such file or directory; check the path");
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	assert_int_equal(file_read(directory, 10, &bytes, &size, &e), -EISDIR);
	assert_non_null(strstr(e.message, "is a directory") ? "" : strstr(e.message, "Is a directory"));
	assert_int_equal(file_write("/nowhere/at/all", "x", 1, 0600, &e), -ENOENT);
	assert_non_null(strstr(e.message, "cannot write '/nowhere/at/all'"));
	assert_null(bytes);
}

static void a_failed_write_leaves_nothing(void **state)
{
	struct error e = {0};

	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(file_write(path, "x", 1, 0600, &e), -EISDIR);
	assert_int_equal(entries(), 1);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(written_then_read, setup, teardown),
		cmocka_unit_test_setup_teardown(replaced_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(too_long_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(endless_files_are_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(failures_name_path_reason_and_remedy, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_write_leaves_nothing, setup, teardown),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
