#include "block/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define DONE_BASE   100
#define DENIED_BASE 200

/* The kernel closes what an io_uring of a killed process still uses some milliseconds after the process is gone. */
#define PATIENCE_MS 1000
#define PAUSE_MS    10

enum { THING_READ, THING_WRITE, THING_WRITE_UNCHANGED, THING_RESIZE, THINGS };

#define THING(n) (1u << (n))

static const struct {
	unsigned done, denied;
} uses[] = {
	[LOCK_READER] = {THING(THING_READ), THING(THING_WRITE) | THING(THING_RESIZE)},
	[LOCK_WRITER] = {THING(THING_READ) | THING(THING_WRITE) | THING(THING_RESIZE),
			 THING(THING_WRITE) | THING(THING_RESIZE)},
};

static int lock_byte(int fd, int command, short type, off_t at, short *found)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
	int r;

	do
		r = fcntl(fd, command, &lock);
	while (r < 0 && errno == EINTR);
	if (found)
		*found = lock.l_type;
	return r < 0 ? -errno : 0;
}

/* Read locks do not exclude each other; whether somebody's stand is asked afterwards. */
static int announce(int fd, unsigned things, off_t base)
{
	int r = 0;

	for (unsigned n = 0; r == 0 && n < THINGS; n++)
		if (things & THING(n))
			r = lock_byte(fd, F_OFD_SETLK, F_RDLCK, base + n, NULL);
	return r;
}

static int anyone(int fd, unsigned things, off_t base)
{
	for (unsigned n = 0; n < THINGS; n++) {
		short found = F_UNLCK;

		if (things & THING(n) && lock_byte(fd, F_OFD_GETLK, F_WRLCK, base + n, &found) == 0 &&
		    found != F_UNLCK)
			return -EBUSY;
	}
	return 0;
}

static void release(int fd)
{
	struct flock all = {.l_type = F_UNLCK,
			    .l_whence = SEEK_SET,
			    .l_start = DONE_BASE,
			    .l_len = DENIED_BASE - DONE_BASE + THINGS};

	(void)fcntl(fd, F_OFD_SETLK, &all);
}

static int take(int fd, enum lock_use use)
{
	int r = announce(fd, uses[use].done, DONE_BASE);

	if (r == 0)
		r = announce(fd, uses[use].denied, DENIED_BASE);
	if (r == 0)
		r = anyone(fd, uses[use].done, DENIED_BASE);
	if (r == 0)
		r = anyone(fd, uses[use].denied, DONE_BASE);
	if (r == -EAGAIN || r == -EACCES)
		r = -EBUSY;
	if (r < 0)
		release(fd);
	return r;
}

int lock_take(struct store *store, enum lock_use use, struct error *e)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	int r = take(store->fd, use);

	for (int waited = 0; r == -EBUSY && waited < PATIENCE_MS; waited += PAUSE_MS) {
		nanosleep(&pause, NULL);
		r = take(store->fd, use);
	}
	if (r == 0 || r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP)
		return 0;
	return error_set(e, ERROR_STATE, r,
			 "'%s' is in use by another machine or program%s; end that first, or give each an overlay "
			 "(--disk FILE,overlay) where nobody writes the file",
			 store->path, use == LOCK_READER ? ", which writes it" : "");
}

int lock_join(struct store *store, struct error *e)
{
	int r = announce(store->fd, uses[LOCK_WRITER].done, DONE_BASE);

	if (r == 0)
		r = announce(store->fd, uses[LOCK_WRITER].denied, DENIED_BASE);
	if (r == 0 || r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP)
		return 0;
	release(store->fd);
	return error_errno(e, r, "'%s' can not be locked", store->path);
}

int lock_mark(struct store *store, uint64_t place, bool on)
{
	return lock_byte(store->fd, F_OFD_SETLK, on ? F_RDLCK : F_UNLCK, (off_t)place, NULL);
}

int lock_marked(const struct store *store, uint64_t place)
{
	short found = F_UNLCK;
	int r = lock_byte(store->fd, F_OFD_GETLK, F_WRLCK, (off_t)place, &found);

	return r < 0 ? r : found != F_UNLCK;
}

/* Nobody could take away what both uses have in common meanwhile. */
void lock_lower(struct store *store)
{
	unsigned only = uses[LOCK_WRITER].done & ~uses[LOCK_READER].done;

	for (unsigned n = 0; n < THINGS; n++)
		if (only & THING(n))
			(void)lock_byte(store->fd, F_OFD_SETLK, F_UNLCK, DONE_BASE + n, NULL);
}
