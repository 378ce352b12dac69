/*
 * The process of a machine that has a name: it holds the machine's lock, answers at its control socket, keeps its record
 * and history, and lets the machine run until its end.
 *
 * The socket is the first thing: it answers while the machine is still being made, by a thread which runs the loop until
 * machine_new has returned and is gone before the machine starts. The record is written at each change. When the machine has
 * ended everything of it is freed, then the lock is released, then the calls that waited for the end are answered: who was
 * told that a machine has stopped can start it.
 *
 * What can fail beside the machine fails alone: a full disk under ROOT costs records and history, and is told in the log.
 * When the folder is removed under a machine, the guest is asked to power off, is ended if it does not, and nothing is left.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_MONITOR_MONITOR_H
#define DOPPEL_MONITOR_MONITOR_H

#include <jansson.h>

#include "machine/machine.h"
#include "registry/registry.h"

#define MONITOR_CONTROL "control" /* the socket in the machine's folder */
#define MONITOR_LOG     "monitor.log"
/* What each machine with a name has, unless its document says otherwise. */
#define MONITOR_CONSOLE_LOG "console.log"
#define MONITOR_VSOCK       "vsock" /* a folder (device/virtio/vsock.h) */
/* How long a guest that was asked to power off may take, unless said otherwise. */
#define MONITOR_STOP_MS 30000

/* What the machine's document asks for. */
struct monitor_setup {
	struct machine_config config;
	int timeout_ms; /* the machine is ended after that; -1: never */
};

struct monitor_hooks {
	/* Fills *setup; what that points to outlives monitor_run. It may take long: control is answered meanwhile. */
	int (*configure)(void *context, struct monitor_setup *setup, struct error *e);
	/* The machine is made, with all powers still: may load a state into it (machine_load_state), with which it goes on
	 * instead of starting. On failure it is freed. May be NULL. */
	int (*load)(void *context, struct machine *machine, struct error *e);
	/* After `load`: the connections of user networks that the loaded state had, as its snapshot tells (docs/internals/snapshot.md,
	 * facts); NULL: none. May be NULL. */
	const char *(*lost)(void *context);
	/* After `load`, also when that failed: what fills the machine's memory while it runs already, the monitor's from now on; NULL: all of
	 * it is there. May be NULL. */
	struct filling *(*filling)(void *context);
	/* The machine is made and starts next: the last moment for what needs power over the host. `folder` is its own, a
	 * descriptor. May be NULL. */
	int (*made)(void *context, int folder, struct error *e);
	/* The machine runs. May be NULL. */
	void (*started)(void *context, struct machine *machine);
	/* It has ended, and is freed next. A failure is logged. May be NULL. */
	int (*ended)(void *context, struct machine *machine, struct error *e);
	/* All of it is gone, if it was made at all, and its name is not free yet for another monitor. May be NULL. */
	void (*gone)(void *context);
	void *context;
};

/* A machine that comes from elsewhere, and what was prepared for it before this process began. */
struct monitor_arrival {
	int link;       /* the connection it comes by, after hello, offer and answer; monitor_run closes it */
	int ballot;     /* registry_ballot_open; the caller's */
	char token[33]; /* of the ballot */
};

struct monitor_options {
	const char *name;
	const struct monitor_arrival *arrival; /* it is not started, but arrives; NULL: it is started */
	bool loads;      /* the hook `load` loads a state */
	bool brief;      /* making it takes milliseconds: who asks for it meanwhile is answered when it runs */
	bool foreground; /* SIGINT, SIGTERM and SIGHUP end it at once; else the guest is asked to power off first */
	int starter;     /* monitor_starter's socket, closed by monitor_run; -1: nobody waits */
	struct monitor_hooks hooks;
};

/* Until the machine's end. -EBUSY (ERROR_STATE): it has a monitor already. *outcome is set when the machine was started; else
 * the machine's record says that it failed, and why. -ETIMEDOUT with *outcome set: its time was over. */
MUST_USE int monitor_run(struct registry *registry, const struct monitor_options *options,
			 struct machine_outcome *outcome, struct error *e);

/* Starts `doppel monitor NAME` in a session of its own, with monitor.log as its standard error, and waits until the machine
 * runs. When it does not get there: the reason, of the kind it had there. *pid (may be NULL) is a child of this process. */
MUST_USE int monitor_start(struct registry *registry, const char *name, pid_t *pid, struct error *e);
/* The same with one more option for the verb: "--restore=FILE". */
MUST_USE int monitor_start_with(struct registry *registry, const char *name, const char *option, pid_t *pid,
				struct error *e);
/* The same by a copy of this process, which has one thread, instead of a program that begins anew: `main` finds in memory what
 * was prepared for many machines. It runs in a session of its own with all signals as by default, and with no descriptors but
 * those that monitor_start gives, and `keep`; it ends by what main returns. begin does not wait; end
 * does, once. */
struct monitor_copy {
	int (*main)(void *context, const char *name, int starter);
	void *context;
	const int *keep;
	size_t keep_count;
};
struct monitor_started {
	pid_t pid; /* a child of this process */
	int socket;
};
MUST_USE int monitor_copy_begin(struct registry *registry, const char *name, const struct monitor_copy *copy,
				struct monitor_started *started, struct error *e);
/* A copy that was begun before all that it needs was there waits for that; -ECANCELED: it will not be there. Who began it tells
 * it, between begin and end, in this order; a copy need not wait for both. */
enum monitor_copy_news {
	MONITOR_COPY_EARLY, /* there is enough to begin with; may be left out */
	MONITOR_COPY_THERE, /* all of it */
	MONITOR_COPY_NEVER,
};
MUST_USE int monitor_copy_wait(int starter, enum monitor_copy_news *news, struct error *e);
/* The copy waits no more. */
void monitor_copy_ignore(int starter);
void monitor_copy_tell(const struct monitor_started *started, enum monitor_copy_news news);
MUST_USE int monitor_copy_end(const struct registry *registry, const char *name, const struct monitor_started *started,
			      struct error *e);
/* The same for a machine that arrives: returns when it is this side's, and runs or is paused as it did where it came from. */
MUST_USE int monitor_start_arrival(struct registry *registry, const char *name, const struct monitor_arrival *arrival,
				   pid_t *pid, struct error *e);

/* -EBUSY (ERROR_STATE): "web is stopped and can not be paused; doppel start web starts it". */
int monitor_refuse(const char *name, enum machine_state state, const char *what, struct error *e);

/* A record as an object with the keys that `inspect` has; a new reference, NULL without memory. */
json_t *monitor_describe(const struct record *record);

#endif
