/* Whether there is anything but zeros in some bytes. Thread: any. */
#ifndef DOPPEL_BASE_ZEROS_H
#define DOPPEL_BASE_ZEROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Most bytes that are none differ in the first, so this is worth being inline. */
static inline bool zeros_only(const void *bytes, size_t length)
{
	const uint8_t *first = bytes;

	return length == 0 || (*first == 0 && memcmp(first, first + 1, length - 1) == 0);
}

#endif
