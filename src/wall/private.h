/* The parts of a wall, each put up in the child; nobody else includes this. */
#ifndef DOPPEL_WALL_PRIVATE_H
#define DOPPEL_WALL_PRIVATE_H

#include <linux/filter.h>

#include "base/threads.h"
#include "wall/wall.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WALL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define WALL_SANITIZED 1
#endif
#endif
#ifndef WALL_SANITIZED
#define WALL_SANITIZED 0
#endif

#define WALL_NOBODY 65534

/* In the parent: compiles the filter; program->filter is the caller's to free(). filter.c */
MUST_USE int wall_filter_make(const struct wall_plan *plan, struct sock_fprog *program, struct error *e);

/* System calls that are allowed, and why; lists of them end with one without calls. */
struct wall_list {
	const char *why;
	const char *const *calls; /* as in struct wall_filter, or with a colon: what argument_rules tell */
};
/* What threads of a monitor do: of each kind, and of all. self_calls.c */
#define WALL_SELF_LISTS 20
extern const struct wall_list wall_self_calls[THREAD_KINDS][WALL_SELF_LISTS], wall_self_base[];
extern const struct wall_list wall_self_folder[]; /* of the main thread, where there is a folder */
MUST_USE int wall_self_filter(enum thread_kind kind, bool folder, struct sock_fprog *program, struct error *e);
/* Ends with NULL; empty in builds without sanitizers. filter_sanitizer.c */
extern const char *const wall_sanitizer_calls[], *const wall_sanitizer_end_calls[];

/* These return the WALL_* that hold now. */
unsigned wall_filter_install(const struct sock_fprog *program);
unsigned wall_landlock(const struct wall_plan *plan); /* landlock.c */
/* The same in two steps, the second for each thread: a descriptor or a negative errno. `folder`: of the files that can be
 * reached, or -1. */
MUST_USE int wall_landlock_self(int folder);
unsigned wall_landlock_enter(int rules);
/* `folder`: absolute, or NULL. root.c */
unsigned wall_root(const struct wall_plan *plan, const char *folder, unsigned parts);

/* New namespaces; *parts grows by what they give. Failing to get them is no error, a half-made user namespace
 * is one. namespace.c */
MUST_USE int wall_namespaces(const struct wall_plan *plan, unsigned *parts, struct error *e);
/* Ids and capabilities; failing here is an error, as the process would keep the caller's power. identity.c */
MUST_USE int wall_identity(const struct wall_plan *plan, unsigned *parts, struct error *e);

#endif
