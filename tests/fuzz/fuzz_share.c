/*
 * A shared folder's server against sequences of requests from a hostile guest.
 *
 * The input is a list of requests: opcode (1 byte), node (1), length of the body (1), body. A marker file lies beside the
 * shared folder, and each request that succeeds is followed by a look whether it is untouched.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "share/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char base[] = "/tmp/doppel-fuzz-share-XXXXXX";

static void in_base(char *path, size_t room, const char *name)
{
	snprintf(path, room, "%s/%s", base, name);
}

static void clean(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", base);
	if (system(command) != 0)
		fputs("the folder of the test is left behind\n", stderr);
}

static void make_folders(void)
{
	static const char *const folders[] = {"in", "in/a", "out"};
	char path[128];
	int fd;

	if (!mkdtemp(base))
		abort();
	atexit(clean);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		in_base(path, sizeof path, folders[i]);
		if (mkdir(path, 0755) < 0)
			abort();
	}
	in_base(path, sizeof path, "out/marker");
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "marker", 6) != 6)
		abort();
	close(fd);
}

/* Outside of the shared folder is one folder with one file, as it was. */
static void check_outside(void)
{
	char path[128];
	struct stat file;

	in_base(path, sizeof path, "out/marker");
	assert(stat(path, &file) == 0 && file.st_size == 6 && (file.st_mode & 07777) == 0600 && file.st_nlink == 1);
}

/* What the last input left in the shared folder goes. */
static void empty_shared(void)
{
	char path[128], command[400];

	in_base(path, sizeof path, "in");
	snprintf(command, sizeof command, "chmod -R u+rwx %s 2>/dev/null; find %s -mindepth 1 -delete", path, path);
	(void)!system(command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) uint8_t message[sizeof(struct fuse_in_header) + 256], reply[4096];
	static bool made;
	const uint8_t *end = data + size;
	struct server server;
	unsigned requests = 0;
	bool changed = false;
	char path[128];

	if (!made)
		make_folders();
	made = true;
	in_base(path, sizeof path, "in");
	if (server_init(&server, open(path, O_PATH | O_DIRECTORY | O_CLOEXEC),
			open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC), false) < 0)
		abort();
	while (end - data >= 3 && requests++ < 64) {
		uint32_t opcode = data[0];
		struct fuse_in_header in = {.opcode = opcode, .nodeid = data[1], .unique = 1};
		size_t length = data[2], left = (size_t)(end - data - 3);

		if (length > left)
			length = left;
		in.len = (uint32_t)(sizeof in + length);
		memcpy(message, &in, sizeof in);
		memcpy(message + sizeof in, data + 3, length);
		data += 3 + length;
		/* Allocation of terabytes is a request like any other; it is not what is looked for here. */
		if (opcode == FUSE_FALLOCATE || opcode == FUSE_SYNCFS || opcode == FUSE_FSYNC)
			continue;
		assert(server_serve(&server, message, in.len, reply, sizeof reply) <= sizeof reply);
		changed = true;
	}
	server_finish(&server);
	check_outside();
	if (changed)
		empty_shared();
	return 0;
}
