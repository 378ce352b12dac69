/*
 * fork for processes with several threads: the child finds the memory allocator as it must be, whatever other threads were
 * doing with it. The C library sees to that for its own; AddressSanitizer's of gcc 12 and clang 14 needs help, without which
 * one child in about a thousand waits for ever for a lock that nobody holds any more.
 *
 * Thread: any. The child has only the one that called.
 */
#ifndef DOPPEL_BASE_FORK_H
#define DOPPEL_BASE_FORK_H

#include <sys/types.h>

#include "base/error.h"

/* As fork(2) tells: 0 in the child; its pid, or -1 and errno. */
MUST_USE pid_t fork_process(void);

#endif
