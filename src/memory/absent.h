/*
 * Pages of guest memory that are not there yet: whoever touches one, a vCPU, a device or the kernel on behalf of one, waits until
 * it was put in place. userfaultfd(2), ioctl_userfaultfd(2).
 *
 * A descriptor of it needs power that a monitor behind its walls has not, so it is opened before. Only pages that the kernel has
 * nothing for are absent: whoever makes a region absent drops them first (memory_drop).
 *
 * Thread: absent_open, absent_begin and absent_end one at a time; the rest any.
 */
#ifndef DOPPEL_MEMORY_ABSENT_H
#define DOPPEL_MEMORY_ABSENT_H

#include "memory/memory.h"

/* A descriptor that does not block. -EPERM (ERROR_PERMISSION), with the remedy, where the kernel gives none that catches its
 * own accesses too. */
MUST_USE int absent_open(int *fd, struct error *e);
/* Pages of all regions that are absent are waited for from now on. */
MUST_USE int absent_begin(int fd, const struct memory *memory, struct error *e);
/* What is absent still reads as zeros from now on, and who waits goes on. */
void absent_end(int fd, const struct memory *memory);

/* The next address that somebody waits for, in a page of a region: 1; 0: none. A negative errno. */
MUST_USE int absent_next(int fd, uintptr_t *address);
/* Puts pages in place where they are absent, and lets those who wait for them go on; what is there already stays. `bytes` NULL:
 * zeros. A negative errno. */
MUST_USE int absent_put(int fd, uint8_t *host, const uint8_t *bytes, uint64_t pages);
/* All who wait look again: absent_next tells of them anew. */
void absent_look_again(int fd, const struct memory *memory);

#endif
