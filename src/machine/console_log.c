#include "machine/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/threads.h"

#define CHUNK         (16 * KIB)
/* A guest that prints byte by byte is not worth a write for each. */
#define GATHER_NS (20 * UINT64_C(1000000))
/* A full disk is not tried again for each line. */
#define RETRY_NS NS_PER_SECOND

struct console_log {
	struct tape *tape;
	struct tape_alarm alarm;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the two below */
	pthread_cond_t changed;
	bool due, closing;

	/* The thread's. */
	uint64_t place; /* on the tape */
	int fd, aside;
	uint64_t size, length; /* the file's, at most and now */
	uint64_t missing;      /* bytes left out since the last that were written */
	uint64_t retry_ns;     /* after a failure: nothing is written before that */
	uint8_t bytes[CHUNK];
};

/* On a vCPU's thread, mostly. */
static void wake(void *opaque)
{
	struct console_log *log = opaque;

	pthread_mutex_lock(&log->lock);
	log->due = true;
	pthread_cond_signal(&log->changed);
	pthread_mutex_unlock(&log->lock);
}

/* All of it or nothing: 0 or a negative errno. */
static int write_all(const struct console_log *log, const void *bytes, size_t length)
{
	const uint8_t *from = bytes;
	size_t done = 0;

	while (done < length) {
		ssize_t n = write(log->fd, from + done, length - done);
		int r = n < 0 ? -errno : n == 0 ? -EIO : 0;

		if (r == -EINTR)
			continue;
		if (r == 0) {
			done += (size_t)n;
			continue;
		}
		return done && ftruncate(log->fd, (off_t)log->length) < 0 ? -errno : r;
	}
	return 0;
}

