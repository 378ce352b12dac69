/*
 * The machines of this host that have a name: a folder each, which outlives the machine's process.
 *
 *   ROOT/machines/NAME/machine.yaml   its configuration, as it was created (config/)
 *                      state.json     what became of it (struct record), replaced atomically by its monitor
 *                      lock           held by its monitor as long as that lives, whatever kills it; has its process id
 *                      control        the monitor's socket (control/)
 *                      console.log, monitor.log, vsock/ and disks made for it
 *                      move.json     while it is being given to another host, and afterwards
 *   ROOT/history/NAME.jsonl           what was done to it and when; stays when the machine is removed
 *   ROOT/ballots/TOKEN                whose a machine is that came from another host
 *
 * ROOT is $DOPPEL_STATE; else /var/lib/doppel for root, and $XDG_STATE_HOME/doppel (~/.local/state/doppel) for others.
 *
 * The lock alone says whether a machine lives: a record of a running machine whose lock is free tells of a monitor that
 * was killed, or of a host that was started anew (its boot id differs). Both read as MACHINE_FAILED with a message.
 *
 * Thread: any; a struct registry is one thread's at a time. Several processes may use one ROOT.
 */
#ifndef DOPPEL_REGISTRY_REGISTRY_H
#define DOPPEL_REGISTRY_REGISTRY_H

#include <sys/types.h>
#include <time.h>

#include "base/error.h"
#include "base/types.h"
#include "machine/machine.h"

#define REGISTRY_NAME_SIZE 64

struct registry;

/* Makes ROOT (mode 0700) when it is not there. */
MUST_USE int registry_open(struct registry **out, struct error *e);
void registry_close(struct registry *registry); /* accepts NULL */
const char *registry_root(const struct registry *registry);

/* What is known about a machine without asking its monitor. */
struct record {
	char name[REGISTRY_NAME_SIZE];
	enum machine_state state;
	bool stalled;         /* running, but standing still for want of room on the host's disk */
	bool foreground;      /* its monitor sits on a terminal */
	pid_t monitor;        /* 0: none lives; -1: one does, but the record is damaged and does not tell which */
	int64_t created_s, changed_s; /* seconds of the Unix epoch: of the folder; of the state */
	int exit_code;        /* in MACHINE_STOPPED */
	char message[256];    /* in MACHINE_FAILED */
	char image[128];      /* what it was made from: an image's name, or a kernel's path */
	uint64_t memory_bytes;
	unsigned cpus;
};

/* Makes the machine's folder with its document in it. -EEXIST (ERROR_STATE) when there is one of that name; the name is
 * checked (base/name.h). All or nothing, also when the host dies amid it. */
MUST_USE int registry_create(struct registry *registry, const char *name, const void *document, size_t length,
			     const struct record *record, struct error *e);
/* The same of one that comes from elsewhere: from its first moment on it has a mark with the token, until it is taken, so
 * that it is nobody's second machine if whoever makes it is killed. */
MUST_USE int registry_create_arriving(struct registry *registry, const char *name, const void *document, size_t length,
				      const struct record *record, const char *token, struct error *e);
/* What a new folder has besides: fill(context, path, e) puts it there before the machine has its name, so that nobody sees
 * a part of it, whoever is killed. `path` is of the folder under its hidden name, without a slash at its end. 0, or a
 * negative errno with *e. */
struct registry_filling {
	int (*fill)(void *context, const char *path, struct error *e);
	void *context;
	bool soon; /* the machine may be half there when the host dies before registry_flush */
};
/* As registry_create. */
MUST_USE int registry_create_filled(struct registry *registry, const char *name, const void *document, size_t length,
				    const struct record *record, const struct registry_filling *filling, struct error *e);
/* The machine's document, record and name are on disk when this returns. */
MUST_USE int registry_flush(struct registry *registry, const char *name, struct error *e);
/* Removes the folder and all that is in it, but not the history. -EBUSY (ERROR_STATE) while its monitor lives. */
MUST_USE int registry_remove(struct registry *registry, const char *name, struct error *e);
/* The same when the machine's folder is still this one, which is open; -ENOENT: that is gone, or another has its name. */
MUST_USE int registry_remove_folder(struct registry *registry, const char *name, int folder, struct error *e);
/* The machine that `text` means: the one of this name, or the only one whose name begins so. -ENOENT (ERROR_NOT_FOUND) with
 * the nearest name, -ENOTUNIQ (ERROR_USAGE) with some of those that fit. */
MUST_USE int registry_find(struct registry *registry, const char *text, char name[REGISTRY_NAME_SIZE], struct error *e);
MUST_USE int registry_record(struct registry *registry, const char *name, struct record *out, struct error *e);
/* All machines by name; free() them. What is damaged or is removed meanwhile is left out; a record that can not be read
 * is MACHINE_FAILED with a message. */
