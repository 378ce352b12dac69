#include "block/store.h"

#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define PIECES_AT_ONCE 64
#define ZEROES_AT_ONCE ((size_t)64 * 1024)

static const struct store_hook *store_hook;

void store_set_hook(const struct store_hook *hook)
{
	store_hook = hook;
}

bool store_has_hook(void)
{
	return store_hook != NULL;
}

static int before(const struct store *store, enum store_operation operation, uint64_t offset,
		  const struct spans *spans, uint64_t length)
{
	if (likely(!store_hook))
		return 0;
	return store_hook->before(store_hook->context, store, operation, offset, spans, length);
}

/* NULL: there is no memory, and the descriptor is still the caller's. */
static struct store *new_store(const char *path, int fd, bool read_only)
{
	struct store *store = calloc(1, sizeof *store);

	if (store)
		store->path = strdup(path);
	if (!store || !store->path) {
		free(store);
		return NULL;
	}
	store->fd = fd;
	store->direct_fd = -1;
	store->read_only = read_only;
	atomic_init(&store->cut, UINT64_MAX);
	return store;
}

/* Takes the descriptor over, also on failure. */
static int make(struct store **out, const char *path, int fd, bool read_only, struct error *e)
{
	struct store *store = new_store(path, fd, read_only);

	if (!store) {
		close(fd);
		return error_errno(e, -ENOMEM, "cannot open '%s'", path);
	}
	*out = store;
	return 0;
}

static int check_kind(struct store *store, struct error *e)
{
	struct stat status;

	if (fstat(store->fd, &status) < 0)
		return error_errno(e, -errno, "cannot open '%s'", store->path);
	store->device = S_ISBLK(status.st_mode);
	if (S_ISREG(status.st_mode) || store->device)
		return 0;
	return error_set(e, ERROR_USAGE, S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL,
			 "'%s' is neither a file nor a block device; name a disk image", store->path);
}

static int not_opened(int code, const char *path, enum store_mode mode, struct error *e)
{
	bool writes = mode == STORE_WRITABLE;

	if (code == -ENOENT)
		return error_set(e, ERROR_NOT_FOUND, code,
				 "there is no disk '%s'; doppel disk create makes one, doppel migrate --copy-disks brings one "
				 "along",
				 path);
	if (writes && (code == -EACCES || code == -EPERM || code == -EROFS))
		return error_errno(e, code, "cannot open '%s' for writing; --disk FILE,ro only reads it", path);
	return error_errno(e, code, "cannot open '%s'%s", path, writes ? " for writing" : "");
}

int store_look(const char *path, struct error *e)
{
	return access(path, F_OK) == 0 ? 0 : not_opened(-errno, path, STORE_READ_ONLY, e);
}

int store_open(struct store **out, const char *path, enum store_mode mode, bool direct, struct error *e)
{
	int flags = (mode == STORE_WRITABLE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(path, flags), r;
	struct store *store = NULL;

	if (fd < 0)
		return not_opened(-errno, path, mode, e);
	r = make(&store, path, fd, mode == STORE_READ_ONLY, e);
	if (r < 0)
		return r;
	r = check_kind(store, e);
	if (r < 0) {
		store_close(store);
		return r;
	}
	/* A file system that takes no O_DIRECT is no failure: the page cache serves. */
	if (direct)
		store->direct_fd = open(path, flags | O_DIRECT);
	*out = store;
	return 0;
}

int store_adopt(struct store **out, int fd, const char *path, enum store_mode mode, struct error *e)
{
	struct store *store = new_store(path, fd, mode == STORE_READ_ONLY);
	int r;

	if (!store)
		return error_errno(e, -ENOMEM, "cannot open '%s'", path);
	r = check_kind(store, e);
	if (r == 0) {
		*out = store;
		return 0;
	}
	free(store->path);
	free(store);
	return r;
}

int store_create(struct store **out, const char *path, struct error *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0644);

	if (fd < 0 && errno == EEXIST)
		return error_set(e, ERROR_STATE, -EEXIST,
				 "'%s' is there already; choose another name or remove it", path);
	if (fd < 0)
		return error_errno(e, -errno, "cannot make '%s'", path);
	return make(out, path, fd, false, e);
}

