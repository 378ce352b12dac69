/* Manifests: large files are read again only after they were touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/manifest.h"

#define LARGE ((off_t)(64 * MIB))

static char folder[] = "/tmp/manifest-XXXXXX";
static char disk[PATH_MAX], listing[PATH_MAX];
static struct manifest manifest, back;

static int setup(void **state)
{
	struct error e;
	int fd;

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(disk, sizeof disk, "%s/disk.raw", folder);
	snprintf(listing, sizeof listing, "%s/manifest", folder);
	fd = open(disk, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, LARGE) < 0 || pwrite(fd, "begin", 5, 0) != 5)
		return -1;
	close(fd);
	memset(manifest.recipe, '0', MANIFEST_HASH_SIZE - 1);
	memset(manifest.packages, '0', MANIFEST_HASH_SIZE - 1);
	strcpy(manifest.version, "1");
	return manifest_add(&manifest, folder, "disk.raw", &e);
}

static int teardown(void **state)
{
	(void)state;
	unlink(disk);
	unlink(listing);
	return rmdir(folder);
}

static void after_a_touch_it_is_read_once(void **state)
{
	struct error e;

	(void)state;
	assert_true(manifest_holds(&manifest, folder, ""));
	assert_false(manifest.renewed);
	/* The same file with another time of its last change, as a copy has it. */
	assert_int_equal(chmod(disk, 0640), 0);
	assert_true(manifest_holds(&manifest, folder, ""));
	assert_true(manifest.renewed);
	assert_int_equal(manifest_write(listing, &manifest, &e), 0);
	assert_int_equal(manifest_read(listing, &back), 0);
	assert_true(manifest_holds(&back, folder, ""));
	assert_false(back.renewed);
}

static void another_byte_is_found(void **state)
{
	int fd = open(disk, O_RDWR);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "X", 1, LARGE - 1), 1);
	close(fd);
	assert_false(manifest_holds(&manifest, folder, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_a_touch_it_is_read_once),
		cmocka_unit_test(another_byte_is_found),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
