/*
 * Memory at multiples of the host's huge page (2 MiB), so that such pages can lie behind it: the TLBs of processors reach
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

#endif
