#include "snapshot/filling.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/threads.h"
#include "memory/absent.h"
#include "snapshot/marks.h"

#define GROUP_BYTES   (MARKS_GROUP * GUEST_PAGE_SIZE)
#define AT_ONCE       64
/* How long the owner may take to end a process that lacks memory. */
#define LAST_WORDS_MS 2000
/* Fewer groups of zeros between two others are mapped with them. */
#define GAP           4

struct filling {
	struct memory *memory;
	int file, wants, absent;
	int over, close; /* eventfds: the thread is done; it shall be */
	uint64_t offset; /* of the memory, in the file */
	const struct marks *marks;
	size_t marks_length;
	uint64_t *placed; /* a bit each group: it is in place, or was given */
	uint8_t *buffer;  /* a group */
	atomic_int result; /* before `over` is told */
	pthread_t thread;
};

static bool is_placed(const struct filling *f, uint64_t group)
{
	return f->placed[group / 64] >> group % 64 & 1;
}

static bool is_ready(const struct pollfd *fd)
{
	return poll((struct pollfd *)fd, 1, 0) > 0;
}

static bool is_closing(const struct filling *f)
{
	return is_ready(&(struct pollfd){.fd = f->close, .events = POLLIN});
}

/* Nobody reads what is asked for. */
static bool has_ended(const struct filling *f)
{
	return is_ready(&(struct pollfd){.fd = f->wants});
}

/* ---- One group ---- */

static void ask(const struct filling *f, uint64_t group)
{
	uint32_t number = (uint32_t)group;

	/* When the pipe is full there is enough to do: who waits asks again. */
	(void)!write(f->wants, &number, sizeof number);
}

static int await(const struct filling *f, uint64_t group)
{
	for (;;) {
		uint32_t turn = atomic_load(&f->marks->turn);
		bool ended = has_ended(f);

		if (marks_get(f->marks, group) != MARKS_NONE)
			return 0;
		if (ended)
			return -EPIPE;
		if (is_closing(f))
			return -ECANCELED;
		ask(f, group);
		marks_wait(f->marks, turn);
	}
}

/* It is in the file. */
static int place_group(struct filling *f, uint64_t group)
{
	struct marks_place place;
	const uint8_t *bytes = NULL;
	uint8_t *host;
	int r = 0;

	if (!marks_find(f->memory, group, &place))
		return -EINVAL;
	host = f->memory->regions[place.region].host + place.page * GUEST_PAGE_SIZE;
	if (!is_placed(f, group) && marks_get(f->marks, group) == MARKS_HERE) {
		r = file_read_at(f->file, f->buffer, place.pages * GUEST_PAGE_SIZE, f->offset + place.row * GUEST_PAGE_SIZE);
		bytes = f->buffer;
	}
	memory_set_bits(f->placed, group, 1, true);
	return r < 0 ? r : absent_put(f->absent, host, bytes, place.pages);
}

static uint64_t group_at(const struct filling *f, uintptr_t address)
{
	for (unsigned i = 0; i < f->memory->count; i++) {
		uintptr_t offset = address - (uintptr_t)f->memory->regions[i].host;

		if (offset < f->memory->regions[i].size)
			return marks_group(f->memory, i, offset / GUEST_PAGE_SIZE);
	}
	return 0;
}

/* All who wait now: what they lack is asked for before the first of it is waited for. */
static int attend(struct filling *f)
{
	uint64_t groups[AT_ONCE];
	uintptr_t address;
	unsigned count = 0;
	int r = 0;

	while (count < AT_ONCE && (r = absent_next(f->absent, &address)) > 0) {
		uint64_t group = group_at(f, address);

		if (marks_get(f->marks, group) == MARKS_NONE)
			ask(f, group);
		groups[count++] = group;
	}
	for (unsigned i = 0; r >= 0 && i < count; i++) {
		r = await(f, groups[i]);
		if (r == 0)
			r = place_group(f, groups[i]);
	}
	return r < 0 ? r : 0;
}

/* ---- The rest, when all is in the file ---- */

/* Marks of groups that nobody has touched; others are as the end. */
static enum marks_kind rest_kind(const struct filling *f, uint64_t group)
{
	return is_placed(f, group) ? MARKS_NONE : marks_get(f->marks, group);
}

/* Groups to be mapped as one, from `group` on, which is here. */
static uint64_t run_end(const struct filling *f, uint64_t group, uint64_t end, uint64_t gap)
{
	uint64_t until = group;

	for (; group < end && rest_kind(f, group) != MARKS_NONE && group - until <= gap; group++)
		if (rest_kind(f, group) == MARKS_HERE)
			until = group + 1;
	return until;
}

static int place_run(struct filling *f, uint64_t group, uint64_t until, uint64_t least)
{
	struct marks_place first, last;
	struct error e;
	int r = 0;

	if (!marks_find(f->memory, group, &first) || !marks_find(f->memory, until - 1, &last))
		return -EINVAL;
	if (until - group >= least)
		return memory_map_file(f->memory, first.region, first.page * GUEST_PAGE_SIZE,
				       (last.page + last.pages - first.page) * GUEST_PAGE_SIZE, f->file,
				       f->offset + first.row * GUEST_PAGE_SIZE, &e);
	for (; r == 0 && group < until; group++)
		r = place_group(f, group);
	return r;
}

