/* The destination in post-copy: the machine runs, and memory comes as it is touched, and all else in the background. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/threads.h"
#include "memory/absent.h"
#include "migrate/destination_private.h"

#define LOOK_MS   1000
/* The faults link is made right after the main one. */
#define FAULTS_MS 10000
/* Faults that are looked at before the link is. */
#define FAULTS_AT_ONCE 64

/* ---- The switch ---- */

bool destination_can_be_late(struct destination *d)
{
	struct memory *memory = destination_memory(d);

	if (d->options.absent < 0)
		return false;
	/* Locked pages, and reserved ones, stay there whatever is done. */
	for (unsigned i = 0; i < memory->count; i++)
		if (memory->regions[i].huge || memory_drop(&memory->regions[i], 0, memory->regions[i].size) < 0)
			return false;
	if (absent_begin(d->options.absent, memory, NULL) < 0)
		return false;
	absent_end(d->options.absent, memory);
	return true;
}

/* Pages that were sent and have changed since. */
static int drop_stale(struct destination *d, unsigned index)
{
	const struct memory_region *region = &destination_memory(d)->regions[index];
	const uint64_t *lacking = d->target.lacking.bits[index], *filled = d->target.filled.bits[index];
	uint64_t pages = region->size >> GUEST_PAGE_SHIFT;
	int r = 0;

	for (uint64_t first = 0; r == 0 && first < pages;) {
		uint64_t end = first;

		while (end < pages && pages_has(lacking, end) && pages_has(filled, end))
			end++;
		if (end > first)
			r = memory_drop(region, first << GUEST_PAGE_SHIFT, (end - first) << GUEST_PAGE_SHIFT);
		else if (first % 64 == 0 && (lacking[first / 64] & filled[first / 64]) == 0)
			end = first + 64;
		else
			end = first + 1;
		first = end;
	}
	return r;
}

/* Under the lock. */
static void release(struct destination *d)
{
	if (d->absent)
		absent_end(d->options.absent, destination_memory(d));
	d->absent = false;
}

int destination_begin_late(struct destination *d, struct error *e)
{
	struct memory *memory = destination_memory(d);
	int r = 0;
	bool linked;

	pthread_mutex_lock(&d->lock);
	linked = d->has_faults_link;
	pthread_mutex_unlock(&d->lock);
	if (!d->can_be_late || !linked)
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side turns to post-copy, which was not agreed on");
	for (unsigned i = 0; r == 0 && i < memory->count; i++)
		r = drop_stale(d, i);
	if (r < 0)
		return error_errno(e, r, "giving up pages that have changed");
	r = absent_begin(d->options.absent, memory, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&d->lock);
	d->target.absent = d->options.absent;
	d->late = d->absent = true;
	/* It may have broken just now, when nobody knew yet that others wait for what it brings. */
	linked = d->has_faults_link;
	if (!linked)
		release(d);
	pthread_mutex_unlock(&d->lock);
	return linked ? 0 : error_set(e, ERROR_FAILED, -EPIPE, "the link broke: the other side is gone");
}

int destination_decide(struct destination *d, struct error *e)
{
	bool broken;

	pthread_mutex_lock(&d->lock);
	broken = d->late && !d->absent;
	d->decided = !broken;
	pthread_mutex_unlock(&d->lock);
	return broken ? error_set(e, ERROR_FAILED, -EPIPE, "the link broke: the other side is gone") : 0;
}

void destination_release(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	release(d);
	pthread_mutex_unlock(&d->lock);
}

bool destination_is_late(const struct destination *d)
{
	return d->late;
}

enum destination_phase destination_phase(struct destination *d, uint64_t *left)
{
	enum destination_phase phase;

	pthread_mutex_lock(&d->lock);
	phase = d->phase;
	pthread_mutex_unlock(&d->lock);
	if (left)
		*left = pages_set_count(&d->target.lacking) << GUEST_PAGE_SHIFT;
	return phase;
}

/* ---- The mover: what is pushed ---- */

static void enter(struct destination *d, enum destination_phase phase)
{
	pthread_mutex_lock(&d->lock);
	d->phase = phase;
	/* Neither link is of use without the other. */
	if (phase == DESTINATION_CUT) {
		d->has_faults_link = false;
		if (d->faults.fd >= 0)
			shutdown(d->faults.fd, SHUT_RDWR);
		destination_send_porters_away(d);
	}
	pthread_mutex_unlock(&d->lock);
	bell_ring(&d->news);
}

static bool is_closing(struct destination *d)
{
	bool closing;

	pthread_mutex_lock(&d->lock);
	closing = d->closing;
	pthread_mutex_unlock(&d->lock);
	return closing;
}

