#include "engine/translate/cache.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/huge.h"

/* At once. The less the better for a guest at rest, whose code is some hundred KiB. */
#define FILL_BYTES ((size_t)64 << 10)
/* From here on in huge pages: behind what the boot of a Linux distribution's kernel takes. */
#define HUGE_FROM ((size_t)20 << 20)

/* Linux 5.14; absent from older headers. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Linux 6.3; absent from older headers. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

struct code_cache {
	uint8_t *writable;
	const uint8_t *executable;
	size_t size;
	size_t used; /* this and the next: atomic, for code_cache_use */
	uint64_t pieces;
	size_t end;  /* nothing is handed out from here on */
	size_t open; /* room of the piece opened last */
	size_t filled; /* up to here, pages were had */
};

static int refuse(struct error *e, int code, const char *what)
{
	if (code == -EACCES || code == -EPERM)
		return error_set(
			e, ERROR_PERMISSION, code,
			"%s: this host forbids to execute generated code (SELinux execmem, a seccomp filter "
			"or a noexec rule for files in memory); allow it, or use --engine interpret",
			what);
	return error_errno(e, code, "%s", what);
}

/* The seal forbids only to execve the file, which nobody wants, and satisfies hosts where vm.memfd_noexec is 2. */
static int open_memory(size_t size, struct error *e)
{
	int fd = memfd_create("doppel-code", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("doppel-code", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return refuse(e, -errno, "code cache: memfd_create");
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int code = -errno;

		close(fd);
		return error_errno(e, code, "code cache: a file in memory of %zu bytes", size);
	}
	return fd;
}

/* Below the program's code, at a multiple of the huge page, or anywhere if the program lies low. */
static void *near_program(size_t size)
{
	const uintptr_t gap = UINT64_C(16) << 20;
	uintptr_t program = (uintptr_t)code_cache_new;

	return program > 2 * size + gap ? (void *)((program - size - gap) & -HUGE_PAGE) : NULL;
}

static int map_views(struct code_cache *cache, int fd, struct error *e)
{
	cache->writable = huge_map(cache->size);
	if (!cache->writable || mmap(cache->writable, cache->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
				     0) == MAP_FAILED)
		return error_errno(e, -errno, "code cache: map %zu bytes to write", cache->size);
	void *executable = mmap(near_program(cache->size), cache->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);

	if (executable == MAP_FAILED)
		return refuse(e, -errno, "code cache: map to execute");
	cache->executable = executable;
	return 0;
}

static int map_cache(struct code_cache *cache, struct error *e)
{
	int fd = open_memory(cache->size, e);

	if (fd < 0)
		return fd;
	int r = map_views(cache, fd, e);

	close(fd);
	return r;
}

struct code_cache *code_cache_new(uint64_t size, struct error *e)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (size < CODE_CACHE_MIN || size > CODE_CACHE_MAX) {
		error_set(e, ERROR_USAGE, -EINVAL, "code cache of %llu bytes: it has %llu to %llu",
			  (unsigned long long)size, (unsigned long long)CODE_CACHE_MIN,
			  (unsigned long long)CODE_CACHE_MAX);
		return NULL;
	}
	struct code_cache *cache = calloc(1, sizeof(*cache));

	if (!cache) {
		error_errno(e, -ENOMEM, "code cache");
		return NULL;
	}
	cache->size = cache->end = (size_t)((size + page - 1) & -page);
	if (map_cache(cache, e) < 0) {
		code_cache_free(cache);
		return NULL;
	}
	return cache;
}

void code_cache_free(struct code_cache *cache)
{
	if (!cache)
		return;
	if (cache->writable)
		munmap(cache->writable, cache->size);
	if (cache->executable)
		munmap((void *)(uintptr_t)cache->executable, cache->size);
	free(cache);
}

static void fill_huge(struct code_cache *cache)
{
	size_t start = cache->filled & -HUGE_PAGE;

	/* Something must be there; it is as it was. */
	__atomic_fetch_or(&cache->writable[start], 0, __ATOMIC_RELAXED);
	huge_fill(cache->writable + start, HUGE_PAGE);
	huge_fill((void *)(uintptr_t)(cache->executable + start), HUGE_PAGE);
	cache->filled = start + HUGE_PAGE;
}

