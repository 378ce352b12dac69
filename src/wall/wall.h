/*
 * Walls: a process of our own that can hurt nothing else.
 *
 * wall_spawn forks a child that runs one function with one socket and nothing more: every other descriptor closed, no new
 * privileges, no capabilities, its own user, mount, network and IPC namespaces where the host allows them, a root
 * directory that is empty or the one folder it serves, Landlock where the kernel has it, a seccomp filter that kills, limits on
 * memory and files, no core dump; it dies with its parent. What could not be put up is told in `wall_report`, never silently
 * left out.
 *
 * Thread: spawn from a process that has only one thread yet, or whose child touches no lock of others (it calls only what was
 * prepared); the rest from the owner.
 */
#ifndef DOPPEL_WALL_WALL_H
#define DOPPEL_WALL_WALL_H

#include <sys/types.h>

#include "base/error.h"
#include "base/types.h"

/* Which system calls the child may make: a table of names with the least that its work needs. */
struct wall_filter {
	const char *const *calls; /* ends with NULL; names as libseccomp knows them, unknown ones are skipped */
};

struct wall_plan {
	const char *name;   /* of the process, at most 15 bytes: "doppel-net" */
	const struct wall_filter *filter;
	bool network;       /* keeps the host's network namespace */
	const char *folder; /* the only part of the file system that stays reachable, as "/"; NULL: none at all */
	bool folder_read_only;
	uint64_t memory_limit; /* RLIMIT_AS in bytes; 0: none */
	unsigned files_limit;  /* RLIMIT_NOFILE; 0: 64 */
	bool keep_ids;      /* when root: keeps uid 0 for access to all of the folder's files; else it becomes nobody */
	/* Before the walls go up, in the child: opens what is needed. 0, or a negative errno that fails the spawn. May be NULL. */
	int (*prepare)(void *context, struct error *e);
	/* Behind the walls. `socket` is the child's end. The return value is the exit status. */
	int (*main)(int socket, void *context);
	void *context;
};

enum wall_part {
	WALL_NO_NEW_PRIVILEGES = 1,
	WALL_SECCOMP = 2,
	WALL_LANDLOCK = 4,
	WALL_NAMESPACES = 8,
	WALL_ROOT = 16,
	WALL_CAPABILITIES = 32,
	WALL_USER = 64,
	WALL_LIMITS = 128,
};

struct wall_process {
	pid_t pid;
	int socket;     /* our end: AF_UNIX, SOCK_SEQPACKET, CLOEXEC, non-blocking */
	unsigned parts; /* WALL_* that hold */
};

/* Returns when the child is behind its walls, or failed to get there (its message is in `e`). */
MUST_USE int wall_spawn(struct wall_process *process, const struct wall_plan *plan, struct error *e);
/* Closes our end, ends the child, reaps it; accepts a zeroed one. `status` (may be NULL): as waitpid tells. */
void wall_end(struct wall_process *process, int *status);
/* "no new privileges, seccomp, landlock, ..." of `parts` into `out`. */
void wall_names(unsigned parts, char *out, size_t room);

#endif
