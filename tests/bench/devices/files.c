/* A file system of the host, and a terminal. */
#include "load.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK (128u * 1024)

static uint8_t chunk[CHUNK];

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		load_die(path);
	return fd;
}

static void write_data(const char *path, uint64_t bytes)
{
	const double began = load_now();
	int fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);

	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		load_stamp(chunk, CHUNK, at / LOAD_SECTOR, 1);
		if (write(fd, chunk, CHUNK) != CHUNK)
			load_die(path);
	}
	if (fsync(fd) < 0 || close(fd) < 0)
		load_die(path);
	load_say("file-write", (double)bytes / (load_now() - began) / 1e6);
}

/* What the guest itself remembers would hide the device. */
static void forget(void)
{
	int fd = open_file("/proc/sys/vm/drop_caches", O_WRONLY);

	sync();
	if (write(fd, "3", 1) != 1 || close(fd) < 0)
		load_die("drop_caches");
}

static void read_data(const char *path, uint64_t bytes)
{
	const double began = load_now();
	int fd = open_file(path, O_RDONLY);

	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		if (read(fd, chunk, CHUNK) != CHUNK)
			load_die(path);
		load_check(chunk, CHUNK, at / LOAD_SECTOR, 1);
	}
	close(fd);
	load_say("file-read", (double)bytes / (load_now() - began) / 1e6);
}

/* Six operations with names: make, ask, rename, ask for both, remove. */
static void names(const char *folder, unsigned files)
{
	const double began = load_now();
	char path[4096], other[4096];
	struct stat status;

	for (unsigned i = 0; i < files; i++) {
		snprintf(path, sizeof path, "%s/name%u", folder, i);
		snprintf(other, sizeof other, "%s/other%u", folder, i);
		if (mknod(path, S_IFREG | 0600, 0) < 0 || stat(path, &status) < 0 || rename(path, other) < 0 ||
		    stat(other, &status) < 0 || !S_ISREG(status.st_mode) || stat(path, &status) == 0)
			load_die(path);
	}
	for (unsigned i = 0; i < files; i++) {
		snprintf(other, sizeof other, "%s/other%u", folder, i);
		if (unlink(other) < 0)
			load_die(other);
	}
	load_say("file-names", 6.0 * files / (load_now() - began));
}

int load_files(const char *folder, uint64_t bytes, unsigned files)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/data", folder);
	write_data(path, bytes);
	forget();
	read_data(path, bytes);
	names(folder, files);
	return 0;
}

int load_console(uint64_t bytes)
{
	char line[LOAD_LINE + 32];

	for (uint64_t i = 0; i < bytes / LOAD_LINE; i++) {
		snprintf(line, sizeof line, "%08" PRIx64 "%055" PRIu64 "\n", i, i * i);
		if (write(STDOUT_FILENO, line, LOAD_LINE) != LOAD_LINE)
			load_die("standard output");
	}
	tcdrain(STDOUT_FILENO);
	return 0;
}
