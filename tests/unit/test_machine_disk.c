/* The layers of a machine's disk: as many as can be opened, joined, swept. */
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
#include <unistd.h>

#include <cmocka.h>

#include "block/block.h"
#include "cli/machine_disk.h"
#include "failure.h"

#define SIZE (1 << 20)

static char folder[] = "/tmp/doppel-machine-disk-XXXXXX";
static char layer[MACHINE_LAYER_SIZE], path[PATH_MAX]; /* of what was frozen last */

static const char *in_folder(const char *file)
{
	static char text[PATH_MAX];

	snprintf(text, sizeof text, "%s/%s", folder, file);
	return text;
}

static int setup(void **state)
{
	int fd;

	(void)state;
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	fd = open(in_folder("disk.raw"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, SIZE) < 0 || pwrite(fd, "known", 5, 4096) != 5)
		return -1;
	return close(fd);
}

/* How many files there are; with `remove` none afterwards. */
static unsigned files(bool remove)
{
	DIR *directory = opendir(folder);
	unsigned count = 0;

	assert_non_null(directory);
	for (const struct dirent *entry; (entry = readdir(directory));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		if (remove)
			assert_int_equal(unlink(in_folder(entry->d_name)), 0);
	}
	closedir(directory);
	return count;
}

static int teardown(void **state)
{
	(void)state;
	files(true);
	return rmdir(folder);
}

static void assert_contents(void)
{
	const struct block_options from = {.path = path, .format = BLOCK_QCOW2, .read_only = true};
	const struct block_create_options as = {.format = BLOCK_RAW};
	char to[PATH_MAX], bytes[6] = "";
	int fd;

	snprintf(to, sizeof to, "%s", in_folder("read.raw"));
	assert_ok(block_convert(&from, to, &as, false, NULL, NULL, &failure));
	fd = open(to, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, bytes, 5, 4096), 5);
	assert_int_equal(lseek(fd, 0, SEEK_END), SIZE);
	close(fd);
	assert_int_equal(unlink(to), 0);
	assert_string_equal(bytes, "known");
}

/* As often as it lets itself be saved. */
static unsigned freeze_often(void)
{
	char frozen[MACHINE_LAYER_SIZE], disk[PATH_MAX];
	unsigned count = 0;
	int r;

	while ((r = machine_disk_freeze(folder, frozen, disk, &failure)) == 0 && count < 1000) {
		memcpy(layer, frozen, sizeof layer);
		memcpy(path, disk, sizeof path);
		count++;
	}
	assert_int_equal(r, -ELOOP);
	assert_int_equal(failure.kind, ERROR_STATE);
	assert_non_null(strstr(failure.message, "doppel restart"));
	return count;
}

static void no_more_layers_than_can_be_opened(void **state)
{
	unsigned count = freeze_often();

	(void)state;
	assert_in_range(count, 50, 62);
	assert_int_equal(files(false), count + 1);
	assert_contents();
	/* What a clone puts above. */
	assert_ok(machine_disk_return(folder, layer, &failure));
	assert_contents();
}

static void many_layers_are_joined(void **state)
{
	static const char *const none[] = {NULL};
	unsigned count = freeze_often();

	(void)state;
	assert_int_equal(machine_disk_join(folder, &failure), 1);
	assert_contents();
	/* A snapshot may need the layers still. */
	assert_int_equal(files(false), count + 1);
	machine_disk_sweep(folder, none);
	assert_int_equal(files(false), 1);
	assert_contents();
	assert_int_equal(machine_disk_join(folder, &failure), 0);
	assert_true(freeze_often() > 50);
	assert_contents();
}

static void few_layers_stay(void **state)
{
	(void)state;
	assert_int_equal(machine_disk_join(folder, &failure), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_ok(machine_disk_freeze(folder, layer, path, &failure));
	assert_int_equal(machine_disk_join(folder, &failure), 0);
	assert_int_equal(files(false), 4);
	assert_contents();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_more_layers_than_can_be_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(many_layers_are_joined, setup, teardown),
		cmocka_unit_test_setup_teardown(few_layers_stay, setup, teardown),
	};

	return cmocka_run_group_tests_name("machine_disk", tests, NULL, NULL);
}