static int place_region(struct filling *f, unsigned index)
{
	uint64_t group = marks_group(f->memory, index, 0), end = marks_group(f->memory, index + 1, 0);
	uint64_t least = (memory_size(f->memory) / GROUP_BYTES >> MEMORY_MAPPINGS_LOG) + 1, until;
	uint64_t gap = least > GAP ? least : GAP;
	int r = 0;

	for (; r == 0 && group < end; group = until) {
		until = group + 1;
		if (rest_kind(f, group) != MARKS_HERE)
			continue;
		until = run_end(f, group, end, gap);
		r = place_run(f, group, until, least);
	}
	memory_mapped(f->memory, index);
	return r;
}

/* Faults on what is replaced by a mapping wait until they are told. */
static int place_rest(struct filling *f)
{
	int r = 0;

	if (!atomic_load(&f->marks->whole))
		return -EPIPE;
	for (unsigned i = 0; r == 0 && i < f->memory->count; i++)
		r = place_region(f, i);
	return r;
}

/* ---- The thread ---- */

/* Until the writer has ended. */
static int serve(struct filling *f)
{
	struct pollfd fds[] = {{.fd = f->absent, .events = POLLIN}, {.fd = f->wants}, {.fd = f->close, .events = POLLIN}};
	int r = 0;

	while (r == 0) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[2].revents)
			return -ECANCELED;
		if (fds[1].revents)
			return 0;
		if (fds[0].revents)
			r = attend(f);
	}
	return r;
}

static void let_go(struct filling *f)
{
	close(f->absent); /* whoever waits looks again */
	f->absent = -1;
	for (unsigned i = 0; i < f->memory->count; i++)
		atomic_store(&f->memory->regions[i].coming, false);
}

static void *fill(void *arg)
{
	const uint64_t one = 1;
	struct filling *f = arg;
	struct pollfd close = {.fd = f->close, .events = POLLIN};
	int r = serve(f);

	if (r == 0)
		r = place_rest(f);
	atomic_store(&f->result, r);
	if (r == 0)
		let_go(f);
	(void)!write(f->over, &one, sizeof one);
	if (r < 0 && r != -ECANCELED && poll(&close, 1, LAST_WORDS_MS) == 0)
		_exit(EXIT_FAILURE);
	return NULL;
}

/* ---- The owner ---- */

bool filling_can(const struct memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++)
		if (memory->regions[i].huge || memory_drop(&memory->regions[i], 0, memory->regions[i].size) < 0)
			return false;
	return true;
}

static void release(struct filling *f)
{
	if (f->marks)
		munmap((void *)f->marks, f->marks_length);
	if (f->file >= 0)
		close(f->file);
	if (f->over >= 0)
		close(f->over);
	if (f->close >= 0)
		close(f->close);
	free(f->placed);
	free(f->buffer);
	free(f);
}

static int open_all(struct filling *f, const struct snapshot *early)
{
	const struct snapshot_section *marks = snapshot_find(&early->header, SNAPSHOT_MARKS);
	void *mapped;

	f->file = fcntl(early->fd, F_DUPFD_CLOEXEC, 0);
	f->over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->close = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->file < 0 || f->over < 0 || f->close < 0)
		return -errno;
	f->marks_length = marks->length;
	mapped = mmap(NULL, marks->length, PROT_READ, MAP_SHARED, f->file, (off_t)marks->offset);
	if (mapped == MAP_FAILED)
		return -errno;
	f->marks = mapped;
	f->offset = snapshot_find(&early->header, SNAPSHOT_MEMORY)->offset;
	f->placed = calloc(marks_count(f->memory) / 64 + 1, sizeof *f->placed);
	f->buffer = malloc(GROUP_BYTES);
	return f->placed && f->buffer ? 0 : -ENOMEM;
}

static int start(struct filling *f, struct error *e)
{
	int r = absent_begin(f->absent, f->memory, e);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < f->memory->count; i++)
		atomic_store(&f->memory->regions[i].coming, true);
	r = thread_start(&f->thread, THREAD_MOVER, "filling", fill, f);
	if (r == 0)
		return 0;
	for (unsigned i = 0; i < f->memory->count; i++)
		atomic_store(&f->memory->regions[i].coming, false);
	absent_end(f->absent, f->memory);
	return error_errno(e, r, "a thread that fills memory");
}

int filling_begin(struct filling **out, const struct snapshot *early, struct memory *memory,
		  const struct filling_source *source, struct error *e)
{
	struct filling *f = calloc(1, sizeof *f);
	int r;

	if (!f)
		return error_errno(e, -ENOMEM, "filling memory");
	*f = (struct filling){.memory = memory,
			      .file = -1,
			      .over = -1,
			      .close = -1,
			      .wants = source->wants,
			      .absent = source->absent};
	r = open_all(f, early);
	r = r < 0 ? error_errno(e, r, "%s", early->name) : start(f, e);
	if (r < 0)
		release(f);
	else
		*out = f;
	return r;
}

int filling_descriptor(const struct filling *filling)
{
	return filling->over;
}

int filling_result(const struct filling *filling, struct error *e)
{
	int r = atomic_load(&filling->result);

	if (r == -EPIPE)
		return error_set(e, ERROR_FAILED, -EIO,
				 "what wrote this machine's memory ended amid it: whoever cloned it was killed, or the machine that it "
				 "is a clone of ended");
	return r < 0 ? error_errno(e, r, "this machine's memory could not be filled") : 0;
}

void filling_end(struct filling *filling)
{
	const uint64_t one = 1;

	if (!filling)
		return;
	(void)!write(filling->close, &one, sizeof one);
	pthread_join(filling->thread, NULL);
	if (filling->absent >= 0)
		let_go(filling);
	close(filling->wants);
	release(filling);
}