static void fill_small(struct code_cache *cache)
{
	size_t left = cache->size - cache->filled, size = left < FILL_BYTES ? left : FILL_BYTES;

	(void)madvise(cache->writable + cache->filled, size, MADV_POPULATE_WRITE);
	cache->filled += size;
}

/* Pages are had some at a time: a fault for each would cost more. A wish; a host that is older than Linux 5.14 has the faults.
 * Huge pages spare TLB entries of instructions, which count for programs of megabytes. Most hosts give them to files in memory
 * only where they are asked to at once, which clears 2 MiB and waits for all processors: milliseconds at rest, a tenth of a
 * second on a busy host. So a boot, which runs most of its code once, has small ones. */
static void fill(struct code_cache *cache, size_t end)
{
	/* What was left out on the way is had when it is needed. */
	if (cache->filled < cache->used)
		cache->filled = cache->used & -FILL_BYTES;
	while (cache->filled < end && cache->filled < cache->size) {
		if (cache->filled >= HUGE_FROM && (cache->filled & -HUGE_PAGE) + HUGE_PAGE <= cache->size)
			fill_huge(cache);
		else
			fill_small(cache);
	}
}

size_t code_cache_room(const struct code_cache *cache)
{
	return cache->end - cache->used;
}

bool code_cache_begin(struct code_cache *cache, size_t room, uint8_t **writable, const uint8_t **executable)
{
	if (room > code_cache_room(cache))
		return false;
	fill(cache, cache->used + room);
	cache->open = room;
	*writable = cache->writable + cache->used;
	*executable = cache->executable + cache->used;
	return true;
}

static size_t aligned(size_t bytes)
{
	return (bytes + CODE_CACHE_ALIGNMENT - 1) & ~(size_t)(CODE_CACHE_ALIGNMENT - 1);
}

void code_cache_end(struct code_cache *cache, size_t used)
{
	assert(used <= cache->open);
	cache->open = 0;
	if (used == 0)
		return;
	__atomic_store_n(&cache->used, cache->used + aligned(used), __ATOMIC_RELAXED);
	__atomic_store_n(&cache->pieces, cache->pieces + 1, __ATOMIC_RELAXED);
}

void code_cache_move(struct code_cache *cache, size_t at, size_t end)
{
	assert(at <= end && end <= cache->size && at == aligned(at));
	cache->open = 0;
	cache->end = end;
	__atomic_store_n(&cache->used, at, __ATOMIC_RELAXED);
}

void code_cache_release(struct code_cache *cache, size_t at)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), start = (at + page - 1) & -page;

	if (start < cache->size)
		(void)madvise(cache->writable + start, cache->size - start, MADV_REMOVE);
	if (start < cache->filled)
		cache->filled = start;
}

bool code_cache_holds(const struct code_cache *cache, const void *executable)
{
	return (uintptr_t)executable - (uintptr_t)cache->executable < cache->size;
}

const uint8_t *code_cache_at(const struct code_cache *cache, size_t offset)
{
	assert(offset <= cache->size);
	return cache->executable + offset;
}

size_t code_cache_offset(const struct code_cache *cache, const void *executable)
{
	size_t offset = (size_t)((uintptr_t)executable - (uintptr_t)cache->executable);

	assert(offset <= cache->size);
	return offset;
}

const uint8_t *code_cache_exec(const struct code_cache *cache, const uint8_t *writable)
{
	size_t offset = (size_t)((uintptr_t)writable - (uintptr_t)cache->writable);

	assert(offset <= cache->size);
	return cache->executable + offset;
}

uint8_t *code_cache_write(const struct code_cache *cache, const uint8_t *executable)
{
	return cache->writable + code_cache_offset(cache, executable);
}

struct code_cache_use code_cache_use(const struct code_cache *cache)
{
	return (struct code_cache_use){
		.size = cache->size,
		.used = __atomic_load_n(&cache->used, __ATOMIC_RELAXED),
		.pieces = __atomic_load_n(&cache->pieces, __ATOMIC_RELAXED),
	};
}
