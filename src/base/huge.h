/*
 * Memory at multiples of the host's huge page (2 MiB), and huge pages behind it at once: the TLBs of processors reach
 * further, and one fault takes the place of 512.
 *
 * Thread: any.
 */
#ifndef DOPPEL_BASE_HUGE_H
#define DOPPEL_BASE_HUGE_H

#include <stddef.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* `size` bytes of zeros, private, taken page by page as they are touched; NULL when refused. munmap of as many frees
 * them. */
void *huge_map(size_t size);

/* Has whole huge pages behind [start, start + size), multiples of HUGE_PAGE of private memory or of a file in memory
 * that has something behind each; keeps what is there. A wish: a host without any left, or older than Linux 6.1,
 * leaves it as it is. */
void huge_fill(void *start, size_t size);

#endif
