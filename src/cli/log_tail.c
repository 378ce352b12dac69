#include "cli/log_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (64 * KIB)

/* A place in the log counts from the first byte of what was put aside. */
struct log_tail {
	int fd, aside; /* -1: nothing was put aside */
	char file[64];
	bool in_aside; /* reading there first */
	off_t at;      /* in the one that is read */
};

static off_t size_of(int fd)
{
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 ? status.st_size : 0;
}

static int open_one(int folder, const char *file)
{
	return openat(folder, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
}

int log_tail_open(struct log_tail **out, int folder, const char *file, struct error *e)
{
	struct log_tail *tail = calloc(1, sizeof *tail);
	char aside[80];

	if (!tail)
		return error_errno(e, -ENOMEM, "%s", file);
	snprintf(tail->file, sizeof tail->file, "%s", file);
	snprintf(aside, sizeof aside, "%s.1", tail->file);
	tail->fd = open_one(folder, file);
	tail->aside = open_one(folder, aside);
	if (tail->fd < 0) {
		int r = error_errno(e, -errno, "the log %s", file);

		log_tail_close(tail);
		return r;
	}
	tail->in_aside = tail->aside >= 0;
	*out = tail;
	return 0;
}

void log_tail_close(struct log_tail *tail)
{
	if (!tail)
		return;
	if (tail->fd >= 0)
		close(tail->fd);
	if (tail->aside >= 0)
		close(tail->aside);
	free(tail);
}

/* The way back from the end, through one file or two. */
struct way_back {
	uint64_t lines; /* that are still wanted */
	bool begun;     /* the newline that ends the last line is behind us */
};

/* The beginning of the first line that is wanted, or of the file when more are. */
static off_t go_back(int fd, struct way_back *way)
{
	uint8_t bytes[CHUNK];

	for (off_t at = size_of(fd); at > 0;) {
		size_t part = at < (off_t)CHUNK ? (size_t)at : CHUNK;

		at -= (off_t)part;
		if (pread(fd, bytes, part, at) < (ssize_t)part)
			return at; /* it is being put aside just now */
		for (size_t i = part; i > 0; i--) {
			if (bytes[i - 1] == '\n' && way->begun && --way->lines == 0)
				return at + (off_t)i;
			way->begun = true;
		}
	}
	return 0;
}

void log_tail_skip(struct log_tail *tail, uint64_t lines)
{
	struct way_back way = {.lines = lines};

	tail->in_aside = false;
	tail->at = lines ? go_back(tail->fd, &way) : size_of(tail->fd);
	if (!lines || !way.lines || tail->aside < 0)
		return;
	tail->in_aside = true;
	tail->at = go_back(tail->aside, &way);
}

ssize_t log_tail_read(struct log_tail *tail, uint8_t *bytes, size_t room, struct error *e)
{
	ssize_t n;

	/* It was put aside since: its rest is there now. */
	if (!tail->in_aside && tail->at > size_of(tail->fd)) {
		tail->in_aside = tail->aside >= 0;
		tail->at = tail->in_aside ? tail->at : 0;
	}
	n = pread(tail->in_aside ? tail->aside : tail->fd, bytes, room, tail->at);
	if (n < 0)
		return error_errno(e, -errno, "the log %s", tail->file);
	tail->at += n;
	if (n > 0 || !tail->in_aside)
		return n;
	tail->in_aside = false;
	tail->at = 0;
	return log_tail_read(tail, bytes, room, e);
}
