/*
 * Numbers that one thread counts and any other may read for display: a moment old, never torn, and at the cost of a plain
 * addition.
 */
#ifndef DOPPEL_BASE_COUNTER_H
#define DOPPEL_BASE_COUNTER_H

#include <stddef.h>
#include <stdint.h>

/* On the thread that counts. */
static inline void counter_add(uint64_t *counter, uint64_t number)
{
	__atomic_store_n(counter, *counter + number, __ATOMIC_RELAXED);
}

static inline uint64_t counter_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* A struct that is made of counters alone. */
static inline void counters_read(void *to, const void *from, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		((uint64_t *)to)[i] = counter_read((const uint64_t *)from + i);
}

#endif
