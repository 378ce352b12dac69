/*
 * Guest-physical RAM.
 *
 * A `struct memory` is a sorted table of RAM regions, each one anonymous host mapping. Regions are
 * added while the machine is being built and never change afterwards, so look-ups need no lock. All
 * access by devices goes through memory_read and memory_write, or memory_host for bounds-checked spans:
 * guest bytes are copied once, validated, then used.
 *
 * Dirty tracking: while it is on, every writer (devices here, engines by memory_mark_dirty) sets one bit a
 * 4 KiB page. Collecting hands out and clears the bits; the caller makes the engines drop whatever lets
 * them write without marking (their writable TLB entries) before it reads the pages.
 *
 * Thread: look-ups, access and marking from any; add, start, stop from the owner, collect from one thread.
 */
#ifndef DOPPEL_MEMORY_MEMORY_H
#define DOPPEL_MEMORY_MEMORY_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/huge.h"
#include "base/types.h"

#define GUEST_PAGE_SHIFT 12
#define GUEST_PAGE_SIZE  (UINT64_C(1) << GUEST_PAGE_SHIFT)
#define MEMORY_REGIONS_MAX 8

struct memory_region {
	gpa_t base;
	uint64_t size; /* bytes, a multiple of GUEST_PAGE_SIZE */
	uint8_t *host;
	_Atomic uint64_t *dirty; /* one bit a page; NULL until tracking was first started */
	bool mapped;             /* some of it came from a file */
	uint64_t *from_file;     /* one bit a page, set: where it was not touched it is what the file has; or NULL */
	bool huge;               /* the host's reserved huge pages: memory/huge.c */
	atomic_bool coming;      /* it is being filled with what it had elsewhere: nothing of it can be given back */
	char name[16];
};

/* An engine whose guest writes without marking (hardware marks for it) brings its marks over; memory/dirty.c calls it. */
struct memory_tracker {
	int (*start)(void *engine, struct error *e);
	void (*stop)(void *engine);
	/* Marks what was written in the region since the last call, and lets the hardware mark anew. Collecting thread; vCPUs
	 * may run. */
	void (*collect)(void *engine, unsigned region);
	void *engine;
};

struct memory {
	struct memory_region regions[MEMORY_REGIONS_MAX]; /* ascending, disjoint */
	unsigned count;
	bool huge_pages; /* what is added is of the host's reserved huge pages; set before */
	_Atomic bool tracking;
	int map;      /* of a process's pages, a descriptor: memory/touched.c; -1: none */
	pid_t map_of; /* that process: whoever added the first region */
	const struct memory_tracker *tracker; /* or NULL; set before tracking starts */
};

/* Before anything else. */
void memory_init(struct memory *memory);
/* Unmaps everything; accepts a half-built object. */
void memory_finish(struct memory *memory);

/* Adds `size` bytes of zeroed RAM at `base`, both page aligned. -EINVAL for misaligned, empty, wrapping or
 * overlapping ranges, -ENOSPC when the table is full, -ENOMEM when the host refuses. With `huge_pages` size must be a
 * multiple of HUGE_PAGE, and -ENOMEM tells how many the host has free. */
MUST_USE int memory_add_ram(struct memory *memory, gpa_t base, uint64_t size, const char *name,
			    struct error *e);

/* The region that holds all of [address, address + length), or NULL. length may be 0. */
const struct memory_region *memory_find(const struct memory *memory, gpa_t address, uint64_t length);
/* Host address of the span, or NULL when it is not wholly within one region of RAM. The bytes belong to the
 * guest and change under the caller: copy once. A writer calls memory_mark_dirty after. */
void *memory_host(const struct memory *memory, gpa_t address, uint64_t length);

/* The way back: the guest-physical address of a host address that memory_host gave. Programmer error otherwise. */
gpa_t memory_physical(const struct memory *memory, const void *host);

