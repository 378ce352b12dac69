/*
 * A place in a list of iovecs, and what is done with the bytes from there on.
 *
 * A value that borrows the list. Lengths given to these functions lie within what the list holds from there.
 */
#ifndef DOPPEL_BLOCK_SPANS_H
#define DOPPEL_BLOCK_SPANS_H

#include <sys/uio.h>

#include "base/types.h"

struct spans {
	const struct iovec *list;
	unsigned count;
	size_t skip; /* bytes of the first that are before the place */
};

/* `bytes` further. */
struct spans spans_after(struct spans spans, uint64_t bytes);
/* The next bytes, at most `length`, as a list of at most `max` iovecs; returns how many, *covered: bytes in
 * them. */
unsigned spans_take(struct spans spans, uint64_t length, struct iovec *out, unsigned max, uint64_t *covered);
void spans_fill(struct spans spans, uint8_t byte, uint64_t length);
void spans_copy_in(struct spans spans, const void *from, uint64_t length); /* into the spans */
void spans_copy_out(struct spans spans, void *to, uint64_t length);        /* out of them */
uint64_t spans_length(const struct iovec *list, unsigned count);
/* Whether each part of the next `length` bytes begins and ends at a multiple of `alignment`. */
bool spans_aligned(struct spans spans, uint64_t length, size_t alignment);

#endif