/* What was sent over the other link may not be here yet. */
static int await_rest(struct destination *d, struct error *e)
{
	uint64_t deadline = clock_host_ns() + DESTINATION_IDLE_MS * NS_PER_MS;
	bool late = false;

	pthread_mutex_lock(&d->lock);
	while (pages_set_count(&d->target.lacking) && d->has_faults_link && !d->closing && !late)
		late = !thread_wait_until(&d->changed, &d->lock, deadline);
	pthread_mutex_unlock(&d->lock);
	if (pages_set_count(&d->target.lacking) == 0)
		return 0;
	return error_set(e, ERROR_FAILED, -EPIPE, "the link broke before all pages came");
}

/* Until no page is missing. */
static int take_rest(struct destination *d, struct error *e)
{
	struct stream_frame frame;
	int r = 0;

	while (r == 0) {
		r = unpacker_receive(&d->unpacker, &d->stream, DESTINATION_IDLE_MS, &frame, e);
		if (r < 0 || frame.kind == STREAM_PUSHED)
			break;
		if (frame.kind == STREAM_PAGES)
			r = pages_receive(&frame, &d->target, &d->counts, e);
		else
			r = error_set(e, ERROR_FAILED, -EPROTO, "the other side sent a frame \"%s\" amid missing pages",
				      stream_kind_name(frame.kind));
	}
	return r < 0 ? r : await_rest(d, e);
}

static bool await_link(struct destination *d)
{
	int old = -1;

	pthread_mutex_lock(&d->lock);
	while (d->next_fd < 0 && !d->closing)
		pthread_cond_wait(&d->changed, &d->lock);
	if (d->next_fd >= 0) {
		old = d->fd;
		d->fd = d->next_fd;
		d->next_fd = -1;
		stream_finish(&d->stream);
		stream_init(&d->stream, d->fd, d->wake);
		d->stream.version = d->next_version;
	}
	pthread_mutex_unlock(&d->lock);
	if (old >= 0)
		close(old);
	d->stream.sent = LINK_FRAMES_SENT;
	d->stream.received = LINK_FRAMES_RECEIVED;
	return old >= 0;
}

static int await_faults_link(struct destination *d, struct error *e)
{
	uint64_t deadline = clock_host_ns() + FAULTS_MS * NS_PER_MS;
	bool there, late = false;

	pthread_mutex_lock(&d->lock);
	while (!d->has_faults_link && !d->closing && !late)
		late = !thread_wait_until(&d->changed, &d->lock, deadline);
	there = d->has_faults_link;
	pthread_mutex_unlock(&d->lock);
	return there ? 0 : error_set(e, ERROR_TIMEOUT, -ETIMEDOUT, "only one connection of two came");
}

/* Over the new link: what is needed still. */
static int go_on(struct destination *d, struct error *e)
{
	int r = stream_send(&d->stream, STREAM_JOINED, NULL, 0, e);

	if (r == 0)
		r = await_faults_link(d, e);
	if (r == 0)
		r = pages_send_missing(&d->stream, &d->target.lacking, e);
	if (r == 0)
		r = stream_send(&d->stream, STREAM_READY, NULL, 0, e);
	if (r == 0)
		enter(d, DESTINATION_LATE);
	return r;
}

void destination_be_late(struct destination *d, int r)
{
	if (r == 0) {
		enter(d, DESTINATION_LATE);
		r = take_rest(d, &d->why);
	}
	while (r < 0 && !is_closing(d)) {
		enter(d, DESTINATION_CUT);
		if (!await_link(d))
			return;
		r = go_on(d, &d->why);
		if (r == 0)
			r = take_rest(d, &d->why);
	}
	if (r < 0) {
		(void)error_set(&d->why, ERROR_STATE, -ECANCELED, "the machine has ended at its destination");
		stream_abort(&d->stream, &d->why);
		return;
	}
	destination_release(d);
	enter(d, DESTINATION_COMPLETE);
	(void)!stream_send(&d->stream, STREAM_COMPLETE, NULL, 0, NULL);
}

/* ---- The attendant: connections, and faults ---- */

/* Before the commit the move ends, and nobody must wait for memory that never comes; then the main link is of no use either. */
static void drop_faults_link(struct destination *d)
{
	pthread_mutex_lock(&d->lock);
	if (d->faults.fd >= 0)
		close(d->faults.fd);
	d->faults.fd = -1;
	d->has_faults_link = false;
	if (d->late && !d->decided)
		release(d);
	if (d->phase == DESTINATION_LATE)
		shutdown(d->fd, SHUT_RDWR);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	d->asked = false;
}

