/*
 * Arithmetic on sizes that came from outside (a guest, a file, a peer): each function tells whether the
 * true result fits. *out is set only when it does.
 */
#ifndef DOPPEL_BASE_CHECKED_H
#define DOPPEL_BASE_CHECKED_H

#include "base/error.h"
#include "base/types.h"

MUST_USE static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}

MUST_USE static inline bool checked_multiply(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t product;

	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

/* Rounds up to a multiple of `alignment`, a power of two. */
MUST_USE static inline bool checked_align(uint64_t a, uint64_t alignment, uint64_t *out)
{
	uint64_t sum;

	if (!checked_add(a, alignment - 1, &sum))
		return false;
	*out = sum & ~(alignment - 1);
	return true;
}

/* Whether [start, start + length) lies within [0, limit). An empty span fits at any start up to `limit`. */
static inline bool checked_span(uint64_t start, uint64_t length, uint64_t limit)
{
	return start <= limit && length <= limit - start;
}

#endif