static int copy_aside(struct console_log *log)
{
	uint8_t bytes[CHUNK];
	off_t at = 0;

	if (ftruncate(log->aside, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = pread(log->fd, bytes, sizeof bytes, at);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (pwrite(log->aside, bytes, (size_t)n, at) != n)
			return -ENOSPC;
		at += n;
	}
}

static int put_aside(struct console_log *log)
{
	int r = copy_aside(log);

	if (r == 0 && ftruncate(log->fd, 0) < 0)
		r = -errno;
	if (r == 0)
		log->length = 0;
	return r;
}

static int append(struct console_log *log, const void *bytes, size_t length)
{
	int r = log->length + length > log->size ? put_aside(log) : 0;

	if (r == 0)
		r = write_all(log, bytes, length);
	if (r == 0)
		log->length += length;
	return r;
}

/* The line that stands for what is missing. */
static int confess(struct console_log *log)
{
	char line[96];
	int n, r;

	if (!log->missing)
		return 0;
	n = snprintf(line, sizeof line, "\n[doppel: %llu bytes of output are missing here]\n",
		     (unsigned long long)log->missing);
	r = append(log, line, (size_t)n);
	if (r == 0)
		log->missing = 0;
	return r;
}

/* With the line before it, or not at all: a full disk may have room for lines that tell of gaps, and nothing else. */
static int add(struct console_log *log, size_t length)
{
	uint64_t before = log->length, missing = log->missing;
	int r = confess(log);

	if (r == 0)
		r = append(log, log->bytes, length);
	if (r < 0 && log->length > before && ftruncate(log->fd, (off_t)before) == 0) {
		log->length = before;
		log->missing = missing;
	}
	return r;
}

static void keep(struct console_log *log, size_t length)
{
	bool told = log->missing != 0;
	int r = clock_host_ns() < log->retry_ns ? -EAGAIN : add(log, length);

	if (r == 0)
		return;
	if (r != -EAGAIN)
		log->retry_ns = clock_host_ns() + RETRY_NS;
	if (!told)
		log_line(LOG_WARNING, "console", "the log of the console has a gap: %s", strerror(-r));
	log->missing += length;
}

static void drain(struct console_log *log)
{
	uint64_t lost;
	size_t n;

	for (;;) {
		n = tape_read(log->tape, &log->place, log->bytes, sizeof log->bytes, &lost);
		log->missing += lost;
		if (!n)
			return;
		keep(log, n);
	}
}

/* Waits until the stream is longer than `place`, or `until_ns` has come (0: never). Returns whether it is to end. */
static bool await(struct console_log *log, uint64_t place, uint64_t until_ns)
{
	bool closing, late = false;

	pthread_mutex_lock(&log->lock);
	log->due = false;
	pthread_mutex_unlock(&log->lock);
	tape_alarm_set(log->tape, &log->alarm, place);
	pthread_mutex_lock(&log->lock);
	while (!log->due && !log->closing && !late)
		if (until_ns)
			late = !thread_wait_until(&log->changed, &log->lock, until_ns);
		else
			pthread_cond_wait(&log->changed, &log->lock);
	closing = log->closing;
	pthread_mutex_unlock(&log->lock);
	return closing;
}

static void *writer(void *arg)
{
	struct console_log *log = arg;

	while (!await(log, log->place, 0) &&
	       !await(log, log->place + TAPE_SIZE / 2, clock_host_ns() + GATHER_NS))
		drain(log);
	drain(log);
	if (log->missing)
		(void)!confess(log);
	return NULL;
}

static int open_one(const char *path, int *fd, uint64_t *length, struct error *e)
{
	struct stat status;
	int opened = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

	if (opened < 0)
		return error_errno(e, -errno, "the console's log %s", path);
	if (fstat(opened, &status) < 0 || !S_ISREG(status.st_mode)) {
		close(opened);
		return error_set(e, ERROR_FAILED, -EINVAL, "the console's log %s is no regular file; remove it", path);
	}
	*fd = opened;
	*length = (uint64_t)status.st_size;
	return 0;
}

static int open_files(struct console_log *log, const char *path, struct error *e)
{
	char aside[PATH_MAX];
	uint64_t ignored;
	int r;

	if ((size_t)snprintf(aside, sizeof aside, "%s.1", path) >= sizeof aside)
		return error_errno(e, -ENAMETOOLONG, "the console's log %s", path);
	r = open_one(path, &log->fd, &log->length, e);
	if (r == 0)
		r = open_one(aside, &log->aside, &ignored, e);
	if (r == 0 && fcntl(log->fd, F_SETFL, O_APPEND) < 0)
		r = error_errno(e, -errno, "the console's log %s", path);
	return r;
}

static void destroy(struct console_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	if (log->aside >= 0)
		close(log->aside);
	pthread_cond_destroy(&log->changed);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

static void init_locks(struct console_log *log)
{
	pthread_mutex_init(&log->lock, NULL);
	thread_condition_init(&log->changed);
}

int console_log_new(struct console_log **out, struct tape *tape, const char *path, uint64_t size, struct error *e)
{
	struct console_log *log = calloc(1, sizeof *log);
	int r;

	if (!log)
		return error_errno(e, -ENOMEM, "the console's log");
	log->tape = tape;
	log->alarm = (struct tape_alarm){.fn = wake, .opaque = log};
	log->place = tape_end(tape);
	log->size = size ? size : CONSOLE_LOG_SIZE;
	log->fd = log->aside = -1;
	init_locks(log);
	r = open_files(log, path, e);
	if (r == 0) {
		r = thread_start(&log->thread, THREAD_OUTPUT, "console-log", writer, log);
		if (r < 0)
			error_errno(e, r, "a thread for the console's log");
	}
	if (r < 0)
		destroy(log);
	else
		*out = log;
	return r;
}

void console_log_free(struct console_log *log)
{
	if (!log)
		return;
	pthread_mutex_lock(&log->lock);
	log->closing = true;
	pthread_cond_signal(&log->changed);
	pthread_mutex_unlock(&log->lock);
	pthread_join(log->thread, NULL);
	tape_alarm_remove(log->tape, &log->alarm);
	destroy(log);
}
