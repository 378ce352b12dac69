/* A registry in a temporary directory, for its tests. Included once in a program. */
#ifndef TESTS_REGISTRY_BENCH_H
#define TESTS_REGISTRY_BENCH_H

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "failure.h"

static char root[] = "/tmp/doppel-registry-XXXXXX";
static struct registry *registry;

static int delete_one(const char *path, const struct stat *status, int flag, struct FTW *at)
{
	(void)status;
	(void)flag;
	(void)at;
	return remove(path);
}

static int setup(void **state)
{
	(void)state;
	failure = (struct error){0};
	strcpy(root + strlen(root) - 6, "XXXXXX");
	if (!mkdtemp(root))
		return -1;
	setenv("DOPPEL_STATE", root, 1);
	return registry_open(&registry, &failure);
}

static int teardown(void **state)
{
	(void)state;
	registry_close(registry);
	registry = NULL;
	return nftw(root, delete_one, 8, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT ? -1 : 0;
}

#define with_registry(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* How many there are, hidden ones too. */
static inline int entries_in(const char *folder)
{
	char path[PATH_MAX];
	DIR *directory;
	int count = 0;

	snprintf(path, sizeof path, "%s/%s", root, folder);
	directory = opendir(path);
	assert_non_null(directory);
	for (const struct dirent *entry; (entry = readdir(directory));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			count++;
	closedir(directory);
	return count;
}

static inline void assert_file(const char *path, const char *wanted)
{
	char bytes[4096] = "";
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	bytes[fread(bytes, 1, sizeof bytes - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(bytes, wanted);
}

#endif
