#include <dirent.h>
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

/* `room`: bytes that the folder leaves of a path for "/name" and its NUL. */
static int path_with_room(size_t room, char joined[PATH_MAX], struct error *e)
{
	char folder[PATH_MAX] = "";

	memset(folder, 'f', PATH_MAX - room);
	return file_path(folder, "name", joined, e);
}

static void folder_and_name_make_a_path(void **state)
{
	char joined[PATH_MAX] = "as it was";
	struct error e = {0};

	(void)state;
	assert_int_equal(file_path("/var/lib", "web", joined, &e), 0);
	assert_string_equal(joined, "/var/lib/web");
	assert_int_equal(path_with_room(6, joined, &e), 0);
	assert_int_equal(strlen(joined), PATH_MAX - 1);
	assert_string_equal(joined + PATH_MAX - 6, "/name");
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	char joined[PATH_MAX] = "as it was";
	struct error e = {0};

	(void)state;
	assert_int_equal(path_with_room(5, joined, &e), -ENAMETOOLONG);
	assert_string_equal(joined, "as it was");
	assert_non_null(strstr(e.message, "ffff"));
	assert_non_null(strstr(e.message, strerror(ENAMETOOLONG)));
	assert_int_equal(path_with_room(5, joined, NULL), -ENAMETOOLONG);
}

static void assert_closed(int fd)
{
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

static void a_finished_file_is_closed(void **state)
{
	struct error e = {.message = ""};
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(file_finish(fd, path, 0, &e), 0);
	assert_string_equal(e.message, "");
	assert_closed(fd);
}

/* A pipe can not be flushed to disk. */
static int end_of_pipe(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	return ends[1];
}

static void what_can_not_be_flushed_is_told_and_closed(void **state)
{
	struct error e = {.message = ""};
	int fd = end_of_pipe();

	(void)state;
	assert_int_equal(file_finish(fd, "a/pipe", 0, &e), -EINVAL);
	assert_non_null(strstr(e.message, "a/pipe"));
	assert_closed(fd);
	fd = end_of_pipe();
	assert_int_equal(file_finish(fd, "a/pipe", 0, NULL), -EINVAL);
	assert_closed(fd);
}

static void the_first_failure_of_a_file_stays(void **state)
{
	struct error e;
	int fd = end_of_pipe();

	(void)state;
	(void)!error_set(&e, ERROR_STATE, -EBUSY, "the first");
	assert_int_equal(file_finish(fd, "a/pipe", -EBUSY, &e), -EBUSY);
	assert_int_equal(e.kind, ERROR_STATE);
	assert_string_equal(e.message, "the first");
	assert_closed(fd);
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
		cmocka_unit_test(folder_and_name_make_a_path),
		cmocka_unit_test(a_path_that_is_too_long_is_refused),
		cmocka_unit_test_setup_teardown(a_finished_file_is_closed, setup, teardown),
		cmocka_unit_test(what_can_not_be_flushed_is_told_and_closed),
		cmocka_unit_test(the_first_failure_of_a_file_stays),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
