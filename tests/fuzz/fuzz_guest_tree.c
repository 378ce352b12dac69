/*
 * A tree of a hostile guest, taken into a folder of the host.
 *
 * The input is a list of frames: type (1 byte), length of the payload (1), payload. Beside the folder lies a marker, and
 * links of the tree may point to it: after each input it must be as it was, and nothing may be beside it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char place[64], inside[80], marker[80];

static void check(bool right)
{
	if (!right)
		abort();
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
	(void)status;
	(void)kind;
	return ftw->level == 0 ? 0 : remove(path);
}

static int open_one(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
	(void)status;
	(void)ftw;
	return kind == FTW_D || kind == FTW_DNR ? chmod(path, 0700) : 0;
}

static void empty(const char *folder)
{
	(void)nftw(folder, open_one, 8, FTW_PHYS);
	(void)nftw(folder, remove_one, 8, FTW_PHYS | FTW_DEPTH);
}

static void leave(void)
{
	empty(place);
	(void)rmdir(place);
}

static void make_place(void)
{
	int fd;

	strcpy(place, "/tmp/doppel-fuzz-XXXXXX");
	check(mkdtemp(place) != NULL);
	snprintf(inside, sizeof inside, "%s/inside", place);
	snprintf(marker, sizeof marker, "%s/marker", place);
	check(mkdir(inside, 0700) == 0);
	fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, "marker", 6) == 6 && close(fd) == 0);
	check(atexit(leave) == 0);
}

static void check_outside(void)
{
	char text[16] = "";
	struct stat status;
	int fd = open(marker, O_RDONLY | O_CLOEXEC);
	DIR *folder = opendir(place);
	unsigned entries = 0;

	check(fd >= 0 && read(fd, text, sizeof text) == 6 && memcmp(text, "marker", 6) == 0);
	check(fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0600);
	close(fd);
	while (folder && readdir(folder))
		entries++;
	check(entries == 4);
	closedir(folder);
}

static void on_problem(void *context, int code, const char *path)
{
	(void)context;
	check(code < 0 && path);
}

static void take(const uint8_t *bytes, size_t size)
{
	const struct tree_hooks hooks = {.problem = on_problem};
	struct tree_receiver *receiver;
	struct error e;
	int r = tree_receiver_new(&receiver, inside, TREE_SUSPICIOUS, &hooks, &e);

	while (r == 0 && size >= 2) {
		size_t length = bytes[1] < size - 2 ? bytes[1] : size - 2;
		uint8_t *payload = malloc(length + !length);
		struct wire_frame frame = {.type = bytes[0], .length = (uint32_t)length, .bytes = payload};

		memcpy(payload, bytes + 2, length);
		r = tree_receiver_take(receiver, &frame, &e);
		free(payload);
		bytes += 2 + length;
		size -= 2 + length;
	}
	tree_receiver_free(receiver);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (!*place)
		make_place();
	take(bytes, size);
	check_outside();
	empty(inside);
	return 0;
}