static void take_faults_link(struct destination *d, int fd, unsigned version)
{
	bool late;

	pthread_mutex_lock(&d->lock);
	if (d->faults.fd >= 0)
		close(d->faults.fd);
	stream_finish(&d->faults);
	stream_init(&d->faults, fd, d->wake);
	d->faults.version = version;
	d->faults.sent = LINK_FRAMES_SENT;
	d->faults.received = LINK_FRAMES_RECEIVED;
	d->asked = false;
	/* Before the other side knows: it may turn to post-copy at once. */
	d->has_faults_link = true;
	late = d->absent;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	if (stream_send(&d->faults, STREAM_JOINED, NULL, 0, NULL) < 0)
		drop_faults_link(d);
	else if (late)
		absent_look_again(d->options.absent, destination_memory(d));
}

/* A source that comes anew knows that the link is broken, even when this side does not. */
static void take_main_link(struct destination *d, int fd, unsigned version)
{
	pthread_mutex_lock(&d->lock);
	if (d->phase == DESTINATION_LATE || d->phase == DESTINATION_CUT) {
		if (d->next_fd >= 0)
			close(d->next_fd);
		d->next_fd = fd;
		d->next_version = version;
		if (d->phase == DESTINATION_LATE)
			shutdown(d->fd, SHUT_RDWR);
		fd = -1;
	}
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	if (fd >= 0)
		close(fd);
}

static void take_connection(struct destination *d)
{
	int door = accept4(d->options.door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), fd;
	struct pollfd letters = {.fd = door, .events = POLLIN};
	struct link_letter letter;

	if (door < 0)
		return;
	if (poll(&letters, 1, LOOK_MS) > 0 && link_take(door, &letter, &fd) == 0) {
		if (memcmp(letter.token, d->options.token, sizeof letter.token) != 0 || letter.version < 2 ||
		    letter.version > STREAM_VERSION)
			close(fd);
		else if (letter.role == LINK_PAGES)
			destination_take_pages_link(d, fd, letter.version);
		else if (letter.role == LINK_FAULTS)
			take_faults_link(d, fd, letter.version);
		else
			take_main_link(d, fd, letter.version);
	}
	close(door);
}

static void ask(struct destination *d, uint64_t address)
{
	const le64_t wanted = le64_put(address);

	if (d->faults.fd < 0) /* asked when there is one */
		return;
	if (stream_send_bytes(&d->faults, STREAM_WANT, &wanted, sizeof wanted, NULL) < 0) {
		drop_faults_link(d);
		return;
	}
	if (!d->asked)
		d->asked_ns = clock_host_ns();
	d->asked = true;
}

static void attend_faults(struct destination *d)
{
	uintptr_t host;
	uint64_t address;

	for (unsigned i = 0; i < FAULTS_AT_ONCE && absent_next(d->options.absent, &host) > 0; i++)
		if (pages_want(&d->target, host, &address) > 0)
			ask(d, address);
}

static void take_pages(struct destination *d)
{
	struct stream_frame frame;
	bool late;
	int r = unpacker_receive(&d->fault_unpacker, &d->faults, -1, &frame, NULL);

	pthread_mutex_lock(&d->lock);
	late = d->late;
	pthread_mutex_unlock(&d->lock);
	if (r == 0)
		r = late && frame.kind == STREAM_PAGES ? pages_receive(&frame, &d->target, &d->fault_counts, NULL) : -EPROTO;
	if (r < 0) {
		drop_faults_link(d);
		return;
	}
	d->asked = false;
	pthread_mutex_lock(&d->lock);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

static bool attend_once(struct destination *d)
{
	struct pollfd fds[] = {{.fd = d->wake, .events = POLLIN},
			       {.fd = d->options.door, .events = POLLIN},
			       {.fd = d->faults.fd, .events = POLLIN},
			       {.fd = d->options.absent, .events = POLLIN}};

	if (poll(fds, ARRAY_SIZE(fds), LOOK_MS) < 0)
		return errno == EINTR;
	if (fds[0].revents)
		return false;
	if (fds[3].revents)
		attend_faults(d);
	if (fds[2].revents && d->faults.fd >= 0)
		take_pages(d);
	else if (d->asked && clock_host_ns() - d->asked_ns > DESTINATION_IDLE_MS * NS_PER_MS)
		drop_faults_link(d);
	if (fds[1].revents)
		take_connection(d);
	return true;
}

void *destination_attend(void *arg)
{
	while (attend_once(arg))
		;
	return NULL;
}