MUST_USE int registry_list(struct registry *registry, struct record **out, size_t *count, struct error *e);
/* Whether a monitor has the machine's lock still: for a moment longer than its last record tells. */
bool registry_is_held(struct registry *registry, const char *name);
/* A descriptor of the machine's folder, for openat; the caller's. */
MUST_USE int registry_folder(struct registry *registry, const char *name, int *fd, struct error *e);
/* Absolute path of `file` in the machine's folder, into a buffer of PATH_MAX. */
void registry_path(const struct registry *registry, const char *name, const char *file, char *out);
/* The same of the folder itself, without a slash at its end. */
void registry_folder_path(const struct registry *registry, const char *name, char *out);

/* The machine's document, the caller's to free(); where it is goes to `path`, of PATH_MAX. */
MUST_USE int registry_document(const struct registry *registry, const char *name, char *path, uint8_t **text, size_t *length,
			       struct error *e);

/* ---- For the machine's monitor ---- */

/* Takes the lock: -EBUSY (ERROR_STATE) when a monitor has it; one whose last record is written is waited for, two seconds at most.
 * *fd holds it until it is closed; forks must not keep it. */
MUST_USE int registry_lock(struct registry *registry, const char *name, int *fd, struct error *e);
/* Replaces state.json in the folder (created_s and changed_s are the caller's): by the holder of the lock, to which only
 * the descriptor of the folder may be left. */
MUST_USE int registry_write_record(int folder, const struct record *record, struct error *e);
/* It is seen at once, and on disk when this returns: after a death of the host before it is an old one, or damaged. */
MUST_USE int registry_flush_record(int folder, struct error *e);

/* ---- Moves to and from other hosts (docs/internals/migrate.md) ---- */

#define REGISTRY_TOKEN_SIZE 33

struct registry_move {
	bool gone; /* it is the destination's; else that is in doubt */
	bool late; /* where it is gone to, it needed memory of the monitor here still */
	char token[REGISTRY_TOKEN_SIZE];
	char to[256]; /* where it went, as the user wrote it */
};

/* In the machine's folder, by the holder of its lock; on disk when they return. */
MUST_USE int registry_write_move(int folder, const struct registry_move *move, struct error *e);
MUST_USE int registry_clear_move(int folder, struct error *e);
/* 1 with *out, 0 when it is not being moved; -EBADMSG when that can not be told. */
MUST_USE int registry_read_move(int folder, struct registry_move *out, struct error *e);
/* 0 when it may run here, else -EBUSY (ERROR_STATE) with the remedy. */
MUST_USE int registry_refuse_moved(const char *name, int folder, struct error *e);

/* A ballot decides once whether a machine that came is taken: the first vote cast counts, for ever, whoever casts it. It stays
 * when the machine goes on or is removed. make: -EEXIST when there was one. Else -ENOENT: nobody ever offered that; no
 * message then. *fd is the caller's, and outlives walls. */
MUST_USE int registry_ballot_open(struct registry *registry, const char *token, bool make, int *fd, struct error *e);
/* A machine that was taken before its memory needs nothing of where it came from any more: all is here, or it has ended. */
MUST_USE int registry_ballot_note_done(int fd);
bool registry_ballot_is_done(struct registry *registry, const char *token);
/* 1: it is taken; 0: it is refused, and stays where it came from. On disk when it returns. */
MUST_USE int registry_ballot_cast(int fd, bool take, struct error *e);

/* The mark of registry_create_arriving goes from the folder of a machine that is taken. */
MUST_USE int registry_mark_arrived(int folder, struct error *e);
/* 0 when the machine is all here, else -EBUSY (ERROR_STATE) with the remedy. */
MUST_USE int registry_refuse_arriving(struct registry *registry, const char *name, int folder, struct error *e);
/* Whatever is left of a machine that was arriving will not be taken any more: 1; else 0. */
MUST_USE int registry_give_up_arriving(struct registry *registry, int folder, struct error *e);

/* ---- History: one JSON object a line: {"time": "2026-11-21T15:04:05.123Z", "event": "started", ...} ---- */

/* For appending; the caller's. It outlives walls that forbid to open files. */
MUST_USE int registry_history_open(struct registry *registry, const char *name, int *fd, struct error *e);
/* One line, whole or not at all, also beside other writers; `details` may be NULL, else a JSON object's text whose members
 * are added. Failing is told and harmless. */
MUST_USE int registry_history_add(int fd, const char *event, const char *details, struct error *e);
/* The same for what happened a moment ago. */
MUST_USE int registry_history_add_at(int fd, const struct timespec *when, const char *event, const char *details,
				     struct error *e);
/* Calls each(context, line) for every line, oldest first. -ENOENT when nothing was ever done to such a machine. */
MUST_USE int registry_history_read(struct registry *registry, const char *name,
				   void (*each)(void *context, const char *line), void *context, struct error *e);
/* All machines that have a history, those that are gone too, in no order; free() them. */
MUST_USE int registry_history_names(struct registry *registry, char (**out)[REGISTRY_NAME_SIZE], size_t *count,
				    struct error *e);
/* As registry_find, among these. */
MUST_USE int registry_history_find(struct registry *registry, const char *text, char name[REGISTRY_NAME_SIZE],
				   struct error *e);

#endif
