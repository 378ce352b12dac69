/*
 * The files of a registry with any bytes in them: the input is a machine's record, and a history.
 *
 * A record is read as one that is whole, or as a failed machine with a message; either is text that ends.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char root[] = "/tmp/doppel-fuzz-registry-XXXXXX";
static struct registry *registry;

static void clean(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", root);
	if (system(command) != 0)
		fputs("the folder of the test is left behind\n", stderr);
}

static void make_registry(void)
{
	struct record record = {0};
	int fd;

	if (!mkdtemp(root) || setenv("DOPPEL_STATE", root, 1) < 0)
		abort();
	atexit(clean);
	if (registry_open(&registry, NULL) < 0 || registry_create(registry, "web", "", 0, &record, NULL) < 0 ||
	    registry_history_open(registry, "web", &fd, NULL) < 0)
		abort();
	close(fd);
}

static void put(const char *file, const uint8_t *data, size_t size)
{
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/%s", root, file);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

static void check_line(void *context, const char *line)
{
	json_t *object = json_loads(line, 0, NULL);

	(void)context;
	assert(json_is_object(object));
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record record;
	int fd, r;

	if (!registry)
		make_registry();
	put("machines/web/state.json", data, size);
	r = registry_record(registry, "web", &record, NULL);
	assert(r == 0 && strcmp(record.name, "web") == 0);
	assert(record.state <= MACHINE_FAILED && record.monitor == 0);
	assert(memchr(record.message, 0, sizeof record.message) && memchr(record.image, 0, sizeof record.image));
	put("history/web.jsonl", data, size);
	r = registry_history_open(registry, "web", &fd, NULL);
	assert(r == 0);
	r = registry_history_add(fd, "added", NULL, NULL);
	assert(r == 0 || r == -EFBIG);
	close(fd);
	r = registry_history_read(registry, "web", check_line, NULL, NULL);
	assert(r == 0);
	return 0;
}
