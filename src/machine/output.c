#include "machine/output.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/threads.h"

#define WRITE_AT_ONCE (64 * KIB)
/* Sent to the writing thread to get it out of a write that blocks: output_free. Blocked on all other threads of
 * the machine, and ignored by default elsewhere. */
#define INTERRUPT SIGURG
#define INTERRUPT_EVERY_MS 10

struct output {
	int fd;
	bool line;
	struct output_hooks hooks;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t filled, emptied;
	bool broken, done, drain_wanted;
	atomic_bool closing; /* read without the lock */
	atomic_bool crowded; /* read without the lock */
	uint64_t progress_ns; /* when bytes were last taken */
	size_t start, length;
	uint8_t ring[OUTPUT_ROOM];
};

static bool nobody_there(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

static void wait_writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	(void)poll(&p, 1, -1);
}

/* Bytes written or dropped, at least one, or a negative errno: -EINTR when the output is being freed. */
static ssize_t put(const struct output *output, const uint8_t *bytes, size_t length)
{
	while (!atomic_load(&output->closing)) {
		ssize_t n;

		if (output->line && nobody_there(output->fd))
			return (ssize_t)length;
		n = write(output->fd, bytes, length);
		if (n > 0)
			return n;
		if (n == 0)
			return -EIO;
		if (output->line && errno == EIO)
			return (ssize_t)length;
		if (errno == EAGAIN)
			wait_writable(output->fd);
		else if (errno != EINTR)
			return -errno;
	}
	return -EINTR;
}

static void report_end(ssize_t code)
{
	if (code == -EINTR)
		return;
	/* A reader that goes away is no fault: `doppel run | head`. */
	log_line(code == -EPIPE ? LOG_INFO : LOG_WARNING, "console", "output ends here: %s", strerror((int)-code));
}

/* With the lock held: `n` of the oldest bytes are done with, or all when n is an error. */
static void account(struct output *output, ssize_t n)
{
	output->progress_ns = clock_host_ns();
	if (n < 0) {
		output->broken = true;
		output->length = 0;
	} else {
		output->start = (output->start + (size_t)n) % OUTPUT_ROOM;
		output->length -= (size_t)n;
	}
	if (!output->length) {
		output->start = 0;
		pthread_cond_broadcast(&output->emptied);
	}
}

/* One write, with the lock held but for the write itself and the hooks. */
static void write_some(struct output *output)
{
	size_t chunk = OUTPUT_ROOM - output->start;
	bool room, drained;
	ssize_t n;

	if (chunk > output->length)
		chunk = output->length;
	if (chunk > WRITE_AT_ONCE)
		chunk = WRITE_AT_ONCE;
	pthread_mutex_unlock(&output->lock);
	n = put(output, output->ring + output->start, chunk);
	if (n < 0)
		report_end(n);
	pthread_mutex_lock(&output->lock);
	account(output, n);
	room = output->length <= OUTPUT_CROWDED / 2 && atomic_exchange(&output->crowded, false);
	drained = !output->length && output->drain_wanted;
	output->drain_wanted &= !drained;
	pthread_mutex_unlock(&output->lock);
	if (room && output->hooks.room)
		output->hooks.room(output->hooks.opaque);
	if (drained && output->hooks.drained)
		output->hooks.drained(output->hooks.opaque);
	pthread_mutex_lock(&output->lock);
}

static void interrupted(int number)
{
	(void)number; /* the write returns, that is all */
}

static void allow_interrupt(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, INTERRUPT);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *writer(void *arg)
{
	struct output *output = arg;

	allow_interrupt();
	pthread_mutex_lock(&output->lock);
	while (!atomic_load(&output->closing)) {
		if (output->length)
			write_some(output);
		else
			pthread_cond_wait(&output->filled, &output->lock);
	}
	output->done = true;
	pthread_cond_broadcast(&output->emptied);
	pthread_mutex_unlock(&output->lock);
	return NULL;
}