/* Copies; 0, or -EFAULT with nothing copied when any byte lies outside RAM. */
MUST_USE int memory_read(const struct memory *memory, gpa_t address, void *to, uint64_t length);
MUST_USE int memory_write(struct memory *memory, gpa_t address, const void *from, uint64_t length);

/* Gives whole pages back to the host: they read as zeros until they are written again, and count as changed. Host
 * addresses stay valid, so no engine needs to know. -EINVAL when misaligned, -EFAULT outside RAM, -EOPNOTSUPP for reserved
 * huge pages, or the host's errno (pages locked by the host's administrator stay as they are). */
MUST_USE int memory_discard(struct memory *memory, gpa_t address, uint64_t length);

/* How many parts of RAM may be mapped from files, as a logarithm: Linux lets a process have some 65,000 mappings. */
#define MEMORY_MAPPINGS_LOG 15
/* Some of a region is what a file has there from now on, read when it is touched, and private: what is written stays
 * here. `offset`: in the region; all are multiples of GUEST_PAGE_SIZE. The file must stay as it is and not be cut. No
 * process is started before memory_mapped, and no vCPU or device touches that part, unless it is absent and they wait for
 * it (memory/absent.h). Into huge pages it is read at once. memory/mapped.c */
MUST_USE int memory_map_file(struct memory *memory, unsigned index, uint64_t offset, uint64_t length, int fd,
			     uint64_t file_offset, struct error *e);
/* The last part of a region is mapped. */
void memory_mapped(const struct memory *memory, unsigned index);
/* These bytes, whole pages, read as zeros and take no room, unless they are of huge pages. Marks nothing. A negative
 * errno: locked pages refuse it, or the host has no room for the mapping; -EBUSY: the region is coming. memory/mapped.c */
MUST_USE int memory_drop(const struct memory_region *region, uint64_t offset, uint64_t length);
/* A child that is forked while it is on has a copy of all RAM as it was then; of huge pages it has no copy, but sees what
 * changes. memory/mapped.c */
MUST_USE int memory_inherit(const struct memory *memory, bool on, struct error *e);
/* The ioctl that memory_touched makes, for filters of system calls. */
#define MEMORY_SCAN_REQUEST 0xc0606610u
/* Sets the bit of each page of region `index` that may be other than zeros, and clears the others; all are set where the
 * host can not tell (before Linux 6.7). Nothing else writes to the region meanwhile. It takes microseconds where little is
 * touched, about a tenth of what a fork does. `bits`: memory_dirty_words of the region. memory/touched.c */
void memory_touched(const struct memory *memory, unsigned index, uint64_t *bits);

/* Sets or clears `count` bits from `first` on. */
void memory_set_bits(uint64_t *bits, uint64_t first, uint64_t count, bool set);

/* memcpy where one side is the guest's: that it changes under the copy is no error of ours. Marks nothing dirty. */
void memory_copy(void *to, const void *from, uint64_t length);

/* Touches all of it, in huge pages, and locks it in the host's memory, where reserved ones always are. Owner, before
 * vCPUs run. -EOPNOTSUPP, -ENOMEM, -EPERM; then part of it may be locked. memory/lock.c */
MUST_USE int memory_lock(struct memory *memory, struct error *e);
/* Total bytes of RAM. */
uint64_t memory_size(const struct memory *memory);

/* memory/dirty.c */
MUST_USE int memory_dirty_start(struct memory *memory, struct error *e);
void memory_dirty_stop(struct memory *memory);
/* Copies and clears the bits of region `index` into `bitmap` (memory_dirty_words(region) words); returns the
 * number of set bits. */
uint64_t memory_dirty_collect(struct memory *memory, unsigned index, uint64_t *bitmap);
void memory_mark_dirty(struct memory *memory, gpa_t address, uint64_t length);

static inline uint64_t memory_dirty_words(const struct memory_region *region)
{
	return ((region->size >> GUEST_PAGE_SHIFT) + 63) / 64;
}

static inline bool memory_tracking(const struct memory *memory)
{
	return atomic_load_explicit(&memory->tracking, memory_order_relaxed);
}

#endif