static int open_nameless(const char *folder)
{
	char path[4096];
	int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if ((size_t)snprintf(path, sizeof path, "%s/doppel-XXXXXX", folder) >= sizeof path)
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

int store_temporary(struct store **out, struct error *e)
{
	const char *folder = getenv("TMPDIR");
	int fd;

	/* /tmp is memory on many hosts. */
	if (!folder || !*folder)
		folder = "/var/tmp";
	fd = open_nameless(folder);
	if (fd < 0)
		return error_errno(e, fd, "cannot make a temporary file in '%s'; TMPDIR names another folder",
				   folder);
	return make(out, folder, fd, false, e);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->direct_fd >= 0)
		close(store->direct_fd);
	close(store->fd);
	free(store->path);
	free(store);
}

int store_size(const struct store *store, uint64_t *size)
{
	off_t end = lseek(store->fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	return 0;
}

uint64_t store_room(const struct store *store)
{
	struct stat status;

	if (fstat(store->fd, &status) < 0)
		return 0;
	return store->device ? 0 : (uint64_t)status.st_blocks * 512;
}

static int choose_fd(const struct store *store, uint64_t offset, struct spans spans, uint64_t length)
{
	if (store->direct_fd >= 0 && ((offset | length) & (STORE_DIRECT_ALIGNMENT - 1)) == 0 &&
	    spans_aligned(spans, length, STORE_DIRECT_ALIGNMENT))
		return store->direct_fd;
	return store->fd;
}

void store_promise(struct store *store, uint64_t bytes)
{
	atomic_store(&store->promised, bytes);
}

/* The file ends at `offset` or before. */
static int found_cut(struct store *store, uint64_t offset)
{
	uint64_t size = offset, known = atomic_load(&store->cut);

	if (store_size(store, &size) < 0 || size > offset)
		size = offset;
	if (known == UINT64_MAX)
		log_line(LOG_ERROR, "block", "'%s' was cut to %" PRIu64 " bytes while it is in use; the rest is lost",
			 store->path, size);
	while (size < known && !atomic_compare_exchange_weak(&store->cut, &known, size))
		;
	return -ESTALE;
}

int store_read_spans(struct store *store, uint64_t offset, struct spans spans, uint64_t length)
{
	int r = before(store, STORE_READ, offset, &spans, length);

	if (r == 0 && !store_is_whole(store, offset + length))
		r = -ESTALE;
	if (r)
		return r;
	while (length) {
		struct iovec pieces[PIECES_AT_ONCE];
		uint64_t covered;
		unsigned count = spans_take(spans, length, pieces, PIECES_AT_ONCE, &covered);
		int fd = choose_fd(store, offset, spans, covered);
		ssize_t done = preadv(fd, pieces, (int)count, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0 && offset < atomic_load(&store->promised))
			return found_cut(store, offset);
		if (done == 0) {
			spans_fill(spans, 0, length);
			return 0;
		}
		spans = spans_after(spans, (uint64_t)done);
		offset += (uint64_t)done;
		length -= (uint64_t)done;
	}
	return 0;
}

static int write_some(struct store *store, uint64_t offset, struct spans spans, uint64_t length)
{
	if (!store_is_whole(store, offset + length))
		return -ESTALE;
	while (length) {
		struct iovec pieces[PIECES_AT_ONCE];
		uint64_t covered;
		unsigned count = spans_take(spans, length, pieces, PIECES_AT_ONCE, &covered);
		int fd = choose_fd(store, offset, spans, covered);
		ssize_t done = pwritev(fd, pieces, (int)count, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		spans = spans_after(spans, (uint64_t)done);
		offset += (uint64_t)done;
		length -= (uint64_t)done;
	}
	return 0;
}

int store_write_spans(struct store *store, uint64_t offset, struct spans spans, uint64_t length)
{
	int r = before(store, STORE_WRITE, offset, &spans, length);

	if (r == 0)
		r = write_some(store, offset, spans, length);
	store_count_write(store);
	return r;
}

int store_read(struct store *store, uint64_t offset, void *to, size_t length)
{
	struct iovec one = {to, length};

	return store_read_spans(store, offset, (struct spans){&one, 1, 0}, length);
}

int store_write(struct store *store, uint64_t offset, const void *from, size_t length)
{
	struct iovec one = {(void *)(uintptr_t)from, length};

	return store_write_spans(store, offset, (struct spans){&one, 1, 0}, length);
}

void store_count_write(struct store *store)
{
	atomic_fetch_add(&store->writes, 1);
}

int store_count_sync(struct store *store, uint64_t covered, int result)
{
	uint64_t synced = atomic_load(&store->synced);
	int none = 0;

	if (result < 0)
		atomic_compare_exchange_strong(&store->failure, &none, result);
	result = atomic_load(&store->failure);
	while (result == 0 && synced < covered && !atomic_compare_exchange_weak(&store->synced, &synced, covered))
		;
	return result;
}

int store_sync(struct store *store)
{
	uint64_t covered = atomic_load(&store->writes);
	int r = atomic_load(&store->failure);

	if (r < 0 || covered == atomic_load(&store->synced))
		return r;
	r = before(store, STORE_SYNC, 0, NULL, 0);
	while (r == 0 && fdatasync(store->fd) < 0)
		if (errno != EINTR)
			r = -errno;
	return store_count_sync(store, covered, r);
}

static int allocate(struct store *store, int mode, uint64_t offset, uint64_t length)
{
	while (fallocate(store->fd, mode, (off_t)offset, (off_t)length) < 0)
		if (errno != EINTR)
			return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	return 0;
}

int store_punch(struct store *store, uint64_t offset, uint64_t length)
{
	int r = before(store, STORE_PUNCH, offset, NULL, length);

	if (r == 0)
		r = allocate(store, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
	store_count_write(store);
	return r;
}

static int write_zeroes(struct store *store, uint64_t offset, uint64_t length)
{
	static const uint8_t zeroes[ZEROES_AT_ONCE];

	while (length) {
		size_t part = length < sizeof zeroes ? length : sizeof zeroes;
		struct iovec one = {(void *)(uintptr_t)zeroes, part};
		int r = write_some(store, offset, (struct spans){&one, 1, 0}, part);

		if (r < 0)
			return r;
		offset += part;
		length -= part;
	}
	return 0;
}

int store_zero(struct store *store, uint64_t offset, uint64_t length)
{
	int r = before(store, STORE_ZERO, offset, NULL, length);

	if (r == 0)
		r = allocate(store, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
	if (r == -EOPNOTSUPP)
		r = write_zeroes(store, offset, length);
	store_count_write(store);
	return r;
}

static int seek(const struct store *store, uint64_t offset, int whence, uint64_t *at)
{
	off_t found = lseek(store->fd, (off_t)offset, whence);

	if (found >= 0)
		*at = (uint64_t)found;
	else if (errno == ENXIO)
		*at = UINT64_MAX;
	else
		return -EOPNOTSUPP;
	return 0;
}

int store_next_data(const struct store *store, uint64_t offset, uint64_t *at)
{
	return seek(store, offset, SEEK_DATA, at);
}

int store_next_hole(const struct store *store, uint64_t offset, uint64_t *at)
{
	return seek(store, offset, SEEK_HOLE, at);
}

int store_resize(struct store *store, uint64_t size)
{
	int r = before(store, STORE_RESIZE, size, NULL, 0);

	if (r == 0 && ftruncate(store->fd, (off_t)size) < 0)
		r = -errno;
	store_count_write(store);
	return r;
}

int store_allocate(struct store *store, uint64_t size)
{
	int r = -posix_fallocate(store->fd, 0, (off_t)size);

	store_count_write(store);
	return r;
}
