/*
 * Walls: a process of our own that can hurt nothing else.
 *
 * wall_spawn forks a child that runs one function with one socket and nothing more: every other descriptor closed
 * (0, 1 and 2 are /dev/null), no new privileges, no capabilities, namespaces of its own where the host allows
 * them, a root directory that is empty or the one folder it serves, Landlock where the kernel has it, a seccomp
 * filter that kills, limits on memory and files, no core dump; it dies with its parent. What could not be put up
 * is told in `wall_process.parts`, never silently left out.
 *
 * The child is a fork: it sees a copy of what its parent had in memory then. Memory that it must not have is
 * mapped with MADV_DONTFORK, or after the spawn.
 *
 * Builds with sanitizers allow the calls that a report needs, keep standard error and set no limit on memory
 * (filter_sanitizer.c).
 *
 * Thread: one that lives at least as long as the child (its end ends the child), best while the process has only
 * that one; the other functions from the owner.
 */
#ifndef DOPPEL_WALL_WALL_H
#define DOPPEL_WALL_WALL_H

#include <sys/types.h>

#include "base/error.h"
#include "base/types.h"

/*
 * Which system calls the child may make: the least that its work needs. What every C program needs for memory, its
 * socket and its end is allowed besides (filter.c). Some are allowed in part only: mmap and mprotect without
 * PROT_EXEC; socket for AF_INET and AF_INET6; clone for threads; without a folder openat for reading and ioctl for
 * FIONREAD and FIONBIO. A name ending in "?" fails with ENOSYS instead of ending the process.
 */
struct wall_filter {
	const char *const *calls; /* ends with NULL; names as libseccomp knows them, unknown ones are skipped */
};

struct wall_plan {
	const char *name; /* of the process, at most 15 bytes: "doppel-net" */
	const struct wall_filter *filter;
	bool network;       /* keeps the host's network namespace */
	/* The only part of the file system that stays reachable: the working directory, and "/" too where
	 * WALL_ROOT holds; no device nodes, no programs. NULL: none at all. */
	const char *folder;
	bool folder_read_only;
	const char *const *files; /* without a folder: files that can be read still, ends with NULL; may be NULL */
	uint64_t memory_limit; /* bytes of address space that it may take besides what it starts with; 0: no limit */
	unsigned files_limit;  /* RLIMIT_NOFILE; 0: 64 */
	/* As root: stays uid 0 with the capabilities to own and reach all of the folder's files, no others.
	 * Else it becomes nobody (65534). */
	bool keep_ids;
	bool survives; /* does not die with its parent; process.pid is 0 then and wall_end does not end it */
	/* Before the walls go up, in the child, as the caller's user: opens what is needed. 0, or a negative
	 * errno that fails the spawn. May be NULL. */
	int (*prepare)(void *context, struct error *e);
	/* Behind the walls. `socket` is the child's end, blocking. The return value is the exit status. */
	int (*main)(int socket, void *context);
	void *context;
};

enum wall_part {
	WALL_NO_NEW_PRIVILEGES = 1,
	WALL_SECCOMP = 2,
	WALL_LANDLOCK = 4,
	WALL_NAMESPACES = 8,    /* mount, IPC and host name; network unless kept; user unless started as root */
	WALL_ROOT = 16,         /* "/" is empty, or the folder */
	WALL_CAPABILITIES = 32, /* none, and none to be had */
	WALL_USER = 64,         /* not root */
	WALL_LIMITS = 128,
	WALL_ALL = 255,
};

struct wall_process {
	pid_t pid;
	int socket;     /* our end: AF_UNIX, SOCK_SEQPACKET, CLOEXEC, non-blocking */
	unsigned parts; /* WALL_* that hold */
	int report;     /* while wall_await is due: where the child tells how it went; else 0 */
	bool survives;
	char name[16];
};

/* Returns when the child is behind its walls, or failed to get there (its message is in `e`). */
MUST_USE int wall_spawn(struct wall_process *process, const struct wall_plan *plan, struct error *e);
/* The same in two steps, for who has something else to do meanwhile: after the first, wall_await or wall_end is due. What the
 * plan points to is copied. When wall_await fails, the process is gone and zeroed. */
MUST_USE int wall_spawn_soon(struct wall_process *process, const struct wall_plan *plan, struct error *e);
MUST_USE int wall_await(struct wall_process *process, struct error *e);
/* Closes our end, ends the child, reaps it, zeroes *process; accepts a zeroed one. `status` (may be NULL): as
 * waitpid tells. */
void wall_end(struct wall_process *process, int *status);
/* The processes that this one has spawned and not ended, but for those that survive. Any thread. */
#define WALL_PROCESSES_MAX 32
struct wall_info {
	pid_t pid;
	char name[16];
	unsigned parts;
};
unsigned wall_list_processes(struct wall_info out[WALL_PROCESSES_MAX]);
/* "no new privileges, seccomp, landlock, ..." of `parts` into `out`. */
void wall_names(unsigned parts, char *out, size_t room);
/* "ended with status 3", "was killed by signal 31 (SIGSYS), a system call that its walls forbid" of a wait
 * status. */
void wall_describe_end(int status, char *out, size_t room);

#endif
