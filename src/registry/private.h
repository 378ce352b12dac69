/* What the registry's files share; nobody else includes this. */
#ifndef DOPPEL_REGISTRY_PRIVATE_H
#define DOPPEL_REGISTRY_PRIVATE_H

#include <limits.h>

#include "registry/registry.h"

#define RECORD_FILE   "state.json"
#define LOCK_FILE     "lock"
#define DOCUMENT_FILE "machine.yaml"
/* Names of folders that are being made or removed; no machine's name begins with a dot. */
#define MAKING_PREFIX  ".making."
#define REMOVED_PREFIX ".removed."

struct registry {
	char root[PATH_MAX - 256]; /* so that each path in it fits */
};

/* ROOT/machines, or ROOT/history; `make`: with everything on the way to it. A descriptor (the caller's) or a negative
 * errno. root.c */
int registry_root_open(const struct registry *registry, const char *folder, bool make);
MUST_USE int registry_root_find(struct registry *registry, struct error *e);

/* This boot of the host, for comparing; empty where it can not be told. Read once in a process, at the latest by
 * registry_open: a monitor can not open it any more. boot.c */
const char *registry_boot_id(void);

/* The mark of a machine that comes from elsewhere, in its open folder: 0 or a negative errno. Not flushed to disk. move.c */
MUST_USE int registry_mark_arriving(int folder, const char *token);

/* Opens a file of a machine that may be anything by now: -ELOOP, -EINVAL for what is no regular file. Never waits. */
int registry_open_file(int folder, const char *path, int flags);
/* At most `limit` bytes and a NUL into `out`, which has room for them: the count, -EFBIG, or another negative errno. */
ssize_t registry_read_file(int folder, const char *path, char *out, size_t limit);
MUST_USE int registry_write_all(int fd, const void *bytes, size_t length);
/* Writes `file` in the folder aside, flushes it to disk if asked to, renames. */
MUST_USE int registry_replace_file(int folder, const char *file, const void *bytes, size_t length, bool flush);
MUST_USE int registry_flush_file(int folder, const char *file);
/* Writes over a file of just that length, which takes no room; readers may see it half done. -EINVAL: it is none. */
MUST_USE int registry_overwrite_file(int folder, const char *file, const void *bytes, size_t length);

/* The record of `name` in the open folder of machines. -ENOENT: no such machine; damage makes a failed one. record.c */
int registry_record_at(int machines, const char *name, struct record *out);

/* 1: somebody has the lock; 0: nobody; negative errno. `path` from the folder. lock.c */
int registry_is_locked(int folder, const char *path);
/* The process that has it: 0: none; -1: one that did not say. */
pid_t registry_holder(int folder, const char *path);
/* Takes it in a machine's open folder: a descriptor, -EBUSY, or another negative errno. */
int registry_lock_at(int folder);
/* The same of the machine `name`; waits for up to two seconds for a monitor that has written its last record. -ENOENT: it was
 * removed meanwhile. */
int registry_lock_soon(struct registry *registry, const char *name, int folder);

/* A hidden name: `prefix`, the machine's name, and something that nobody else has. */
void registry_hidden_name(const char *prefix, const char *name, char out[NAME_MAX + 1]);
/* Removes what interrupted calls left. remove.c */
void registry_sweep(int machines);
/* Removes a folder with all that is in it: 0 or the first negative errno, after all that can go is gone. */
int registry_delete(int parent, const char *name);

/* "there is no machine ..." with the nearest name. find.c */
int registry_no_machine(int machines, const char *text, struct error *e);

void registry_close_fd(int *fd);
#define AUTO_CLOSE __attribute__((cleanup(registry_close_fd))) int

#endif