static void init_locks(struct output *output)
{
	pthread_mutex_init(&output->lock, NULL);
	pthread_cond_init(&output->filled, NULL);
	thread_condition_init(&output->emptied);
}

static void destroy(struct output *output)
{
	pthread_cond_destroy(&output->emptied);
	pthread_cond_destroy(&output->filled);
	pthread_mutex_destroy(&output->lock);
	free(output);
}

int output_new(struct output **out, int fd, bool line, const struct output_hooks *hooks, struct error *e)
{
	const struct sigaction action = {.sa_handler = interrupted}; /* without SA_RESTART */
	struct output *output = calloc(1, sizeof *output);
	int r;

	if (!output)
		return error_errno(e, -ENOMEM, "console output");
	output->fd = fd;
	output->line = line;
	output->hooks = *hooks;
	init_locks(output);
	sigaction(INTERRUPT, &action, NULL);
	r = thread_start(&output->thread, THREAD_OUTPUT, "console", writer, output);
	if (r < 0) {
		destroy(output);
		return error_errno(e, r, "a thread for console output");
	}
	*out = output;
	return 0;
}

/* Interrupts the thread until it noticed: a signal that comes just before a write does not end it. */
static void end_thread(struct output *output)
{
	pthread_mutex_lock(&output->lock);
	atomic_store(&output->closing, true);
	pthread_cond_signal(&output->filled);
	while (!output->done) {
		pthread_kill(output->thread, INTERRUPT);
		thread_wait_until(&output->emptied, &output->lock, clock_host_ns() + INTERRUPT_EVERY_MS * NS_PER_MS);
	}
	pthread_mutex_unlock(&output->lock);
	pthread_join(output->thread, NULL);
}

void output_free(struct output *output)
{
	if (!output)
		return;
	end_thread(output);
	destroy(output);
}

/* With the lock held: as much as fits; returns the bytes that do not. */
static size_t append(struct output *output, const uint8_t *bytes, size_t length)
{
	size_t room = OUTPUT_ROOM - output->length, taken = length < room ? length : room;
	size_t at = (output->start + output->length) % OUTPUT_ROOM;
	size_t first = taken < OUTPUT_ROOM - at ? taken : OUTPUT_ROOM - at;

	memcpy(output->ring + at, bytes, first);
	memcpy(output->ring, bytes + first, taken - first);
	output->length += taken;
	return length - taken;
}

bool output_write(struct output *output, const void *bytes, size_t length)
{
	size_t lost = 0;
	bool crowded;

	pthread_mutex_lock(&output->lock);
	if (!output->broken)
		lost = append(output, bytes, length);
	crowded = output->length > OUTPUT_CROWDED;
	if (crowded)
		atomic_store(&output->crowded, true);
	pthread_cond_signal(&output->filled);
	pthread_mutex_unlock(&output->lock);
	if (lost)
		log_guest(LOG_WARNING, "console", "%zu bytes of output are lost: nobody takes them", lost);
	return crowded;
}

bool output_crowded(const struct output *output)
{
	return atomic_load(&output->crowded);
}

bool output_drained(struct output *output)
{
	bool drained;

	pthread_mutex_lock(&output->lock);
	drained = !output->length;
	output->drain_wanted = !drained;
	pthread_mutex_unlock(&output->lock);
	return drained;
}

bool output_flush(struct output *output, unsigned patience_ms)
{
	uint64_t began = clock_host_ns();
	bool drained;

	pthread_mutex_lock(&output->lock);
	while (output->length) {
		uint64_t since = output->progress_ns > began ? output->progress_ns : began;
		uint64_t until = since + patience_ms * NS_PER_MS;

		if (clock_host_ns() >= until)
			break;
		thread_wait_until(&output->emptied, &output->lock, until);
	}
	drained = !output->length;
	pthread_mutex_unlock(&output->lock);
	return drained;
}
