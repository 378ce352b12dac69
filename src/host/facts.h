/*
 * Numbers that Linux tells in text, in lines such as "MemTotal:  123 kB".
 *
 * Thread: any.
 */
#ifndef DOPPEL_HOST_FACTS_H
#define DOPPEL_HOST_FACTS_H

#include <stdint.h>

#define HOST_MEMORY "/proc/meminfo"
#define HOST_SELF   "/proc/self/status"

/* The number of `key` in one of these files as it stands there: kilobytes, or a count; 0 when it is not told. */
uint64_t host_fact(const char *file, const char *key);

#endif
